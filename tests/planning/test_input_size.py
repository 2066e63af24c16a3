"""Sizes of images, end to end: any that the architecture allows, any size at all where its graph does, and the refusals."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, drawn_by_keras, graph_of, parameters, registry, skeleton
from networks import assert_same_and_meaningful, images, settle
from refusals import refusal

import torso
from torso.artifact.manifest import fingerprint
from torso.graph import Graph
from torso.model_config.layer_names import canonical_names
from torso.modeling.keras_private import without_weights

ANY = {"size": [None, None]}
OPEN = [name for name, card in ARCHITECTURES.items() if card.input.any_size]
SMALL = {"options": {"alpha": 0.35}, "weights": "none"}
# nested models and bare ops; paddings that differ at the default size already; at some others; nowhere
FEW = ("ConvNeXtTiny", "EfficientNetB1", "MobileNetV2", "VGG16")


def settings_of(model: keras.Model) -> dict[str, Any]:
    """The configuration of each layer and op by its canonical name, but for the shapes that it was called with."""
    entries = model.get_config()["layers"]
    names = canonical_names((entry["name"], entry["class_name"]) for entry in entries)
    return {names[entry["name"]]: settings_alone(entry["config"]) for entry in entries}


def settings_alone(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: settings_alone(item) for key, item in value.items() if key != "name" and not key.endswith("shape")}
    return [settings_alone(item) for item in value] if isinstance(value, (list, tuple)) else value


refused = partial(refusal, torso.plan, registry=registry())


@cache
def both_sizes(name: str) -> tuple[Graph, Graph]:
    """The graph for images of any size, and the one for the default size."""
    return torso.read_graph(name, input=ANY, registry=registry()), graph_of(name)


# --- the cards against Keras --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, FEW))
def test_any_size_is_allowed_where_keras_draws_the_same_network_for_it(name: str) -> None:
    try:
        same = drawn_by_keras(name, (None, None)).weights == drawn_by_keras(name).weights
    except ValueError as error:  # Keras refuses it with published weights
        same = "must be static (no None entries)" not in str(error)
    assert ARCHITECTURES[name].input.any_size == same


@pytest.mark.parametrize("name", parameters(OPEN, FEW))
def test_the_network_for_any_size_has_the_nodes_and_cuts_of_the_one_for_a_size(name: str) -> None:
    whole, sized = both_sizes(name)
    facts = attrgetter("name", "kind", "inputs", "stride", "receptive_field", "sees_all", "kernel", "parameters", "layer")
    assert [(*facts(node), node.channels) for node in whole] == [(*facts(node), node.channels) for node in sized]
    assert whole.levels == sized.levels
    assert [node.name for node in whole.clean_cuts] == [node.name for node in sized.clean_cuts]
    assert [node.name for node in whole.blocks] == [node.name for node in sized.blocks]
    assert whole.nodes[0].shape == (None, None, 3)
    assert fingerprint(whole) != fingerprint(sized)
    cost = whole.cost()
    assert (cost.macs, cost.flops, cost.peak_bytes) == (None, None, None)  # they need a size
    assert cost.parameters == ARCHITECTURES[name].parameters


@pytest.mark.parametrize("name", parameters(OPEN, ["MobileNetV2", "VGG16"]))
def test_the_card_says_at_which_sizes_the_network_for_any_size_pads_alike(name: str) -> None:
    rules = ARCHITECTURES[name].input
    whole = settings_of(skeleton(name, (None, None))[0])
    least = -(-rules.minimum // rules.any_size_divisor) * rules.any_size_divisor
    aligned = [(least, least), (7 * 32, 8 * 32), (5 * 32, 5 * 32)]
    others = [(225, 225), (240, 240), (250, 251)]  # odd at once; even, and odd when halved four times
    assert all(side % 32 for size in others for side in size)
    for size in aligned:
        assert settings_of(skeleton(name, size)[0]) == whole
    for size in others:
        assert (settings_of(skeleton(name, size)[0]) == whole) == (rules.any_size_divisor == 1)


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, FEW))
def test_at_its_least_size_an_architecture_has_positions_left(name: str) -> None:
    least = ARCHITECTURES[name].input.minimum
    whole = torso.read_graph(name, input={"size": [least, least + 13]}, registry=registry())
    assert all(all(node.shape) for node in whole)
    assert [node.name for node in whole] == [node.name for node in graph_of(name)]


# --- features -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")  # of Keras' MobileNets
        yield


SLOW = ("MobileNetV3Small", "EfficientNetB0", "VGG16", "ResNet50V2", "InceptionV3", "ConvNeXtTiny", "DenseNet121")


@pytest.mark.parametrize("name", ["MobileNetV2", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_features_of_any_size_are_those_of_keras(name: str, tmp_path: Path) -> None:
    options = {"alpha": 0.35} if name == "MobileNetV2" else {}
    tag = "imagenet" if name.startswith("EfficientNet") else None
    with without_weights():
        model = getattr(keras.applications, name)(include_top=False, weights=tag, input_shape=(None, None, 3), **options)
    settle(model, images((80, 80, 3)))
    model.save_weights(tmp_path / "settled.weights.h5")
    weights = {"file": tmp_path / "settled.weights.h5"}
    backbone = torso.create_backbone(name, options=options, input=ANY, weights=weights, registry=registry())
    assert backbone.model.input_shape == (None, None, None, 3)
    shapes = set()
    for size in ((80, 128), (91, 77)):
        pixels = images((*size, 3))
        expected, actual = np.asarray(model(pixels)), np.asarray(backbone.model(pixels))
        assert_same_and_meaningful(actual, expected)
        shapes.add(actual.shape)
    assert len(shapes) == 2


def test_a_pyramid_of_any_size_is_saved_with_its_open_sides(tmp_path: Path) -> None:
    backbone = torso.create_backbone(
        "MobileNetV2", **SMALL, input=ANY, truncate={"levels": ["C3", "C5"]}, registry=registry()
    )
    assert [feature.shape for feature in backbone.features] == [(None, None, 16), (None, None, 112)]
    assert [feature.stride for feature in backbone.features] == [8, 32]
    folder = backbone.save(tmp_path / "pyramid")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["plan"]["input_shape"] == [None, None, 3]
    assert [feature["shape"] for feature in manifest["features"]] == [[None, None, 16], [None, None, 112]]
    again = torso.load(folder)
    assert (again.features, again.graph) == (backbone.features, backbone.graph)
    prepared = again.preprocess(images((40, 70, 3)))
    assert prepared.shape == (2, 40, 70, 3)
    maps, before = again.model(prepared), backbone.model(prepared)
    # 3×3 windows on maps with one more cell after each side: 40, 20, 10, 5, 2, 1 and 70, 35, 17, 8, 4, 2
    assert {level: tuple(maps[level].shape[1:3]) for level in maps} == {"C3": (5, 8), "C5": (1, 2)}
    for level in maps:
        np.testing.assert_array_equal(maps[level], before[level])


# --- plans --------------------------------------------------------------------------------------------------------------


def test_a_plan_for_any_size_has_open_sides_and_warns() -> None:
    for channels in (3, 1):
        plan = torso.plan("ResNet50", input={**ANY, "channels": channels}, weights="none", registry=registry())
        assert plan.input_shape == (None, None, channels)
        assert plan.report()["input_shape"] == [None, None, channels]
    assert torso.plan("ResNet50", input=ANY, registry=registry()).warnings == ()
    assert torso.plan("EfficientNetB1", registry=registry()).warnings == ()
    assert torso.plan("EfficientNetB1", input=ANY, registry=registry()).warnings == (
        "images whose sides are not multiples of 32 pixels get other features than from a network that is built for their "
        "size: it pads otherwise",
    )
    plan = torso.plan("MobileNet", input=ANY, registry=registry())
    assert plan.weights.address is not None
    assert plan.weights.address.endswith("mobilenet_1_0_224_tf_no_top.h5")
    assert plan.warnings[0] == "no imagenet weights were trained at any size; those for 224×224 are used"


def test_a_size_that_the_card_does_not_allow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(ARCHITECTURES) - set(OPEN) == {"NASNetMobile", "NASNetLarge"}
    assert refused("VGG16", input={"size": [32, 31]}) == (
        "VGG16 cannot take images of 32×31 pixels (argument input.size)\n  known: 32 pixels or more"
    )
    assert refused("NASNetMobile", input=ANY) == (
        "NASNetMobile cannot be built for images of any size (argument input.size)\n"
        "  known: 32 pixels or more\n"
        "  fix: write a size, as [224, 224]"
    )
    rules = torso.InputRules(default=(8, 8), fixed=True, any_size=True)
    monkeypatch.setitem(vars(registry().architectures.resolve("VGG16").value), "input", rules)
    for size in ANY, {"size": [16, 16]}:
        assert "\n  known: 8×8 pixels only" in refused("VGG16", input=size)


def test_an_image_that_no_machine_would_hold_is_refused_and_one_just_within_is_not() -> None:
    for given in {"size": [10**6, 10**6]}, {"size": [2**14, 2**14 + 1], "channels": 4}, {"channels": 10**9}:
        said = refused("VGG16", input=given, weights="none")
        assert said.endswith(f"channels takes more than 4 GiB (argument input.{next(iter(given))})")
    assert "more than 4 GiB" in refused("VGG16", input={**ANY, "channels": 10**9}, weights="none")
    plan = torso.plan("VGG16", input={"size": [2**14, 2**14], "channels": 4}, weights="none", registry=registry())
    assert plan.input_shape == (2**14, 2**14, 4)
