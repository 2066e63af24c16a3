"""Sizes of images, end to end: any that the architecture allows, any size at all where its graph does, and the refusals."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graphs import graph_of, registry
from networks import images, settle

import torso
from torso.artifact.manifest import fingerprint
from torso.graph import Graph
from torso.modeling.graph_reader import layer_names
from torso.modeling.keras_private import without_values, without_weights
from torso.planning.input_size import MOST_VALUES

CARDS = {contribution.value.name: contribution.value for contribution in registry().architectures}
ANY = {"size": [None, None]}
OPEN = [name for name, card in CARDS.items() if card.input.any_size]

# nested models and bare ops; paddings that differ at the default size already; at some others; nowhere
FEW = ("ConvNeXtTiny", "EfficientNetB1", "MobileNetV2", "VGG16")


def some(names: list[str]) -> list[Any]:
    """The few in every run, the others before a release."""
    return [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in names]


def skeleton(name: str, size: tuple[int | None, int | None]) -> keras.Model:
    """What the constructor of Keras draws, without values."""
    tag = "imagenet" if name.startswith("EfficientNetB") else None
    with without_values(), without_weights():
        return getattr(keras.applications, name)(include_top=False, weights=tag, input_shape=(*size, 3))


def weights_of(model: keras.Model) -> list[tuple[str, str, list[tuple[int, ...]]]]:
    """Name, class and shapes of each layer that has weights."""
    names = layer_names(model.get_config()["layers"])
    return [
        (names[layer.name], type(layer).__name__, [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers
        if layer.weights
    ]


def settings_of(model: keras.Model) -> dict[str, Any]:
    """The configuration of each layer and op by its canonical name, but for the shapes that it was called with."""
    entries = model.get_config()["layers"]
    names = layer_names(entries)
    return {names[entry["name"]]: settings_alone(entry["config"]) for entry in entries}


def settings_alone(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: settings_alone(item) for key, item in value.items() if key != "name" and not key.endswith("shape")}
    return [settings_alone(item) for item in value] if isinstance(value, (list, tuple)) else value


def refused(architecture: str, **spec: Any) -> str:
    with pytest.raises(torso.TorsoError) as caught:
        torso.plan(architecture, registry=registry(), **spec)
    return str(caught.value)


# --- the cards against Keras --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*some(OPEN), "NASNetMobile", pytest.param("NASNetLarge", marks=pytest.mark.slow)])
def test_any_size_is_allowed_where_keras_draws_the_same_network_for_it(name: str) -> None:
    same = weights_of(skeleton(name, (None, None))) == weights_of(skeleton(name, CARDS[name].input.default))
    assert CARDS[name].input.any_size == same


def test_any_size_is_refused_for_nasnet_alone() -> None:
    assert set(CARDS) - set(OPEN) == {"NASNetMobile", "NASNetLarge"}


@pytest.mark.parametrize("name", some(OPEN))
def test_the_network_for_any_size_has_the_nodes_levels_and_cuts_of_the_one_for_a_size(name: str) -> None:
    whole, sized = torso.read_graph(name, input=ANY, registry=registry()), graph_of(name)
    for what in ("name", "kind", "inputs", "stride", "receptive_field", "sees_all", "kernel", "parameters", "layer"):
        assert [getattr(node, what) for node in whole] == [getattr(node, what) for node in sized], what
    assert whole.levels == sized.levels
    assert [node.name for node in whole.clean_cuts] == [node.name for node in sized.clean_cuts]
    assert [node.name for node in whole.blocks] == [node.name for node in sized.blocks]
    assert [node.channels for node in whole] == [node.channels for node in sized]
    assert whole.nodes[0].shape == (None, None, 3)
    assert fingerprint(whole) != fingerprint(sized)


@pytest.mark.parametrize("name", some(OPEN))
def test_the_card_says_at_which_sizes_the_network_for_any_size_pads_as_the_one_for_that_size(name: str) -> None:
    rules = CARDS[name].input
    whole = settings_of(skeleton(name, (None, None)))
    least = -(-rules.minimum // rules.any_size_divisor) * rules.any_size_divisor
    aligned = [(least, least), (7 * 32, 8 * 32), (5 * 32, 5 * 32)]
    others = [(225, 225), (240, 240), (250, 251)]  # odd at once; even, and odd when halved four times
    assert all(side % 32 for size in others for side in size)
    for size in aligned:
        assert settings_of(skeleton(name, size)) == whole
    for size in others:
        assert (settings_of(skeleton(name, size)) == whole) == (rules.any_size_divisor == 1)


@pytest.mark.parametrize("name", some(list(CARDS)))
def test_at_its_least_size_an_architecture_has_cells_left_and_not_below_where_keras_would_build_it(name: str) -> None:
    least = CARDS[name].input.minimum
    whole = torso.read_graph(name, input={"size": [least, least + 13]}, registry=registry())
    assert all(all(node.shape) for node in whole)
    assert [node.name for node in whole] == [node.name for node in graph_of(name)]
    assert refused(name, input={"size": [least, least - 1]}, weights="none") == (
        f"{name} cannot take images of {least}×{least - 1} pixels (argument input.size)\n  known: {least} pixels or more"
    )
    with pytest.raises(ValueError, match=f"Input size must be at least {least}x{least}"):
        skeleton(name, (least, least - 1))


# --- features -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")  # of Keras' MobileNets
        yield


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNetV2", {"alpha": 0.35}),
        ("MobileNetV3Small", {}),
        pytest.param("EfficientNetB0", {}, marks=pytest.mark.slow),
        pytest.param("VGG16", {}, marks=pytest.mark.slow),
        pytest.param("ResNet50V2", {}, marks=pytest.mark.slow),
        pytest.param("InceptionV3", {}, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", {}, marks=pytest.mark.slow),
        pytest.param("DenseNet121", {}, marks=pytest.mark.slow),
    ],
)
def test_features_of_any_size_are_those_of_kerass_own_network_with_the_same_weights(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    tag = "imagenet" if name.startswith("EfficientNet") else None
    with without_weights():
        model = getattr(keras.applications, name)(include_top=False, weights=tag, input_shape=(None, None, 3), **options)
    settle(model, images((80, 80, 3)))
    model.save_weights(tmp_path / "settled.weights.h5")
    backbone = torso.create_backbone(
        name, options=options, input=ANY, weights={"file": tmp_path / "settled.weights.h5"}, registry=registry()
    )
    assert backbone.model.input_shape == (None, None, None, 3)
    seen = set()
    for size in ((80, 128), (91, 77)):
        pixels = images((*size, 3))
        expected, actual = np.asarray(model(pixels)), np.asarray(backbone.model(pixels))
        assert np.isfinite(expected).all()
        assert (expected[0] != expected[1]).any()
        np.testing.assert_array_equal(actual, expected)
        seen.add(actual.shape)
    assert len(seen) == 2
    again = torso.load(backbone.save(tmp_path / "saved"))
    pixels = images((80, 90, 3))
    np.testing.assert_array_equal(np.asarray(again.model(pixels)), np.asarray(backbone.model(pixels)))
    assert again.graph == backbone.graph
    assert again.features == backbone.features


@pytest.mark.parametrize(("side", "same"), [(224, True), (225, False)])
def test_at_sizes_that_the_warning_tells_of_the_features_are_not_those_of_the_network_for_that_size(side, same):
    whole = torso.create_backbone("MobileNetV2", options={"alpha": 0.35}, weights="none", input=ANY, registry=registry())
    sized = torso.create_backbone(
        "MobileNetV2", options={"alpha": 0.35}, weights="none", input={"size": [side, side]}, registry=registry()
    )
    settle(whole.model, images((96, 96, 3)))
    sized.model.set_weights(whole.model.get_weights())
    pixels = images((side, side, 3))
    features = [np.asarray(backbone.model(pixels)) for backbone in (whole, sized)]
    assert (features[0].shape[1], features[1].shape[1]) == (7, 7 if same else 8)
    assert not same or (features[0] == features[1]).all()


def test_a_pyramid_of_any_size_is_saved_with_its_open_sides(tmp_path: Path) -> None:
    backbone = torso.create_backbone(
        "MobileNetV2", options={"alpha": 0.35}, weights="none", input=ANY, truncate={"levels": ["C3", "C5"]},
        registry=registry(),
    )  # fmt: skip
    assert [feature.shape for feature in backbone.features] == [(None, None, 16), (None, None, 112)]
    assert [feature.stride for feature in backbone.features] == [8, 32]
    folder = backbone.save(tmp_path / "pyramid")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["plan"]["input_shape"] == [None, None, 3]
    assert [feature["shape"] for feature in manifest["features"]] == [[None, None, 16], [None, None, 112]]
    again = torso.load(folder)
    assert again.features == backbone.features
    pixels = images((40, 70, 3))
    prepared = again.preprocess(pixels)
    assert prepared.shape == (2, 40, 70, 3)
    maps = again.model(prepared)
    # 3×3 windows on maps with one more cell behind each side: 40, 20, 10, 5, 2, 1 and 70, 35, 17, 8, 4, 2
    assert {level: tuple(maps[level].shape[1:3]) for level in maps} == {"C3": (5, 8), "C5": (1, 2)}


def test_weights_are_filled_into_images_that_are_not_square(tmp_path: Path) -> None:
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 100, 3), alpha=0.35)
    settle(model, images((64, 100, 3)))
    model.save_weights(tmp_path / "settled.weights.h5")
    backbone = torso.create_backbone(
        "MobileNetV2", options={"alpha": 0.35}, input={"size": [64, 100]}, truncate={"level": "C4"},
        weights={"file": tmp_path / "settled.weights.h5"}, registry=registry(),
    )  # fmt: skip
    pixels = images((64, 100, 3))
    expected = keras.Model(model.input, model.get_layer("block_12_add").output)(pixels)
    np.testing.assert_array_equal(np.asarray(backbone.model(pixels)), np.asarray(expected))
    assert backbone.features[0].shape == (4, 7, 32)


# --- strategies and costs -----------------------------------------------------------------------------------------------


def cut_of(name: str, truncate: Any, size: list[int | None]) -> Any:
    """The node that a strategy selects in the network for that size."""
    graph = torso.read_graph(name, input={"size": size}, registry=registry())
    chosen = torso.plan(name, weights="none", truncate=truncate, input={"size": size}, registry=registry()).truncate
    return chosen.contribution.value.select(graph, chosen.options)


@pytest.mark.parametrize(
    "truncate",
    [
        {"level": "C4"},
        {"stride": 8},
        {"pop": {"count": 2, "unit": "block"}},
        {"layer": "block_3_expand_relu"},
        {"budget": {"parameters": 100_000, "receptive_field": 200}},
    ],
    ids=str,
)
def test_strategies_cut_the_network_for_any_size_where_they_cut_the_one_for_a_size(truncate: Any) -> None:
    assert cut_of("MobileNetV2", truncate, [None, None]) == cut_of("MobileNetV2", truncate, [224, 224])


def test_a_budget_begins_behind_the_first_convolution_at_any_size_too() -> None:
    # EfficientNet divides and subtracts before it: that multiplies with no kernel, and makes no backbone
    for size in ([None, None], [224, 224]):
        assert cut_of("EfficientNetB0", {"budget": {"receptive_field": 3}}, size) == "stem_activation"
        with pytest.raises(torso.CutError, match="first: 'stem_conv' has receptive_field 3"):
            cut_of("EfficientNetB0", {"budget": {"receptive_field": 1}}, size)


def test_a_budget_of_macs_is_refused_where_they_are_unknown() -> None:
    with pytest.raises(torso.CutError) as caught:
        cut_of("MobileNetV2", {"budget": {"macs": 10_000_000, "parameters": 1_000_000}}, [None, None])
    assert str(caught.value) == (
        "the macs of MobileNetV2 are unknown, and it cannot keep within parameters 1,000,000 and macs 10,000,000\n"
        "  cause: it is built for images of any size\n"
        "  fix: give it a size, or another limit: parameters: or receptive_field:"
    )


def test_costs_that_need_a_size_are_unknown_and_parameters_are_not() -> None:
    whole: Graph = torso.read_graph("MobileNetV2", input=ANY, registry=registry())
    cost = whole.cost()
    assert (cost.macs, cost.flops, cost.peak_bytes) == (None, None, None)
    assert cost.parameters == CARDS["MobileNetV2"].parameters


# --- plans --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 1])
def test_a_plan_for_any_size_has_open_sides(channels: int) -> None:
    plan = torso.plan("ResNet50", input={**ANY, "channels": channels}, weights="none", registry=registry())
    assert plan.input_shape == (None, None, channels)
    assert plan.report()["input_shape"] == [None, None, channels]


def test_a_plan_warns_where_the_network_for_any_size_is_another_one() -> None:
    assert torso.plan("ResNet50", input=ANY, registry=registry()).warnings == ()
    assert torso.plan("EfficientNetB1", registry=registry()).warnings == ()
    assert torso.plan("EfficientNetB1", input=ANY, registry=registry()).warnings == (
        "images whose sides are not multiples of 32 pixels get other features than from a network that is built for their "
        "size: it pads otherwise",
    )


def test_a_plan_for_any_size_says_at_which_one_its_weights_were_trained() -> None:
    plan = torso.plan("MobileNet", input=ANY, registry=registry())
    assert plan.weights.address is not None
    assert plan.weights.address.endswith("mobilenet_1_0_224_tf_no_top.h5")
    assert plan.warnings[0] == "no imagenet weights were trained at any size; those for 224×224 are used"


def test_any_size_is_refused_where_the_card_does_not_allow_it() -> None:
    assert refused("NASNetMobile", input=ANY) == (
        "NASNetMobile cannot be built for images of any size (argument input.size)\n"
        "  known: 32 pixels or more\n"
        "  fix: write a size, as [224, 224]"
    )


def test_a_card_that_says_nothing_of_any_size_or_one_size_alone_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torso.InputRules(default=(8, 8)).any_size is False
    rules = torso.InputRules(default=(8, 8), fixed=True, any_size=True)
    monkeypatch.setitem(vars(registry().architectures.resolve("VGG16").value), "input", rules)
    assert refused("VGG16", input=ANY) == (
        "VGG16 cannot be built for images of any size (argument input.size)\n"
        "  known: 8×8 pixels only\n"
        "  fix: write a size, as [8, 8]"
    )


def test_a_size_that_is_refused_has_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "version: 1\nbackbones:\n  a:\n    architecture: VGG16\n    input: {size: [16, 224]}\n"
        "  b: {architecture: NASNetLarge, input: {size: [~, null]}}\n"
        "  c: {architecture: VGG16, input: {size: [1_000_000, 1_000_000]}}\n"
    )
    with pytest.raises(torso.TorsoError) as caught:
        torso.load_specs(path, registry=registry())
    places = [(error.place.line, error.place.column, error.place.path) for error in caught.value.parts()]
    assert places == [
        (5, 19, "$.backbones.a.input.size"),
        (6, 48, "$.backbones.b.input.size"),
        (7, 42, "$.backbones.c.input.size"),
    ]


# --- absurd ones --------------------------------------------------------------------------------------------------------


def test_an_image_that_no_machine_would_hold_is_refused() -> None:
    assert refused("VGG16", input={"size": [1_000_000, 1_000_000]}) == (
        "one image of 1000000×1000000 pixels and 3 channels would take 11,175.9 GiB of float32 (argument input.size)\n"
        "  known: 4 GiB at most"
    )
    assert refused("VGG16", input={"channels": 10**9}, weights="none").endswith(
        "GiB of float32 (argument input.channels)\n  known: 4 GiB at most"
    )
    assert refused("VGG16", input={**ANY, "channels": 10**9}, weights="none").startswith(
        "one image of 32×32 pixels and 1000"
    )


def test_an_image_just_within_the_limit_is_planned() -> None:
    side = 2**14
    assert side * side * 4 == MOST_VALUES
    plan = torso.plan("VGG16", input={"size": [side, side], "channels": 4}, weights="none", registry=registry())
    assert plan.input_shape == (side, side, 4)
    assert "GiB" in refused("VGG16", input={"size": [side, side + 1], "channels": 4}, weights="none")


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.options])
def test_an_absurd_width_is_refused(name: str) -> None:
    assert refused(name, options={"alpha": 10**9}, weights="none") == (
        "alpha cannot be '1000000000' (argument options.alpha)\n  known: 16 or less"
    )
