from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from refusals import refusal

import torso
from torso.files.hashing import hash_of
from torso.planning import network_mix, preprocessing_for, summary

REGISTRY = torso.Registry.load(discover=False)


def planned(architecture: str, *, registry: torso.Registry = REGISTRY, **spec: Any) -> torso.Plan:
    return torso.plan(architecture, registry=registry, **spec)


refused = partial(refusal, planned)


def test_a_plan_says_all_that_will_happen() -> None:
    plan = planned("mobilenetv2", options={"alpha": 0.35}, truncate={"pop": 3}, name="edge")
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    file = folder + "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    assert plan.report() == {
        "name": "edge",
        "architecture": "keras/MobileNetV2",
        "provider": "built-in",
        "options": {"alpha": 0.35},
        "builder": "torso.builtins.keras_applications:build",
        "arguments": {"constructor": "MobileNetV2", "alpha": 0.35},
        "input_shape": [224, 224, 3],
        "weights": {
            "label": "imagenet", "source": "weight-sources/url", "url": file, "sha256": None, "md5": None, "cached_as": None,
        },
        "adapt": None,
        "truncate": {"name": "truncations/pop", "options": {"count": 3, "unit": "node", "allow_partial": False}},
        "freeze": {"name": "freeze-policies/all", "options": {}},
        "regularize": {},
        "include_preprocessing": False,
        "transform": {"fit": "crop", "crop": 0.875, "interpolation": "bilinear", "antialias": True, "exif": "turn"},
        "pooling": None,
        "prefix": "",
        "keras": {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last", "dtype_policy": "float32"},
        "warnings": [f"{file.rpartition('/')[2]} has no published hash: the download cannot be verified"],
    }  # fmt: skip
    assert dict(summary(plan)) == {
        "architecture": "keras/MobileNetV2 (alpha 0.35), from built-in",
        "input": "224×224 pixels, 3 channels",
        "weights": f"imagenet: {file}",
        "cut": "pop 3",
        "freeze": "all",
        "trains": "Nothing trains, statistics stay as stored, dropout and stochastic depth are off: "
        "the same features always.",
    }


def test_a_recipe_that_stretches_keeps_the_whole_picture() -> None:
    stretch = planned("ResNet50", preprocess={"fit": "stretch"}).transform
    assert (stretch.crop, stretch.antialias) == (1.0, False)
    smooth = planned("ResNet50", preprocess={"fit": "stretch", "crop": None, "antialias": True}).transform
    assert smooth == replace(stretch, antialias=True)
    assert refused("ResNet50", preprocess={"fit": "stretch", "crop": 0.9, "exif": "ignore"}) == (
        "fit: stretch crops nothing (argument preprocess.crop)\n  fix: leave crop out, or write none"
    )


def test_defaults_are_the_first_weights_the_whole_network_and_frozen() -> None:
    plan = planned("NASNetLarge")
    assert (plan.weights.label, plan.input_shape) == ("imagenet", (331, 331, 3))
    assert (str(plan.truncate), str(plan.freeze)) == ("none", "all")
    plan = planned("MobileNetV2", options={"alpha": 1.4}, input={"size": [96, 96]})
    assert str(plan.weights.address).endswith("_1.4_224_no_top.h5")
    assert plan.warnings[0] == "no imagenet weights were trained at 96×96 pixels; those for 224×224 are used"


def test_all_errors_are_told_at_once() -> None:
    text = refused(
        "VGG16", options={"alpha": 1}, weights="imagnet", input={"size": [8, 8]}, truncate={"pip": 1},
        freeze={"all": 3},
    )  # fmt: skip
    assert text == (
        "unknown truncation strategy 'pip' (argument truncate.pip)\n"
        "  did you mean: 'pop'\n"
        "  known: budget, layer, layers, level, levels, match, none, pop, stride\n"
        "freeze policy 'all' takes no value (argument freeze.all)\n"
        "architecture 'VGG16' has no option 'alpha', nor any other (argument options.alpha)\n"
        "VGG16 cannot take images of 8×8 pixels (argument input.size)\n"
        "  known: 32 pixels or more\n"
        "VGG16 has no weights 'imagnet' (argument weights)\n"
        "  did you mean: 'imagenet'\n"
        "  known: imagenet, none\n"
        "  fix: a file is named as {file: PATH}"
    )


