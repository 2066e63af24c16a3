"""Cuts that make no sense, on real networks: each refusal by its whole text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import torso
from torso.graph import Graph
from torso.modeling.resolve_cut import select_cut

REGISTRY = torso.Registry.load(discover=False)


@cache
def graph(architecture: str) -> Graph:
    return torso.read_graph(architecture, registry=REGISTRY)


def refusal(architecture: str, truncate: Any) -> str:
    plan = torso.plan(architecture, weights="none", truncate=truncate, registry=REGISTRY)
    with pytest.raises(torso.TorsoError) as caught:
        select_cut(plan, graph(architecture))
    return str(caught.value)


CASES: list[tuple[str, Any, str]] = [
    (
        "InceptionV3",
        {"pop": 1},
        (
            "a cut at 'activation_93' would lose 3 branches of InceptionV3 that run beside it (argument truncate.pop)\n"
            "  lost: 'activation_85', 320 of the 2048 channels of 'mixed10' (16 %)\n"
            "  lost: 'mixed9_1', 768 of the 2048 channels of 'mixed10' (38 %)\n"
            "  lost: 'concatenate_1', 768 of the 2048 channels of 'mixed10' (38 %)\n"
            "  clean before: 'mixed9'  (Concatenate, stride 32, 2048 channels, pop 31)\n"
            "  clean after: 'mixed10'  (Concatenate, stride 32, 2048 channels, pop 0)\n"
            "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
        ),
    ),
    (
        "InceptionV3",
        {"layer": "activation_110"},
        (
            "node 'activation_110' is not in InceptionV3 (argument truncate.layer)\n"
            "  cause: Keras counts 'activation' over everything that the process built; torso counts within "
            "InceptionV3, 'activation' to 'activation_93'\n"
            "  did you mean: 'activation_16', if only InceptionV3 was built before\n"
            "  clean cuts: mixed10, mixed9, mixed8, mixed7, mixed6, mixed5, … and 22 before them"
        ),
    ),
    (
        "InceptionV3",
        {"layer": "mixed11"},
        (
            "node 'mixed11' is not in InceptionV3 (argument truncate.layer)\n"
            "  did you mean: 'mixed1'  (Concatenate, stride 8, 288 channels), or 'mixed10' or 'mixed9_1'\n"
            "  clean cuts: mixed10, mixed9, mixed8, mixed7, mixed6, mixed5, … and 22 before them"
        ),
    ),
    (
        "InceptionV3",
        {"layer": "input_1"},
        (
            "node 'input_1' is not in InceptionV3 (argument truncate.layer)\n"
            "  did you mean: 'input_layer'  (InputLayer, stride 1, 3 channels)\n"
            "  clean cuts: mixed10, mixed9, mixed8, mixed7, mixed6, mixed5, … and 22 before them"
        ),
    ),
    (
        "ConvNeXtTiny",
        {"pop": 2},
        (
            "a cut at 'convnext_tiny_stage_3_block_2_identity' would lose a branch of ConvNeXtTiny that runs "
            "beside it (argument truncate.pop)\n"
            "  lost: 'add_16', which feeds all 768 channels of 'add_17'\n"
            "  clean before: 'add_16'  (Add, stride 32, 768 channels, pop 9)\n"
            "  clean after: 'add_17'  (Add, stride 32, 768 channels, pop 1)\n"
            "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
        ),
    ),
    (
        "ConvNeXtTiny",
        {"level": "C1"},
        (
            "ConvNeXtTiny has no level C1 (argument truncate.level)\n"
            "  C2: 'add_2'  (Add, stride 4, 96 channels)\n"
            "  C3: 'add_5'  (Add, stride 8, 192 channels)\n"
            "  C4: 'add_14'  (Add, stride 16, 384 channels)\n"
            "  C5: 'layer_normalization'  (LayerNormalization, stride 32, 768 channels)"
        ),
    ),
    (
        "ConvNeXtTiny",
        {"level": "C4@expansion"},
        (
            "ConvNeXtTiny has no level C4@expansion (argument truncate.level)\n"
            "  C2: 'add_2'  (Add, stride 4, 96 channels)\n"
            "  C3: 'add_5'  (Add, stride 8, 192 channels)\n"
            "  C4: 'add_14'  (Add, stride 16, 384 channels)\n"
            "  C5: 'layer_normalization'  (LayerNormalization, stride 32, 768 channels)"
        ),
    ),
    (
        "ConvNeXtTiny",
        {"layers": ["add_2", "convnext_tiny_stage_0_block_1_gelu", "add_51"]},
        (
            "node 'add_51' is not in ConvNeXtTiny (argument truncate.layers)\n"
            "  cause: Keras counts 'add' over everything that the process built; torso counts within "
            "ConvNeXtTiny, 'add' to 'add_17'\n"
            "  did you mean: 'add_15', if only ConvNeXtTiny was built before\n"
            "  clean cuts: layer_normalization, add_17, add_16, add_15, "
            "convnext_tiny_downsampling_block_2/convnext_tiny_downsampling_conv_2, "
            "convnext_tiny_downsampling_block_2/convnext_tiny_downsampling_layernorm_2, … and 22 before them"
        ),
    ),
    (
        "DenseNet121",
        {"layer": "conv1/relu"},
        (
            "node 'conv1/relu' is not in DenseNet121 (argument truncate.layer)\n"
            "  did you mean: 'conv1_relu'  (Activation, stride 2, 64 channels)\n"
            "  clean cuts: relu, bn, conv5_block16_concat, conv5_block15_concat, conv5_block14_concat, "
            "conv5_block13_concat, … and 72 before them"
        ),
    ),
    (
        "EfficientNetB0",
        {"layer": "input_layer"},
        (
            "a cut at 'input_layer' would leave nothing of EfficientNetB0: that is its input (argument truncate.layer)\n"
            "  fix: name a node behind it, or write truncate: none"
        ),
    ),
    (
        "EfficientNetB0",
        {"layer": "block1a_se_squeeze"},
        (
            "a cut at 'block1a_se_squeeze' would lose a branch of EfficientNetB0 that runs beside it (at "
            "$.truncate.layer)\n"
            "  lost: 'block1a_activation', which feeds all 32 channels of 'block1a_se_excite'\n"
            "  clean before: 'block1a_activation'  (Activation, stride 2, 32 channels, pop 227)\n"
            "  clean after: 'block1a_se_excite'  (Multiply, stride 2, 32 channels, pop 222)\n"
            "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
        ),
    ),
    (
        "EfficientNetB0",
        {"layer": {"name": "block1a_se_squeeze", "allow_partial": True}},
        (
            "'block1a_se_squeeze' of EfficientNetB0 is no map of cells any more: it gives 32 values for a whole "
            "image (argument truncate.layer.name)\n"
            "  clean before: 'block1a_activation'  (Activation, stride 2, 32 channels)\n"
            "  clean after: 'block1a_se_excite'  (Multiply, stride 2, 32 channels)"
        ),
    ),
    (
        "EfficientNetB0",
        {"pop": 238},
        (
            "pop 238 leaves nothing of EfficientNetB0: it has 238 nodes, the input included (argument truncate.pop)\n"
            "  known: 1 to 236"
        ),
    ),
    (
        "EfficientNetB0",
        {"pop": {"count": 17, "unit": "block"}},
        (
            "pop 17 blocks leaves nothing of EfficientNetB0: it has 17 blocks (argument truncate.pop.count)\n"
            "  known: 1 to 16\n"
            "  ends at: 1: 'block7a_project_bn'  (BatchNormalization, stride 32, 320 channels)\n"
            "  ends at: 2: 'block6d_add'  (Add, stride 32, 192 channels)\n"
            "  ends at: 3: 'block6c_add'  (Add, stride 32, 192 channels)\n"
            "  ends at: 4: 'block6b_add'  (Add, stride 32, 192 channels)"
        ),
    ),
    (
        "EfficientNetB0",
        {"match": "block9"},
        (
            "the regular expression 'block9' matches no node of EfficientNetB0 (argument truncate.match)\n"
            "  block output: 'block6b_add'  (Add, stride 32, 192 channels)\n"
            "  block output: 'block6c_add'  (Add, stride 32, 192 channels)\n"
            "  block output: 'block6d_add'  (Add, stride 32, 192 channels)\n"
            "  block output: 'block7a_project_bn'  (BatchNormalization, stride 32, 320 channels)"
        ),
    ),
    (
        "EfficientNetB0",
        {"match": "block[2"},
        (
            "'block[2' is not a regular expression: unterminated character set at position 7 (argument truncate.match)\n"
            "  fix: to match a bracket, dot or sign itself, write \\ before it"
        ),
    ),
    (
        "EfficientNetB0",
        {"stride": 64},
        (
            "EfficientNetB0 has no block that ends at stride 64 (argument truncate.stride)\n"
            "  stride 2: 'block1a_project_bn'  (BatchNormalization, stride 2, 16 channels)\n"
            "  stride 4: 'block2b_add'  (Add, stride 4, 24 channels)\n"
            "  stride 8: 'block3b_add'  (Add, stride 8, 40 channels)\n"
            "  stride 16: 'block5c_add'  (Add, stride 16, 112 channels)\n"
            "  stride 32: 'block7a_project_bn'  (BatchNormalization, stride 32, 320 channels)"
        ),
    ),
    (
        "EfficientNetB0",
        {"budget": {"parameters": 500, "macs": 10000000}},
        (
            "no clean cut of EfficientNetB0 keeps within parameters 500 and macs 10,000,000 (argument truncate.budget)\n"
            "  first: 'stem_conv' has parameters 871, macs 10,838,016\n"
            "  fix: raise the limit"
        ),
    ),
    (
        "NASNetMobile",
        {"layer": "normal_concat_8"},
        (
            "a cut at 'normal_concat_8' would lose 3 branches of NASNetMobile that run beside it (at "
            "$.truncate.layer)\n"
            "  lost: 'separable_conv_2_bn_reduction_right1_reduce_8', which feeds all 176 channels of "
            "'reduction_add_1_reduce_8'\n"
            "  lost: 'separable_conv_2_bn_reduction_right2_reduce_8', which feeds all 176 channels of "
            "'reduction_add_2_reduce_8'\n"
            "  lost: 'separable_conv_2_bn_reduction_right3_reduce_8', which feeds all 176 channels of "
            "'reduction_add3_reduce_8'\n"
            "  clean before: 'stem_bn1'  (BatchNormalization, stride 2, 32 channels, pop 766)\n"
            "  clean after: 'normal_concat_12'  (Concatenate, stride 32, 1056 channels, pop 1)\n"
            "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
        ),
    ),
]


@pytest.mark.parametrize(("architecture", "truncate", "text"), CASES)
def test_a_cut_that_makes_no_sense_is_refused(architecture: str, truncate: Any, text: str) -> None:
    assert refusal(architecture, truncate) == text


def test_a_cut_that_makes_no_sense_is_refused_before_weights_are_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*arguments: Any, **more: Any) -> None:
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", connect)
    monkeypatch.setattr("keras.utils.get_file", connect)
    monkeypatch.setattr("torso.files.download.download", connect)
    with pytest.raises(torso.UnknownNameError, match="node 'block_99_add' is not in MobileNetV2"):
        torso.create_backbone("MobileNetV2", truncate={"layer": "block_99_add"}, registry=REGISTRY)
    with pytest.raises(Exception, match="nothing is to be fetched"):
        torso.create_backbone("MobileNetV2", truncate={"layer": "block_12_add"}, registry=REGISTRY)
