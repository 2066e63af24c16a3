"""Networks small enough to see through, and helpers that make every comparison mean something."""

from __future__ import annotations

import logging
import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py
import keras
import numpy as np

from torso.modeling.keras_private import in_fresh_thread, without_weights
from torso.modeling.truncate import derive
from torso.modeling.variable_paths import leaves, variables_by_path


@cache
def _noise(seed: int) -> np.ndarray:
    """Numbers for all weights, for to draw them takes longest; a prime of them."""
    return np.random.default_rng(seed).standard_normal(1_000_003, dtype="float32")


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a value that its initialiser would not: statistics of normalisation too."""
    for position, weight in enumerate(model.weights):
        values = np.resize(_noise(seed)[7919 * position % 900_001 :], weight.shape)
        if len(weight.shape) > 1:  # kernels: keep the scale of the activations
            weight.assign(values * np.sqrt(2 / np.prod(weight.shape[:-1])))
        elif weight.dtype.startswith("float"):
            weight.assign(1 + np.clip(values, -2, 2) / 4)
    derive(model)


def settle(model: keras.Model, pixels: np.ndarray) -> None:
    """Random values, and for the normalisations the statistics that these images have where they stand.

    With statistics at random, what the image brings dies out behind the normalisations: the end of a MobileNet is the same
    for any two images.
    """
    randomize(model)
    changed: list[tuple[keras.Layer, str, Any]] = []
    for _, layer in leaves(model):
        norm, drop = (isinstance(layer, kind) for kind in (keras.layers.BatchNormalization, keras.layers.Dropout))
        quiet = [("momentum", 0.0), ("trainable", True)] if norm else [("rate", 0.0)] if drop else []
        for attribute, value in quiet:  # the statistics of this batch alone, in what is frozen too; nothing dropped
            if getattr(layer, attribute) != value:
                changed.append((layer, attribute, getattr(layer, attribute)))
                setattr(layer, attribute, value)
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


def moved_by(model: keras.Model, steps: int = 1, *, eagerly: bool = True) -> set[str]:
    """The weights with other bits after some steps with a head on top, at a rate that moves whatever can move."""
    weights = {id(weight) for weight in model.weights}  # the states of random generators are none
    variables = {path: one for path, one in variables_by_path(model).items() if id(one) in weights}
    before = {path: np.array(variable) for path, variable in variables.items()}
    inputs = keras.Input(model.input_shape[1:])
    features = [keras.layers.Flatten()(feature) for feature in keras.tree.flatten(model(inputs))]
    joined = keras.layers.Concatenate()(features) if len(features) > 1 else features[0]
    full = keras.Model(inputs, keras.layers.Dense(1)(joined))
    full.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=eagerly)  # to draw the graph would take most of the time
    full.fit(images(model.input_shape[1:], count=4 * steps) / 255, np.arange(4.0 * steps), batch_size=4, verbose=0)
    assert all(np.isfinite(variable).all() for variable in variables.values())
    return {path for path, variable in variables.items() if (np.array(variable) != before[path]).any()}


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