def test_a_weights_file_is_held_against_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"values")
    right = hash_of(path)
    plan = planned("VGG16", weights={"file": path, "sha256": right.upper()})
    assert plan.warnings == ()
    said = refused("VGG16", weights={"file": path, "sha256": "0" * 64})
    assert said.startswith(f"the weights file '{path}' does not have the expected hash (argument weights)\n")
    plan = planned("VGG16", weights={"file": path})
    assert plan.warnings == (f"{path} is taken on trust: give its sha256 to have it checked",)


def test_weights_are_adapted_to_another_number_of_channels() -> None:
    plan = planned("VGG16", input={"channels": 4, "adapt": {"map": ["R", "G", "B", "R"]}})
    assert (plan.input_shape, plan.source_channels) == ((224, 224, 4), 3)
    assert plan.mix == ((0.5, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0, 0))
    assert plan.warnings == ()
    options = {"sources": ("R", "G", "B", "R")}
    assert plan.report()["adapt"] == {"name": "channel-adapters/map", "options": options, "source_channels": 3}
    assert summary(plan)["input"] == "224×224 pixels, 4 channels"
    assert summary(plan)["adapt"] == "map R, G, B, R, from weights for 3 channels"
    # A map says how many channels there are.
    assert planned("VGG16", input={"adapt": {"map": ["R", "R"]}}).input_shape == (224, 224, 2)
    assert planned("VGG16", input={"adapt": "mean"}).input_shape == (224, 224, 3)
    assert refused("VGG16", input={"channels": 3, "adapt": {"map": ["R", "R"]}}) == (
        "the map has 2 channels, and the input 3 (argument input.adapt.map)\n"
        "  fix: name 3, or leave out channels: the map says how many there are"
    )


def test_without_an_adapter_the_weights_are_for_the_channels_of_the_input() -> None:
    assert refused("VGG16", input={"channels": 4}) == (
        "the imagenet weights of VGG16 are for 3 channels, not 4 (argument input.channels)\n"
        '  fix: write input={"adapt": "mean"} (rules: map, mean, repeat, zero_extra), take 3 channels, or weights: none'
    )
    assert refused("VGG16", input={"channels": 4, "adapt": "mean"}, weights="none") == (
        "there is nothing for 'mean' to adapt: with weights: none, VGG16 has random values for any number of channels "
        "(argument input.adapt)\n  fix: leave adapt out (adapt: none takes back a default), or name weights"
    )
    for given in ({"channels": 4}, {"channels": 4, "adapt": None}):
        plan = planned("VGG16", input=given, weights="none")
        assert (plan.adapt, plan.mix, plan.source_channels) == (None, None, 4)
        assert plan.warnings[0] == "no weights were trained on 4 channels: the pixels are not preprocessed"
        assert plan.preprocessing == torso.Preprocessing()
        assert "adapt" not in summary(plan)


