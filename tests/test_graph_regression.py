"""The graphs of the built-in architectures are the recorded ones; where Keras changes one, it is told how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import graphs
import keras
import pytest
from graphs import explain, graph_of, record_of

import torso
from torso.builtins.keras_applications import torso_architectures
from torso.graph import EXPANSION, LEVELS, Graph, Node

CARDS = {card.name: card for card in torso_architectures()}
RECORDS = graphs.read()
each = pytest.mark.parametrize("name", CARDS)


@each
def test_the_graph_is_the_recorded_one(name: str) -> None:
    difference = explain(RECORDS[name], graph_of(name), keras.__version__)
    if difference:
        pytest.fail(difference, pytrace=False)


def test_the_file_holds_every_architecture_as_it_would_be_written_again() -> None:
    assert set(RECORDS) == set(CARDS)
    assert graphs.PATH.read_text(encoding="utf-8") == graphs.text(RECORDS)


@each
def test_the_stretches_of_a_record_hold_every_node(name: str) -> None:
    counts = [count for _, count, _ in RECORDS[name]["stretches"]]
    assert sum(counts) == sum(RECORDS[name]["kinds"].values()) == RECORDS[name]["nodes"]


@each
def test_what_the_card_says_is_clean_is_clean(name: str) -> None:
    graph, card = graph_of(name), CARDS[name]
    said = [node.name for node in graph if card.is_clean(node.name)]
    assert set(said) <= {node.name for node in graph.clean_cuts}
    assert len(said) >= 2
    for level, node in graph.levels.items():  # a pattern that misses the ends of blocks is of little use
        # but those of the MobileNets, where widths decide what is added, and of NASNet, which are not clean
        if (
            level in ("C2", "C3", "C4", "C5")
            and not name.startswith(("NASNet", "MobileNetV"))
            and not graph[node].is_numbered
        ):
            assert card.is_clean(node), (level, node)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"alpha": alpha}) for name in ("MobileNet", "MobileNetV2") for alpha in (0.05, 0.1, 0.35, 1.4, 2.0)),
        *(
            (name, {"alpha": alpha, "minimalistic": minimalistic})
            for name in ("MobileNetV3Small", "MobileNetV3Large")
            for alpha in (0.1, 0.75, 1.0, 2.0)
            for minimalistic in (False, True)
        ),
    ],
)
def test_what_the_card_says_is_clean_is_so_with_any_options(name: str, options: dict[str, float]) -> None:
    graph = torso.read_graph(name, options=options)
    said = {node.name for node in graph if CARDS[name].is_clean(node.name)}
    assert said <= {node.name for node in graph.clean_cuts}
    assert said


# What a failure says, on a graph that was tampered with


def doctored(change: Callable[[Node], Node], name: str = "block3_conv2") -> Graph:
    """VGG16 with one node changed, and what reads it with it."""
    graph = graph_of("VGG16")
    new = change(graph[name])
    return replace(
        graph,
        nodes=tuple(
            new if node.name == name else replace(node, inputs=tuple(new.name if i == name else i for i in node.inputs))
            for node in graph
        ),
    )


def code(graph: Graph, end: str) -> str:
    """The hash of the stretch up to a clean node."""
    codes: dict[str, str] = {name: code for name, _, code in record_of(graph, "")["stretches"]}
    return codes[end]


def test_a_changed_graph_is_explained_with_both_releases_of_keras_and_the_first_stretch_that_differs() -> None:
    record = record_of(graph_of("VGG16"), "3.15.1")
    found = doctored(lambda node: replace(node, kind="SeparableConv2D", parameters=7))
    assert explain(record, found, "3.99.0") == (
        "the graph of VGG16 is not the recorded one\n"
        "  recorded: Keras 3.15.1, 19 nodes\n"
        "  found: Keras 3.99.0, 19 nodes\n"
        "  kinds: Conv2D 12, was 13; SeparableConv2D 1, was none\n"
        "  stretches: 1 of 19 are not among the recorded\n"
        f"  first: behind 'block3_conv1', up to 'block3_conv2': 1 node ({code(found, 'block3_conv2')}); "
        f"was up to 'block3_conv2': 1 node ({code(graph_of('VGG16'), 'block3_conv2')})\n"
        "  now there: block3_conv2 (SeparableConv2D)\n"
        "  fix: where that is meant, python tests/support/graphs.py VGG16"
    )


def test_a_shortcut_that_a_release_of_keras_adds_is_explained_by_the_cuts_that_it_makes_unclean() -> None:
    graph = graph_of("VGG16")
    record = record_of(graph, "3.15.1")
    at = graph.position("block5_conv3")
    join = Node(name="add", kind="Add", inputs=("block5_conv3", "block5_conv1"), shape=graph["block5_conv3"].shape)
    end = replace(graph["block5_pool"], inputs=("add",))
    found = replace(graph, nodes=(*graph.nodes[: at + 1], join, end), known_levels={**graph.levels, "C4": "add"})
    assert explain(record, found, "3.99.0") == (
        "the graph of VGG16 is not the recorded one\n"
        "  recorded: Keras 3.15.1, 19 nodes\n"
        "  found: Keras 3.99.0, 20 nodes\n"
        "  kinds: Add 1, was none\n"
        "  levels: C4 add, was block5_conv3\n"
        "  stretches: 2 of 18 are not among the recorded\n"
        f"  first: behind 'block5_conv1', up to 'add': 3 nodes ({code(found, 'add')}); "
        f"was up to 'block5_conv2': 1 node ({code(graph, 'block5_conv2')})\n"
        "  now there: block5_conv2 (Conv2D), block5_conv3 (Conv2D), add (Add)\n"
        "  fix: where that is meant, python tests/support/graphs.py VGG16"
    )


def test_a_graph_that_ends_early_is_explained() -> None:
    found = replace(graph_of("VGG16"), nodes=graph_of("VGG16").nodes[:-1], ends=("block5_conv3",))
    explanation = explain(record_of(graph_of("VGG16"), "3.15.1"), found, "3.15.1")
    assert "\n  first: behind 'block5_conv3', nothing; was up to 'block5_pool': 1 node (" in explanation


def test_a_level_that_moved_in_the_same_graph_is_explained() -> None:
    graph = graph_of("VGG16")
    found = replace(graph, known_levels={**graph.levels, "C1": "block1_pool"})
    explanation = explain(record_of(graph, "3.15.1"), found, "3.15.1")
    assert explanation.split("\n")[3:5] == ["  levels: C1 block1_pool, was block2_conv2", "  stretches: the same"]


@pytest.mark.parametrize(
    "change",
    [
        lambda node: replace(node, name="block3_convolution2"),
        lambda node: replace(node, kind="SeparableConv2D"),
        lambda node: replace(node, inputs=("block2_pool",)),
        lambda node: replace(node, shape=(56, 56, 257)),
        lambda node: replace(node, parameters=1),
    ],
    ids=["name", "kind", "edge", "shape", "parameters"],
)
def test_every_fact_of_a_node_counts(change: Callable[[Node], Node]) -> None:
    record = record_of(graph_of("VGG16"), keras.__version__)
    explanation = explain(record, doctored(change), keras.__version__)
    assert "block3_conv" in explanation.split("  first: ")[1].split("\n")[0]


def test_another_release_of_keras_that_draws_the_same_graph_is_no_difference() -> None:
    assert explain(record_of(graph_of("VGG16"), "3.15.1"), graph_of("VGG16"), "3.99.0") == ""


# Levels

NOT_INFERRED = {  # level: what the card declares, what the clean nodes say
    "NASNetMobile": {  # cells read the two before them, and no cut between the stem and the end is clean
        "C2": ("reduction_concat_stem_1", None),
        "C3": ("normal_concat_3", None),
        "C4": ("normal_concat_8", None),
    },
    "NASNetLarge": {
        "C2": ("reduction_concat_stem_1", None),
        "C3": ("normal_concat_5", None),
        "C4": ("normal_concat_12", None),
    },
    "InceptionResNetV2": {"C5": ("conv_7b_ac", "custom_scale_layer_39")},  # the network's own end, as in timm
}


@each
def test_the_declared_levels_are_those_that_the_graph_tells(name: str) -> None:
    declared, inferred = CARDS[name].levels, graph_of(name).with_levels({}).levels
    differences = {
        level: (declared.get(level), inferred.get(level))
        for level in sorted({*declared, *inferred})
        if declared.get(level) != inferred.get(level)
    }
    assert differences == NOT_INFERRED.get(name, {})
    assert graph_of(name).levels == declared


RESNET = [64, 256, 512, 1024, 2048]
TIMM = {
    "ConvNeXtTiny": ("convnext_tiny", [96, 192, 384, 768]),
    "ConvNeXtSmall": ("convnext_small", [96, 192, 384, 768]),
    "ConvNeXtBase": ("convnext_base", [128, 256, 512, 1024]),
    "ConvNeXtLarge": ("convnext_large", [192, 384, 768, 1536]),
    "ConvNeXtXLarge": ("convnext_xlarge", [256, 512, 1024, 2048]),
    "DenseNet121": ("densenet121", [64, 256, 512, 1024, 1024]),
    "DenseNet169": ("densenet169", [64, 256, 512, 1280, 1664]),
    "DenseNet201": ("densenet201", [64, 256, 512, 1792, 1920]),
    "EfficientNetB0": ("tf_efficientnet_b0", [16, 24, 40, 112, 320]),
    "EfficientNetB1": ("tf_efficientnet_b1", [16, 24, 40, 112, 320]),
    "EfficientNetB2": ("tf_efficientnet_b2", [16, 24, 48, 120, 352]),
    "EfficientNetB3": ("tf_efficientnet_b3", [24, 32, 48, 136, 384]),
    "EfficientNetB4": ("tf_efficientnet_b4", [24, 32, 56, 160, 448]),
    "EfficientNetB5": ("tf_efficientnet_b5", [24, 40, 64, 176, 512]),
    "EfficientNetB6": ("tf_efficientnet_b6", [32, 40, 72, 200, 576]),
    "EfficientNetB7": ("tf_efficientnet_b7", [32, 48, 80, 224, 640]),
    "EfficientNetV2B0": ("tf_efficientnetv2_b0", [16, 32, 48, 112, 192]),
    "EfficientNetV2B1": ("tf_efficientnetv2_b1", [16, 32, 48, 112, 192]),
    "EfficientNetV2B2": ("tf_efficientnetv2_b2", [16, 32, 56, 120, 208]),
    "EfficientNetV2B3": ("tf_efficientnetv2_b3", [16, 40, 56, 136, 232]),
    "EfficientNetV2S": ("tf_efficientnetv2_s", [24, 48, 64, 160, 256]),
    "EfficientNetV2M": ("tf_efficientnetv2_m", [24, 48, 80, 176, 512]),
    "EfficientNetV2L": ("tf_efficientnetv2_l", [32, 64, 96, 224, 640]),
    "InceptionV3": ("inception_v3", [64, 192, 288, 768, 2048]),
    "InceptionResNetV2": ("inception_resnet_v2", [64, 192, 320, 1088, 1536]),
    "MobileNet": ("mobilenetv1_100", [64, 128, 256, 512, 1024]),
    "MobileNetV2": ("mobilenetv2_100", [16, 24, 32, 96, 320]),
    "MobileNetV3Small": ("tf_mobilenetv3_small_100", [16, 16, 24, 48, 576]),
    "MobileNetV3Large": ("tf_mobilenetv3_large_100", [16, 24, 40, 112, 960]),
    "NASNetLarge": ("nasnetalarge", [96, 168, 1008, 2016, 4032]),
    "ResNet50": ("resnet50", RESNET),
    "ResNet101": ("resnet101", RESNET),
    "ResNet152": ("resnet152", RESNET),
    "ResNet50V2": ("resnetv2_50", RESNET),
    "ResNet101V2": ("resnetv2_101", RESNET),
    "ResNet152V2": ("resnetv2_152", RESNET),
    "VGG16": ("vgg16", [128, 256, 512, 512, 512]),
    "VGG19": ("vgg19", [128, 256, 512, 512, 512]),
    "Xception": ("legacy_xception", [64, 128, 256, 728, 2048]),
}
"""``timm.create_model(name, features_only=True).feature_info.channels()`` of timm 1.0.15, for the reductions 2 to 32."""

OTHER_THAN_TIMM = {  # level, and which of torso's is timm's
    # The last 1×1 convolution widens for the head, as in EfficientNet and MobileNetV2, whose C5 timm takes in front of it;
    # here alone it takes it behind, because it counts that convolution as a block.
    "MobileNetV3Small": {"C5": "C5" + EXPANSION},
    "MobileNetV3Large": {"C5": "C5" + EXPANSION},
}


def test_timm_has_every_architecture_but_one() -> None:
    assert set(CARDS) - set(TIMM) == {"NASNetMobile"}


@pytest.mark.parametrize("name", TIMM)
def test_the_levels_have_the_channels_that_timm_publishes(name: str) -> None:
    graph = graph_of(name)
    levels = [level for level in LEVELS if level in graph.levels]
    as_timm = [OTHER_THAN_TIMM.get(name, {}).get(level, level) for level in levels]
    assert [graph[graph.levels[level]].channels for level in as_timm] == TIMM[name][1]
    assert levels[-1] == "C5"


@pytest.mark.parametrize("name", OTHER_THAN_TIMM)
def test_where_torso_differs_from_timm_it_has_fewer_channels(name: str) -> None:
    graph = graph_of(name)
    assert {"MobileNetV3Small": 96, "MobileNetV3Large": 160}[name] == graph[graph.levels["C5"]].channels
