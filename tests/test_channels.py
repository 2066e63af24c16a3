"""Backbones for other channels, from the spec to the features: copied channels give what the RGB image gives."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import save_listed, settle

import torso
from torso.builtins.keras_applications.builder import build
from torso.keras_bridge.private import without_weights

SIZE = 64
SMALL = ["ConvNeXtTiny", "EfficientNetB0", "MobileNetV3Small", "VGG16"]  # statistics inside, scaling inside, and in front
FORTY = [one.name for one in torso.Registry.load(discover=False).architectures if one.plugin.name == "keras"]


@pytest.fixture(scope="module")
def registry() -> torso.Registry:
    return torso.Registry.load(discover=False)


def size_of(name: str, registry: torso.Registry) -> int:
    rules = registry.architectures.resolve(name).value.input
    return rules.default[0] if rules.fixed else max(SIZE, rules.minimum)


def keras_own(name: str, registry: torso.Registry, channels: int = 3) -> keras.Model:
    """The network as Keras builds it, with random kernels and the statistics that noise has in it."""
    size = size_of(name, registry)
    with warnings.catch_warnings(), without_weights():
        warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")
        full = build(input_shape=(size, size, channels), **torso.plan(name, registry=registry).arguments)
    preprocess = torso.plan(name, registry=registry).preprocessing
    scale = 1.0 if preprocess.built_in else 1 / 127.5
    settle(full, pixels(size, channels).astype("float32") * scale)
    return full


def pixels(size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, size, size, channels), dtype="uint8")


def features(backbone: torso.Backbone, images: np.ndarray) -> np.ndarray:
    return np.asarray(backbone.model(backbone.preprocess(images)))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """The same but for the order in which a convolution adds up, and not the same for both images."""
    assert np.isfinite(expected).all()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def check(name: str, registry: torso.Registry, folder: Path) -> None:
    size = size_of(name, registry)
    save_listed(keras_own(name, registry), folder / "w.h5")

    def backbone(**given: Any) -> torso.Backbone:
        weights = {"file": folder / "w.h5"}
        return torso.create_backbone(name, weights=weights, input={"size": [size, size], **given}, registry=registry)

    rgb = pixels(size)
    expected = features(backbone(), rgb)
    turned = backbone(adapt={"map": ["B", "R", "G"]})
    assert_close(features(turned, rgb[..., [2, 0, 1]]), expected)
    copied = backbone(adapt={"map": ["B", "none", "G", "R", "B"]})
    assert copied.model.input_shape == (None, size, size, 5)
    wide = rgb[..., [2, 0, 1, 0, 2]].copy()
    wide[..., 1] = 200
    assert_close(features(copied, wide), expected)
    extra = backbone(channels=13, adapt="zero_extra")
    assert_close(features(extra, np.concatenate([rgb, pixels(size, 10)], axis=-1)), expected)
    again = backbone(channels=4, adapt="repeat")
    assert_close(features(again, rgb[..., [0, 1, 2, 0]]), expected)
    grey = backbone(channels=1, adapt="mean")
    assert np.abs(features(grey, rgb[..., :1]) - expected).max() > 0  # no promise for colours, but it computes
    assert [node.name for node in grey.graph] == [node.name for node in again.graph] == [node.name for node in turned.graph]


@pytest.mark.parametrize("name", SMALL)
def test_an_image_of_copied_channels_gives_the_features_of_the_image(
    name: str, registry: torso.Registry, tmp_path: Path
) -> None:
    check(name, registry, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORTY if name not in SMALL])
def test_so_it_does_for_all_forty(name: str, registry: torso.Registry, tmp_path: Path) -> None:
    check(name, registry, tmp_path)


def test_an_adapted_backbone_is_saved_with_what_was_done(registry: torso.Registry, tmp_path: Path) -> None:
    save_listed(keras_own("VGG16", registry), tmp_path / "w.h5")
    backbone = torso.create_backbone(
        "VGG16",
        weights={"file": tmp_path / "w.h5"},
        input={"size": [SIZE, SIZE], "adapt": {"map": ["R", "G", "B", "R"]}},
        truncate={"layer": "block1_pool"},
        registry=registry,
    )
    folder = backbone.save(tmp_path / "saved")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["plan"]["input_shape"] == [SIZE, SIZE, 4]
    assert manifest["plan"]["adapt"] == {
        "name": "channel-adapters/map", "options": {"sources": ["R", "G", "B", "R"]}, "source_channels": 3,
    }  # fmt: skip
    assert manifest["preprocessing"]["mean"] == [123.68, 103.939, 116.779, 123.68]
    loaded = torso.load(folder)
    np.testing.assert_array_equal(features(loaded, pixels(SIZE, 4)), features(backbone, pixels(SIZE, 4)))


def test_weights_whose_own_input_has_another_width_are_the_source_too(registry: torso.Registry, tmp_path: Path) -> None:
    full = keras_own("VGG16", registry, channels=2)
    save_listed(full, tmp_path / "w.h5")
    backbone = torso.create_backbone(
        "VGG16",
        weights={"file": tmp_path / "w.h5"},
        input={"size": [SIZE, SIZE], "adapt": {"map": [1, 0, 1]}},
        truncate={"layer": "block1_conv1"},
        registry=registry,
    )
    image = pixels(SIZE, 2)
    expected = keras.Model(full.input, full.get_layer("block1_conv1").output)(image.astype("float32"))
    assert_close(features(backbone, image[..., [1, 0, 1]]), np.asarray(expected))
