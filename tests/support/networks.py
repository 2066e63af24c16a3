"""Networks small enough to see through, and helpers that make every comparison mean something."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np


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


def images(shape: tuple[int, int, int], count: int = 2, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, *shape)).astype("float32")


def assert_same_and_meaningful(actual: object, expected: object) -> None:
    """Equal to the last bit, finite, and not one constant: an equality of nothing proves nothing."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert np.isfinite(expected).all()
    assert expected.std() > 1e-6
    np.testing.assert_array_equal(actual, expected)
