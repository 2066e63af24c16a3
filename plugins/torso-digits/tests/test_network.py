"""What is special about the network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from torso import Registry, create_backbone


@pytest.mark.parametrize(("width", "channels"), [(0.25, 8), (0.5, 16), (1.0, 32), (1.3, 42), (4.0, 128)])
def test_the_width_multiplies_the_channels_at_a_quarter_of_the_resolution(
    registry: Registry, width: float, channels: int
) -> None:
    given = {"options": {"width": width}, "input": {"size": [4, 12]}}
    backbone = create_backbone("digits/DigitNet", weights="none", registry=registry, **given)
    assert backbone.model.output_shape == (None, 1, 3, channels)


def test_only_the_input_and_the_dropouts_are_left_to_torso_to_name(registry: Registry) -> None:
    graph = create_backbone("digits/DigitNet", weights="none", registry=registry).graph
    unnamed = [node.name for node in graph if not node.name.startswith(("stem_", "stage"))]
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
