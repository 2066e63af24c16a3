"""``freeze: all`` gives the same bits whatever is done to the model: in training, after it, saved, loaded and cloned."""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from fresh import Fresh
from graphs import ARCHITECTURES, registry
from networks import assert_same_and_meaningful, images, keras_own

import torso
from torso.modeling.variable_paths import leaves

# stochastic depth and Normalization; nested models and a layer that Keras does not export
SOME = ("EfficientNetB0", "ConvNeXtTiny")
CLONED = 60_000_000  # parameters: a clone draws all of them; larger networks have the layers of smaller ones


def each_architecture() -> Iterator[Any]:
    """Some of them cut early, and every one whole; on images that are about as small as they can be."""
    for name in SOME:
        yield pytest.param(name, 32, {"truncate": {"level": "C2"}}, id=f"{name} to C2")
    for name in ARCHITECTURES:
        side = 75 if "ception" in name else 64  # the least size of some; two by two positions are left at the end
        yield pytest.param(name, side, {}, id=name, marks=pytest.mark.slow)


def train_head(model: keras.Model, pixels: np.ndarray, eagerly: bool) -> bool:
    """Two steps with a head on top, at a rate that moves whatever can move; whether all of the head has moved."""
    inputs = keras.Input(model.input_shape[1:])
    head = keras.layers.Dense(2, bias_initializer="ones")
    whole = keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(model(inputs))))
    before = head.get_weights()
    whole.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=eagerly)
    whole.fit(pixels, -np.eye(2), batch_size=1, verbose=0)
    assert all(np.isfinite(weight).all() for weight in head.get_weights())
    return all((old != new).any() for old, new in zip(before, head.get_weights(), strict=True))


ELSEWHERE = f"""
import json, sys
import keras, numpy as np

{inspect.getsource(train_head)}
path, eagerly = sys.argv[1], bool(int(sys.argv[2]))
pixels, expected = np.load("pixels.npy"), np.load("expected.npy")
model = keras.models.load_model(path)
same = lambda training: np.asarray(model(pixels, training=training)).tobytes() == expected.tobytes()
found = {{"loaded": same(False), "in training": same(True)}}
found |= {{"moved": train_head(model, pixels, eagerly), "after": same(True)}}
print(json.dumps(found))
"""


def settle(model: keras.Model, pixels: np.ndarray) -> None:
    """Random values, all from one block, for to draw them takes longest; and the statistics that these images have."""
    block = np.random.default_rng(0).standard_normal(1_000_003, dtype="float32")  # a prime: no two kernels are alike
    for weight in model.weights:
        values = np.resize(block, weight.shape)
        many = len(weight.shape) > 1
        weight.assign(values * np.sqrt(2 / np.prod(weight.shape[:-1])) if many else 1 + np.clip(values, -2, 2) / 4)
    finalize(model)
    norms = [layer for _, layer in leaves(model) if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = [layer.momentum for layer in norms]
    for layer in norms:
        layer.trainable, layer.momentum = True, 0.0
    model(pixels, training=True)
    for layer, value in zip(norms, momentum, strict=True):
        layer.trainable, layer.momentum = False, value


def finalize(model: keras.Model) -> None:
    for _, layer in leaves(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # Keras computes with constants that it makes of the weights


def checksums(model: keras.Model) -> list[int]:
    return [zlib.crc32(np.ascontiguousarray(weight).view("uint8")) for weight in map(np.asarray, model.weights)]


def foreign(config: Any) -> list[str]:
    """The classes in a configuration that are not of Keras."""
    if isinstance(config, list):
        return [name for item in config for name in foreign(item)]
    if not isinstance(config, dict):
        return []
    found = foreign(list(config.values()))
    if "class_name" in config:
        ours = str(config.get("module", "keras")).split(".")[0] == "keras" and ">" not in str(config.get("registered_name"))
        found += [] if ours else [str(config["class_name"])]
    return found


def test_a_class_that_is_not_of_keras_is_found_where_it_is_nested() -> None:
    class Own(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.Sequential([keras.Input((4, 4, 3)), Own(), keras.layers.ReLU()])(inputs))
    assert foreign(model.get_config()) == ["Own"]


@pytest.mark.parametrize(("name", "side", "spec"), list(each_architecture()))
def test_what_is_frozen_gives_the_same_bits_in_training_elsewhere_and_as_a_clone(
    plain_keras: Fresh, tmp_path: Path, name: str, side: int, spec: dict[str, Any]
) -> None:
    pixels = images((side, side, 3))
    eagerly = not spec  # TensorFlow keeps what it has drawn of a model, with the weights: some of them are large
    backbone = torso.create_backbone(name, weights="none", registry=registry(), input={"size": [side, side]}, **spec)
    model = backbone.model
    settle(model, pixels)
    expected, weights = np.asarray(model(pixels, training=False)), checksums(model)
    assert_same_and_meaningful(model(pixels, training=True), expected)
    assert train_head(model, pixels, eagerly)
    assert_same_and_meaningful(model(pixels, training=True), expected)
    assert checksums(model) == weights

    assert type(model) is type(keras.Model(model.input, model.output))
    path = backbone.save(tmp_path / "saved") / "model.keras"
    with ZipFile(path) as archive:
        assert foreign(json.loads(archive.read("config.json"))) == []
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "expected.npy", expected)
    found = json.loads(plain_keras(ELSEWHERE, path, int(eagerly), cwd=tmp_path).stdout)
    assert found == dict.fromkeys(["loaded", "in training", "moved", "after"], True)
    path.unlink()

    if model.count_params() < CLONED:
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        finalize(clone)
        assert clone.trainable_variables == []
        assert_same_and_meaningful(clone(pixels, training=True), expected)
        assert eagerly or train_head(clone, pixels, eagerly)
        assert_same_and_meaningful(clone(pixels, training=True), expected)
        assert checksums(clone) == weights


def test_what_keras_calls_not_trainable_gives_other_features_in_training() -> None:
    """The reason for all this: 15 of the 40 drop paths all the same."""
    model = keras_own("EfficientNetB0", 32)
    model.trainable = False
    pixels = images((32, 32, 3))
    quiet, training = (np.asarray(model(pixels, training=training)) for training in (False, True))
    assert np.isfinite(quiet).all()
    assert np.abs(quiet - training).max() > 0.1 * np.abs(quiet).max()
