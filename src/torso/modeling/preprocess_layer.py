"""The Keras layer that turns pixels into what a network expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from torso.contracts.preprocessing import Preprocessing
from torso.modeling.input_checks import with_input_checks


def preprocessing_layer(numbers: Preprocessing, channels: int = 3, *, name: str = "preprocess") -> keras.Model:
    """A functional model without weights, from RGB pixels of 0 to 255 to what the weights expect.

    It takes ``(N, H, W, channels)`` of any dtype and returns float32 of the same shape. It never writes to its input.
    """
    pixels = keras.Input((None, None, channels), name="pixels", dtype="float32")  # and not the type of a global policy
    values = pixels
    # The operations and their order are those of the code that the weights were published with: so the bits are the same.
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
    """The preprocessing layer of a backbone; it changes nothing where the model itself takes pixels."""
    numbers = manifest["preprocessing"]
    channels = manifest["plan"]["input_shape"][2]
    recipe = Preprocessing(**{**numbers, "mean": tuple(numbers["mean"]), "std": tuple(numbers["std"])})
    needed = Preprocessing() if manifest["preprocessing_included"] else recipe
    name = f"{manifest['name']}_preprocess"  # one model may hold those of two backbones
    return with_input_checks(preprocessing_layer(needed, channels, name=name), channels)