def test_statistics_follow_the_channels() -> None:
    adapt = {"map": ["B", "G", "none", "R", "R"]}
    torch = planned("DenseNet121", input={"adapt": adapt}).preprocessing
    assert (torch.order, torch.divide) == ("RGB", 255.0)
    assert torch.mean == (0.406, 0.456, 0.0, 0.485, 0.485)
    assert torch.std == (0.225, 0.224, 1.0, 0.229, 0.229)
    caffe = planned("VGG16", input={"adapt": adapt}).preprocessing
    assert caffe.order == "BGR"  # the network reads the user's channels from the last to the first
    assert caffe.mean == (123.68, 123.68, 0.0, 116.779, 103.939)
    scaled = planned("Xception", input={"channels": 13, "adapt": "mean"})
    assert scaled.preprocessing == replace(scaled.architecture.value.preprocessing, mean=(1.0,) * 13)
    extra = planned("Xception", input={"channels": 4, "adapt": "zero_extra"}).preprocessing
    assert extra.mean == (1.0,) * 4, "what is the same for all channels is so for one that is not read"
    grey = planned("DenseNet121", input={"channels": 1, "adapt": "mean"}).preprocessing
    assert grey.mean == ((0.485 + 0.456 + 0.406) / 3,)
    assert grey.std == pytest.approx([(0.229 + 0.224 + 0.225) / 3])


def test_the_network_reads_the_channels_in_its_own_order() -> None:
    adapt = {"map": ["R", "none", "G"]}
    rgb = planned("DenseNet121", input={"adapt": adapt})
    assert network_mix(rgb, 3) == ((1, 0, 0), (0, 0, 0), (0, 1, 0))
    # read as [G, none, R] from kernels for B, G, R
    bgr = planned("VGG16", input={"adapt": adapt})
    assert network_mix(bgr, 3) == ((0, 1, 0), (0, 0, 0), (0, 0, 1))


def test_of_weights_for_other_channels_only_numbers_that_hold_for_all_are_known(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"values")
    weights = {"file": path, "sha256": hash_of(path)}
    adapt = {"map": ["4", "0"]}
    torch = planned("DenseNet121", input={"adapt": adapt}, weights=weights)
    assert (torch.mix, torch.warnings) == (None, ())
    assert network_mix(torch, 5) == ((0, 0, 0, 0, 1), (1, 0, 0, 0, 0))
    assert preprocessing_for(torch, 5) == replace(torch.architecture.value.preprocessing, mean=(), std=())
    assert torch.preprocessing == preprocessing_for(torch, 5)
    caffe = planned("VGG16", input={"adapt": adapt}, weights=weights)
    assert preprocessing_for(caffe, 5).order == "RGB"
    assert network_mix(caffe, 5) == network_mix(torch, 5)
    scaled = planned("Xception", input={"channels": 3, "adapt": "mean"}, weights=weights)
    assert preprocessing_for(scaled, 1) == replace(scaled.architecture.value.preprocessing, mean=(1.0,))
    several = planned("VGG16", input={"adapt": {"map": ["4", "3", "7"]}}, weights=weights)
    assert network_mix(several, 8)[1] == (0, 0, 0, 1, 0, 0, 0, 0)
    assert refused("VGG16", input={"adapt": adapt}) == (
        "the weights have no channel '4': their input has 3 (argument input.adapt.map)\n  known: R, G, B, 0, 1, 2, none"
    )
    assert refused("VGG16", input={"adapt": {"map": ["X"]}}, weights=weights).startswith("the weights have no channel 'X'")


def test_an_adapter_that_changes_nothing_is_warned_of() -> None:
    def warnings(adapt: Any) -> tuple[str, ...]:
        return planned("VGG16", input={"adapt": adapt}).warnings

    for rule, said in ("repeat", "repeat"), ("zero_extra", "zero_extra"), ({"map": ["R", "G", "B"]}, "map R, G, B"):
        assert warnings(rule) == (f"adapt: {said} changes nothing: the imagenet weights are for 3 channels already",)
    for rule in ("mean", {"map": ["B", "G", "R"]}, {"map": ["R", "G", "B", "none"]}, {"map": ["R", "G"]}):
        assert warnings(rule) == ()


