"""The network and its card."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from torso import Registry, create_backbone
from torso_digits import DIGITNET, filters_at
from torso_digits.network import build


def test_the_card_tells_the_parameters_of_the_default_network() -> None:
    model = build(input_shape=(8, 8, 1), filters=filters_at(1.0), width=1.0)
    assert model.count_params() == DIGITNET.parameters


@pytest.mark.parametrize(("width", "channels"), [(0.25, 8), (0.5, 16), (1.0, 32), (1.3, 42), (4.0, 128)])
def test_the_width_multiplies_the_channels(registry: Registry, width: float, channels: int) -> None:
    backbone = create_backbone("digits/DigitNet", options={"width": width}, weights="none", registry=registry)
    assert backbone.model.output_shape == (None, 2, 2, channels)


def test_the_features_have_a_quarter_of_the_resolution(registry: Registry) -> None:
    backbone = create_backbone("digits/DigitNet", input={"size": [4, 12]}, weights="none", registry=registry)
    assert backbone.model.output_shape == (None, 1, 3, 32)


def test_every_build_has_the_same_node_names(registry: Registry) -> None:
    first, second = (create_backbone("digits/DigitNet", registry=registry).graph for _ in range(2))
    assert [node.name for node in first] == [node.name for node in second]
    unnamed = [node.name for node in first if not node.name.startswith(("stem_", "stage"))]
    assert unnamed == ["input_layer", *(f"spatial_dropout2d{end}" for end in ("", "_1", "_2", "_3"))]


def test_the_network_drops_channels_in_training_and_a_frozen_one_does_not(registry: Registry) -> None:
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)

    def is_random(model: keras.Model) -> bool:
        model.trainable = False  # statistics as stored: only dropout is left to differ
        return not np.array_equal(model(images, training=True), model(images, training=False))

    free = create_backbone("digits/DigitNet", freeze="none", registry=registry)
    frozen = create_backbone("digits/DigitNet", freeze="all", registry=registry)
    assert is_random(free.model)
    assert not is_random(frozen.model)


def test_preprocessing_divides_by_255(registry: Registry) -> None:
    pixels = np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 3, 1)
    prepared = create_backbone("digits/DigitNet", registry=registry).preprocess(pixels)
    np.testing.assert_array_equal(np.ravel(prepared), pixels.ravel() / np.float32(255))
