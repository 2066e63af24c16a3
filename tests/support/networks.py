"""Networks small enough to see through, and helpers that make every comparison mean something."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py
import keras
import numpy as np

from torso.modeling.keras_private import in_fresh_thread, without_weights


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a value that its initialiser would not: statistics of normalisation too."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) > 1:  # kernels: keep the scale of the activations
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(generator.normal(0, np.sqrt(2 / fan_in), weight.shape))
        elif weight.dtype.startswith("float"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def settle(model: keras.Model, pixels: np.ndarray) -> None:
    """Random values, and for the normalisations the statistics that these images have where they stand.

    With statistics at random, what the image brings dies out behind the normalisations: the end of a MobileNet is the same
    for any two images.
    """
    randomize(model)
    changed: list[tuple[keras.Layer, str, float]] = []
    for layer in model.layers:
        for kind, attribute in ((keras.layers.BatchNormalization, "momentum"), (keras.layers.Dropout, "rate")):
            if isinstance(layer, kind):
                changed.append((layer, attribute, getattr(layer, attribute)))
                setattr(layer, attribute, 0.0)  # the statistics of this batch alone; nothing dropped
    model(pixels, training=True)
    for layer, attribute, value in changed:
        setattr(layer, attribute, value)


def images(shape: tuple[int, int, int], count: int = 2, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, *shape)).astype("float32")


def assert_same_and_meaningful(actual: object, expected: object) -> None:
    """Equal to the last bit, finite, not one constant, and not the same for all images: else it would prove nothing."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert np.isfinite(expected).all()
    assert expected.astype("float64").std() > 1e-6  # float16 overflows at 65,504
    assert (expected[0] != expected[-1]).any()
    np.testing.assert_array_equal(actual, expected)


def keras_own(name: str, size: int) -> keras.Model:
    """A headless network as Keras builds it for its published weights, with values of our own."""
    tag = "imagenet" if name.startswith("EfficientNetB") else None  # the others' graph is the same without

    def draw() -> keras.Model:
        with without_weights():
            return getattr(keras.applications, name)(weights=tag, include_top=False, input_shape=(size, size, 3))

    model = in_fresh_thread(draw)  # with the names that Keras gives where nothing was built before
    settle(model, images((size, size, 3)))
    return model


def save_listed(model: keras.Model, path: Path) -> None:
    """Write weights in the older format, as Keras' published files are: written by Keras, moved to the root by h5py."""
    whole = path.with_name("whole.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # "this format is considered legacy"
        model.save(whole)
        logging.disable(logging.NOTSET)
    with h5py.File(whole) as source, h5py.File(path, "w") as target:
        group = source["model_weights"]
        for name in group:
            group.copy(name, target)
        for name, value in group.attrs.items():
            target.attrs[name] = value
    whole.unlink()