@pytest.mark.parametrize(
    ("adapt", "text"),
    [
        ("meen", "unknown channel adapter 'meen' (argument input.adapt)\n  did you mean: 'mean'\n"
                 "  known: map, mean, repeat, zero_extra"),
        ({"map": []}, "the map has 0 channels, and the input 3 (argument input.adapt.map)\n"
                      "  fix: name 3, or leave out channels: the map says how many there are"),
        ({"map": ["none"]}, "the map names no trained channel, so nothing of an image would be seen "
                            "(argument input.adapt.map)"),
        ({"map": ["-1", "red"]}, "the weights have no channel '-1': their input has 3 (argument input.adapt.map)\n"
                                 "  did you mean: '1'\n  known: R, G, B, 0, 1, 2, none\n"
                                 "the weights have no channel 'red': their input has 3 (argument input.adapt.map)\n"
                                 "  known: R, G, B, 0, 1, 2, none"),
        (["R"], "adapt must be a name, or a mapping with one key, not a list (argument input.adapt)\n"
                "  fix: put the options under the name, as in {map: [R, G, B, R]}"),
        ({"mean": {}, "map": []}, "adapt must be a name, or a mapping with one key, not one of 2 keys "
                                  "(argument input.adapt)\n"
                                  "  fix: put the options under the name, as in {map: [R, G, B, R]}"),
    ],
)  # fmt: skip
def test_a_wrong_adapter_is_refused_with_what_is_right(adapt: Any, text: str) -> None:
    assert refused("VGG16", input={"adapt": adapt}) == text


def rule(answer: Any) -> dict[str, Any]:
    return {"mix": lambda have, want, options: answer(have, want)}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rule(lambda have, want: [[1.0] * have] * (want - 1)), "ValueError: it gave 3 rows of 3 numbers, not 4 rows of 3"),
        (rule(lambda have, want: [[1.0]] * want), "ValueError: it gave 4 rows of 1 numbers, not 4 rows of 3"),
        (rule(lambda have, want: [[float("nan")] * have] * want), "ValueError: it gave a number that is not finite"),
        (rule(lambda have, want: [["one"] * have] * want), "ValueError: could not convert string to float: 'one'"),
        (rule(lambda have, want: None), "TypeError: 'NoneType' object is not iterable"),
        ({**rule(None), "channels": lambda options: "4"}, "ValueError: it asks for '4' channels"),
    ],
)
def test_a_plugins_rule_that_is_none_is_blamed(tmp_path: Path, rule: dict[str, Any], text: str) -> None:
    registry = registry_with(tmp_path, torso.ChannelAdapter(name="odd", doc="Odd.", **rule))
    given = {"adapt": "odd"} if "channels" in rule else {"adapt": "odd", "channels": 4}
    said = refused("VGG16", input=given, registry=registry)
    assert said.startswith(f"channel adapter 'rules/odd' failed: {text}")
    assert said.count(" (argument input.adapt)\n  plugin: plugin 'rules' (") == 1


