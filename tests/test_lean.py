"""Three build modes give the same backbone."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, SEED, parameters
from networks import assert_same_and_meaningful, images, keras_own, save_listed

import torso
from torso.model_config.layer_names import canonical_names
from torso.modeling import build as building, draw as drawing

SIZE = 96  # more than the greatest minimum, 75
NAMED_BY_AUTHORS = {"DenseNet", "EfficientNet", "EfficientNetV2", "MobileNet", "MobileNetV2", "ResNet", "ResNetV2", "VGG"}

Save = Callable[[keras.Model, Path], object]
FORMATS: dict[str, Save] = {
    "w.h5": save_listed,
    "w.weights.h5": lambda model, path: model.save_weights(path),
    "w.keras": lambda model, path: model.save(path),
}


def at(model: keras.Model, node: str) -> keras.Model:
    """The plain way: a model that ends at a node, by its canonical name."""
    names = canonical_names((operation.name, type(operation).__name__) for operation in model.operations)
    operation = next(operation for operation in model.operations if names[operation.name] == node)
    return keras.Model(model.input, operation.output)


class Modes:
    """Builds one spec in each of the three modes."""

    def __init__(self, registry: torso.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        self._registry = registry
        self._patch = monkeypatch

    def build(self, mode: str, name: str, **spec: Any) -> torso.Backbone:
        with self._patch.context() as patch:
            if mode != drawing.PARTIAL:
                patch.setattr(building, "static_cut", lambda plan: ())
            if mode == drawing.EAGER:
                patch.setattr(drawing.keras_private, "can_draw_lean", lambda: False)
            backbone = torso.create_backbone(name, registry=self._registry, input={"size": [SIZE, SIZE]}, **spec)
        assert backbone.manifest["built"]["way"] == mode
        return backbone


@pytest.fixture
def modes(registry: torso.Registry, monkeypatch: pytest.MonkeyPatch) -> Modes:
    return Modes(registry, monkeypatch)


def told(backbone: torso.Backbone) -> dict[str, Any]:
    """All that a backbone says of itself but how it was built."""
    manifest = {**backbone.manifest}
    del manifest["built"]
    manifest["dropped"] = {"parameters": manifest["dropped"]["parameters"]}
    return {
        "manifest": manifest,
        "graph": backbone.graph,
        "features": backbone.features,
        "config": backbone.model.get_config(),
        # Keras numbers the variables that a layer does not name, as ConvNeXt's scales, by the count of the process.
        "paths": [re.sub(r"/variable(_\d+)?$", "/variable", variable.path) for variable in backbone.model.weights],
        "trainable": [variable.trainable for variable in backbone.model.weights],
    }


def assert_alike(one: torso.Backbone, other: torso.Backbone) -> None:
    said, expected = told(one), told(other)
    for what, value in expected.items():
        assert said[what] == value, what
    for weight, wanted in zip(one.model.weights, other.model.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted, err_msg=weight.path)


# By default a network named by its authors, and one with nested models and scales without names; the slow test has all.
TOPOLOGIES = ("MobileNetV2", "ConvNeXtTiny")


def check(name: str, full: keras.Model, truncate: Any, modes: Modes, weights: Path, *, eager: bool) -> torso.Backbone:
    """The modes give the same backbone, and where it ends at one level, it computes what Keras does there."""
    spec: dict[str, Any] = {"weights": {"file": weights}, "truncate": truncate}
    lean = modes.build(drawing.LEAN, name, **spec)
    if eager:
        assert_alike(lean, modes.build(drawing.EAGER, name, **spec))
    shortest = torso.create_backbone(name, registry=modes._registry, input={"size": [SIZE, SIZE]}, **spec)
    if ARCHITECTURES[name].family in NAMED_BY_AUTHORS and truncate == {"level": "C3"}:
        assert shortest.manifest["built"]["way"] == drawing.PARTIAL
    assert_alike(shortest, lean)
    if isinstance(truncate, dict) and "level" in truncate:
        pixels, plain = images((SIZE, SIZE, 3)), at(full, lean.features[0].node)
        assert_same_and_meaningful(lean.model(pixels), plain(pixels))
        for weight, wanted in zip(lean.model.weights, plain.weights, strict=True):
            np.testing.assert_array_equal(weight, wanted, err_msg=weight.path)
    return lean


@pytest.mark.parametrize(
    ("name", "everywhere"),
    [*((name, False) for name in TOPOLOGIES), *(pytest.param(name, True, marks=pytest.mark.slow) for name in ARCHITECTURES)],
)
def test_the_modes_give_the_same_backbone_and_compute_what_keras_computes(
    name: str, everywhere: bool, tmp_path: Path, modes: Modes
) -> None:
    full = keras_own(name, SIZE)
    save_listed(full, tmp_path / "w.h5")
    levels: list[Any] = [{"level": level} for level in ARCHITECTURES[name].levels]
    for truncate in [*levels, {"levels": ["C3", "C4", "C5"]}, "none"] if everywhere else [{"level": "C3"}]:
        lean = check(name, full, truncate, modes, tmp_path / "w.h5", eager=truncate == {"level": "C3"})
    if everywhere:
        assert_same_and_meaningful(lean.model(images((SIZE, SIZE, 3))), full(images((SIZE, SIZE, 3))))


NAMED = [name for name, one in ARCHITECTURES.items() if one.family in NAMED_BY_AUTHORS]


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, random.Random(SEED).sample(NAMED, 2)))
def test_a_builder_that_is_stopped_has_made_the_layers_of_one_that_is_not(name: str, registry: torso.Registry) -> None:
    assert ARCHITECTURES[name].can_stop_early
    plan = torso.plan(name, registry=registry, weights="none", input={"size": [SIZE, SIZE]})
    whole = drawing.draw_lean(plan, 3)
    entries = {entry["name"]: entry for entry in whole.model.get_config()["layers"]}
    clean = [node.name for node in whole.graph.clean_cuts if ARCHITECTURES[name].is_clean(node.name)]
    stopped = 0
    for node in [*random.Random(name).sample(clean[:-1], 3), clean[-1]] if len(clean) > 3 else clean:
        with suppress(drawing.CannotDrawLean):  # its names are numbered: it is built whole
            early = drawing.draw_lean(plan, 3, until=[node])
            assert early.mode == drawing.PARTIAL
            made = early.model.get_config()["layers"]
            assert made == [entries[entry["name"]] for entry in made]
            stopped += 1
    assert stopped == 4 or name not in NAMED


@cache
def own(name: str) -> keras.Model:
    return keras_own(name, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetB0", "MobileNetV3Small"])
def test_every_format_gives_what_keras_computes(name: str, file: str, tmp_path: Path, registry: torso.Registry) -> None:
    full = own(name)
    FORMATS[file](full, tmp_path / file)
    spec: dict[str, Any] = {"weights": {"file": tmp_path / file}, "input": {"size": [SIZE, SIZE]}, "registry": registry}
    pixels = images((SIZE, SIZE, 3))
    cut = torso.create_backbone(name, truncate={"level": "C3"}, **spec)
    assert cut.manifest["built"]["way"] in (drawing.PARTIAL, drawing.LEAN)
    assert_same_and_meaningful(cut.model(pixels), at(full, cut.features[0].node)(pixels))
    assert_same_and_meaningful(torso.create_backbone(name, **spec).model(pixels), full(pixels))
