from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest

from torso.builtins.keras_applications import torso_architectures
from torso.keras_bridge.preprocess import preprocessing_layer
from torso.preprocessing import Preprocessing

CARDS = {card.name: card for card in torso_architectures()}


@pytest.mark.parametrize("name", CARDS)
def test_preprocessing_layer_is_that_of_keras_to_the_last_bit(name: str) -> None:
    module = importlib.import_module(f"keras.applications.{getattr(keras.applications, name).__module__.split('.')[-1]}")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 9, 7, 3)).astype("float32")
    given = pixels.copy()
    ours = preprocessing_layer(CARDS[name].preprocessing)(given)
    np.testing.assert_array_equal(ours, module.preprocess_input(pixels.copy()))
    np.testing.assert_array_equal(given, pixels)  # Keras' own writes into its argument


@pytest.mark.parametrize("name", ["VGG16", "DenseNet121", "MobileNetV2", "EfficientNetB0"])
def test_preprocessing_layer_takes_bytes_for_what_they_are(name: str) -> None:
    layer = preprocessing_layer(CARDS[name].preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype="uint8")
    np.testing.assert_array_equal(layer(pixels), layer(pixels.astype("float32")))


def test_preprocessing_layer_has_nothing_to_train_or_to_save() -> None:
    layer = preprocessing_layer(CARDS["ResNet50"].preprocessing)
    assert layer.weights == []
    assert layer.output_shape == (None, None, None, 3)


def test_preprocessing_layer_for_one_channel() -> None:
    layer = preprocessing_layer(Preprocessing(divide=255.0, mean=(0.5,)), channels=1)
    np.testing.assert_array_equal(layer(np.full((1, 2, 2, 1), 255, "uint8")), np.full((1, 2, 2, 1), 0.5, "float32"))