def test_arguments_are_made_for_the_network_that_is_built(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    seen = sys.modules["torso_test_rules"].shapes
    planned("VGG16", input={"channels": 4, "adapt": "mean"}, registry=registry)
    planned("VGG16", input={"channels": 4}, weights="none", registry=registry)
    assert seen == [(224, 224, 3), (224, 224, 4)]


OWN = """
import torso

@torso.hookimpl
def torso_truncations():
    yield torso.Truncation(name="none", doc="", select=print)

@torso.hookimpl
def torso_freeze_policies():
    yield torso.FreezePolicy(name="all", doc="", select=print)

@torso.hookimpl
def torso_weight_sources():
    aisle = torso.Option(name="aisle", type=int, default=7)
    for name in ("url", "shelf"):
        options = (torso.Option(name=name, type=str), aisle)
        yield torso.WeightSource(name=name, doc="", options=options, fetch=lambda options: None, check=CHECK)

@torso.hookimpl
def torso_architectures():
    weights = torso.Weights(tag="eyes", files=[torso.WeightsFile(source="shelf", address="3")])
    rules, pixels = torso.InputRules(default=(8, 8)), torso.Preprocessing()
    yield torso.Architecture(name="Net", family="", builder="a:b", input=rules, preprocessing=pixels, weights=[weights])
"""


def own(folder: Path, check: str = "print") -> torso.Registry:
    (folder / "own.py").write_text(OWN.replace("CHECK", check))
    return torso.Registry.load(plugins_dirs=[folder], discover=False)


def test_defaults_are_torsos_own_whatever_a_plugin_calls_its_own(tmp_path: Path) -> None:
    assert planned("VGG16", registry=own(tmp_path)).report() == planned("VGG16").report()


def test_a_published_file_asks_its_source_with_the_sources_defaults(tmp_path: Path) -> None:
    weights = planned("Net", registry=own(tmp_path)).weights
    assert weights.request == {"shelf": "3", "aisle": 7}
    with pytest.raises(torso.PluginError, match=r"^weight source 'own/shelf' failed: .*: fetch returned None, no path"):
        weights.fetch()


@pytest.mark.parametrize("check", ["lambda options: 1 / 0", "lambda options: exit(3)"])
def test_a_source_whose_check_fails_is_blamed(tmp_path: Path, check: str) -> None:
    with pytest.raises(torso.PluginError, match=r"^weight source 'own/shelf' failed: (ZeroDivisionError|SystemExit): "):
        planned("Net", registry=own(tmp_path, check))


def registry_with(folder: Path, *adapters: torso.ChannelAdapter) -> torso.Registry:
    """The built-ins, and the rules of a plugin that is a single file and notes which images a builder would be asked for."""
    (folder / "rules.py").write_text(
        "import sys, torso\nrules = sys.modules['torso_test_rules']\n"
        "@torso.hookimpl\ndef torso_channel_adapters():\n    return rules.adapters\n"
        "@torso.hookimpl\ndef torso_build_arguments(input_shape):\n    rules.shapes.append(input_shape)\n"
    )
    holder: Any = ModuleType("torso_test_rules")
    holder.adapters, holder.shapes = adapters, []
    sys.modules["torso_test_rules"] = holder
    return torso.Registry.load(plugins_dirs=[folder], discover=False)


def test_random_values_that_never_train_are_warned_of() -> None:
    for freeze in ("all", "adapt_norm", {"all_but_last": 2}):
        (warning,) = planned("VGG16", weights="none", freeze=freeze).warnings
        name = "all_but_last 2" if isinstance(freeze, dict) else freeze
        assert warning == f"weights: none is random initialisation, and freeze: {name} keeps random values from training"
    assert planned("VGG16", weights="none", freeze="none").warnings == ()


def test_a_seed_is_part_of_the_plan() -> None:
    plan = planned("VGG16", weights={"none": {"seed": 7}})
    assert (plan.weights.seed, plan.report()["weights"]) == (7, {"label": "none, seed 7", "source": None})
    assert summary(plan)["weights"] == "none, seed 7"
    assert planned("VGG16", weights={"none": {}}).report()["weights"] == planned("VGG16", weights="none").report()["weights"]
    assert "weights: none has no option 'seeds'" in refused("VGG16", weights={"none": {"seeds": 7}})
    assert "seed cannot be '-1'" in refused("VGG16", weights={"none": {"seed": -1}})
    assert "fix: put the options under the name, as in {none: {seed: 7}}" in refused(
        "VGG16", weights={"none": {}, "seed": 7}
    )


@pytest.mark.parametrize(("old", "new"), [("last", "all_but_last"), ("norm_only", "all_but_norm")])
def test_the_old_names_of_policies_are_errors_that_name_the_new(old: str, new: str) -> None:
    for freeze in ({old: 2}, f"freeze-policies/{old}"):
        text = refused("VGG16", freeze=freeze)
        assert text.startswith("unknown freeze policy ")
        assert f"{new}'" in text.split("\n")[1].split(", ")[0]
    assert "all_but" not in refused("VGG16", truncate=old)
