"""Backbones for other channels, from the spec to the features: copied channels give what the RGB image gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, SMALLEST, registry
from networks import keras_own, save_listed, settle

import torso

SIZE = 64
SMALL = ["MobileNetV3Small", "VGG16"]  # scaling inside the network, and before it


def size_of(name: str) -> int:
    rules = ARCHITECTURES[name].input
    return rules.default[0] if rules.fixed else max(SIZE, rules.minimum)


def pixels(size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, size, size, channels), dtype="uint8")


def features(backbone: torso.Backbone, images: np.ndarray) -> np.ndarray:
    return np.asarray(backbone.model(backbone.preprocess(images)))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """The same but for the order in which a convolution adds up, and not the same for both images."""
    assert np.isfinite(expected).all()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


RULES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "turned": ({"adapt": {"map": ["B", "R", "G"]}}, [2, 0, 1]),
    "copied": ({"adapt": {"map": ["B", "none", "G", "R", "B"]}}, [2, 3, 1, 0, 2]),
    "repeat": ({"channels": 4, "adapt": "repeat"}, [0, 1, 2, 0]),
    "zero_extra": ({"channels": 13, "adapt": "zero_extra"}, [*range(13)]),
}
"""What is asked for, and of which channels the image is then made: 0 to 2 are R, G and B, the others are noise."""


def backbone_of(name: str, folder: Path, size: int = SIZE, truncate: Any = "none", **given: Any) -> torso.Backbone:
    weights, given = {"file": folder / "w.h5"}, {"size": [size, size], **given}
    return torso.create_backbone(name, weights=weights, input=given, truncate=truncate, registry=registry())


def check(name: str, folder: Path, *rules: str) -> None:
    size = size_of(name)
    save_listed(keras_own(name, size), folder / "w.h5")
    image, plain = pixels(size, 13), backbone_of(name, folder, size)
    expected = features(plain, image[..., :3])
    for rule in rules:
        given, channels = RULES[rule]
        adapted = backbone_of(name, folder, size, **given)
        assert adapted.model.input_shape == (None, size, size, len(channels))
        assert [node.name for node in adapted.graph] == [node.name for node in plain.graph]
        assert_close(features(adapted, image[..., channels]), expected)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_of_copied_channels_gives_the_features_of_the_image(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, "copied")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_so_it_does_for_all_forty_and_by_every_rule_in_each_family(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, *(RULES if name in SMALLEST.values() else ["copied"]))


def test_an_adapted_backbone_is_saved_with_what_was_done(tmp_path: Path) -> None:
    save_listed(keras_own("VGG16", SIZE), tmp_path / "w.h5")
    backbone = backbone_of("VGG16", tmp_path, truncate={"layer": "block1_pool"}, adapt={"map": ["R", "G", "B", "R"]})
    folder = backbone.save(tmp_path / "saved")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["plan"]["input_shape"] == [SIZE, SIZE, 4]
    assert manifest["plan"]["adapt"] == {
        "name": "channel-adapters/map", "options": {"sources": ["R", "G", "B", "R"]}, "source_channels": 3,
    }  # fmt: skip
    assert manifest["preprocessing"]["mean"] == [123.68, 103.939, 116.779, 123.68]
    loaded = torso.load(folder)
    np.testing.assert_array_equal(features(loaded, pixels(SIZE, 4)), features(backbone, pixels(SIZE, 4)))


@pytest.mark.filterwarnings("ignore:This model usually expects 1 or 3 input channels")
def test_weights_whose_own_input_has_another_width_are_the_source_too(tmp_path: Path) -> None:
    full = keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIZE, SIZE, 2))
    settle(full, pixels(SIZE, 2).astype("float32"))
    save_listed(full, tmp_path / "w.h5")
    backbone = backbone_of("VGG16", tmp_path, truncate={"layer": "block1_conv1"}, adapt={"map": [1, 0, 1]})
    image = pixels(SIZE, 2)
    expected = keras.Model(full.input, full.get_layer("block1_conv1").output)(image.astype("float32"))
    assert_close(features(backbone, image[..., [1, 0, 1]]), np.asarray(expected))
