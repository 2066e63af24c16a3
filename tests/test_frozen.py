"""``freeze: all`` gives the same bits whatever is done to the model: in training, after it, saved, loaded and cloned."""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from fresh import Fresh
from graphs import ARCHITECTURES, registry
from networks import assert_same_and_meaningful, images, settle

import torso
from torso.modeling.truncate import derive

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


def checksums(model: keras.Model) -> list[int]:
    return [zlib.crc32(np.ascontiguousarray(weight).view("uint8")) for weight in map(np.asarray, model.weights)]


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
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "expected.npy", expected)
    found = json.loads(plain_keras(ELSEWHERE, path, int(eagerly), cwd=tmp_path).stdout)
    assert found == dict.fromkeys(["loaded", "in training", "moved", "after"], True)
    path.unlink()

    if model.count_params() < CLONED:
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        derive(clone)  # Keras computes with constants that it makes of the weights
        assert clone.trainable_variables == []
        assert_same_and_meaningful(clone(pixels, training=True), expected)
        assert eagerly or train_head(clone, pixels, eagerly)
        assert_same_and_meaningful(clone(pixels, training=True), expected)
        assert checksums(clone) == weights
