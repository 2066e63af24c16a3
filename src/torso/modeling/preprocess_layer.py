"""The Keras layer that turns pixels into what a network expects."""

import keras
import numpy as np

from torso.contracts.preprocessing import Preprocessing
from torso.modeling.input_checks import with_input_checks


def preprocessing_layer(numbers: Preprocessing, channels: int = 3, *, name: str = "preprocess") -> keras.Model:
    """A functional model without weights, from RGB pixels of 0 to 255 to what the weights expect: float32, in one shape."""
    values = pixels = keras.Input((None, None, channels), name="pixels", dtype="float32")  # whatever the global policy
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


def preprocessing_from(numbers: Preprocessing, channels: int, backbone: str, *, included: bool) -> keras.Model:
    """The preprocessing layer of a backbone; it changes nothing where the model itself takes pixels."""
    name = f"{backbone}_preprocess"  # one model may hold those of two backbones
    return with_input_checks(preprocessing_layer(Preprocessing() if included else numbers, channels, name=name), channels)
