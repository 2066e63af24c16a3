"""The network itself. torso imports this module when a model is to be built, so it may import Keras."""

from __future__ import annotations

import keras

BLOCKS = (1, 1, 2)
"""How many residual blocks each stage has."""

DROPOUT = 0.05


def build(*, input_shape: tuple[int, int, int], filters: tuple[int, ...], width: float) -> keras.Model:
    """Build the headless network with random values.

    Args:
        input_shape: Height and width in pixels, multiples of 4, and number of channels.
        filters: Channels of each stage; the first stage keeps the resolution, and every other one halves it.
        width: The option that ``filters`` were made from; nothing is left to do with it here.

    Returns:
        Functional model from images ``(N, H, W, C)`` to features ``(N, H/4, W/4, filters[-1])`` for three stages.
    """
    images = keras.Input(input_shape)
    x = _convolution(images, filters[0], name="stem")
    x = keras.layers.ReLU(name="stem_out")(x)
    for stage, (channels, blocks) in enumerate(zip(filters, BLOCKS, strict=True), start=1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(x, channels, strides=strides, name=f"stage{stage}_block{block}")
    return keras.Model(images, x, name="digitnet")


def build_head(features: tuple[int, ...]) -> keras.Model:
    """Build the classifier that the network was trained with.

    Args:
        features: Shape of the features, ``(H, W, C)``.

    Returns:
        Model from features ``(N, H, W, C)`` to one score (logit) for each of the ten digits, ``(N, 10)``.
    """
    return keras.Sequential([keras.Input(features), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])


def _residual_block(x: keras.KerasTensor, channels: int, *, strides: int, name: str) -> keras.KerasTensor:
    shortcut = x
    if strides > 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, size=1, strides=strides, name=f"{name}_0")
    x = _convolution(x, channels, strides=strides, name=f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = keras.layers.SpatialDropout2D(DROPOUT)(x)  # unnamed: torso gives such a layer the same name in every build
    x = _convolution(x, channels, name=f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _convolution(x: keras.KerasTensor, channels: int, *, size: int = 3, strides: int = 1, name: str) -> keras.KerasTensor:
    x = keras.layers.Conv2D(channels, size, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return keras.layers.BatchNormalization(name=f"{name}_bn")(x)
