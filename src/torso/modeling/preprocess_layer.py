"""The Keras layer that turns pixels into what a network expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from torso.contracts.preprocessing import Preprocessing
from torso.modeling.input_checks import watch


def preprocessing_layer(numbers: Preprocessing, channels: int = 3, *, name: str = "preprocess") -> keras.Model:
    """A pure layer from RGB pixels of 0 to 255 to what the weights expect.

    It holds the same operations in the same order as the code that the weights were published with, so that its result is
    the same to the last bit, and it never writes to its input.

    Args:
        numbers: What is to be computed; its mean and std have one value, or one for each channel.
        channels: Size of the last axis.
        name: What the layer is called.

    Returns:
        A functional model without weights: ``(N, H, W, channels)`` of any dtype to float32 of the same shape.
    """
    pixels = keras.Input((None, None, channels), name="pixels", dtype="float32")  # whatever the global types are
    values = pixels
    if numbers.order == "BGR":
        values = keras.ops.flip(values, axis=-1)
    if numbers.divide != 1.0:
        values = keras.ops.divide(values, numbers.divide)
    if numbers.mean:
        values = keras.ops.subtract(values, np.array(numbers.mean, "float32"))
    if numbers.std:
        values = keras.ops.divide(values, np.array(numbers.std, "float32"))
    if values is pixels:
        values = keras.layers.Identity(name="identity", dtype="float32")(pixels)
    return keras.Model(pixels, values, name=name)


def preprocessing_from(manifest: Mapping[str, Any]) -> keras.Model:
    """The layer that belongs to a backbone: one that changes nothing where the model itself takes pixels."""
    numbers = manifest["preprocessing"]
    channels = manifest["plan"]["input_shape"][2]
    recipe = Preprocessing(**{**numbers, "mean": tuple(numbers["mean"]), "std": tuple(numbers["std"])})
    needed = Preprocessing() if manifest["preprocessing_included"] else recipe
    name = f"{manifest['name']}_preprocess"  # those of two backbones may come to stand in one model
    return watch(preprocessing_layer(needed, channels, name=name), channels)
