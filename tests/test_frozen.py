"""``freeze: all`` gives the same bits whatever is done to the model: in training, after it, saved, loaded and cloned."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, keras_own, settle

import torso

REGISTRY = torso.Registry.load(discover=False)
NAMES = torso.list_architectures(registry=REGISTRY)
SOME = (
    "EfficientNetB0",  # stochastic depth, Normalization
    "MobileNetV3Small",  # bare ops
    "ConvNeXtTiny",  # nested models, a layer that Keras does not export
)
Elsewhere = Callable[[Path, np.ndarray, np.ndarray, bool], dict[str, Any]]


def each_architecture() -> Iterator[Any]:
    """Some of them cut early, and every one whole; on images that are about as small as they can be."""
    for name in SOME:
        yield pytest.param(name, 32, {"truncate": {"level": "C2"}}, id=f"{name} to C2")
    for name in NAMES:
        yield pytest.param(name, 96, {}, id=name, marks=pytest.mark.slow)


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


SERVER = f"""
import gc, json, sys
sys.modules["torso"] = None
import keras, numpy as np

{inspect.getsource(train_head)}
for line in sys.stdin:
    path, eagerly = json.loads(line)
    pixels, expected = np.load(path + ".pixels.npy"), np.load(path + ".expected.npy")
    model = keras.models.load_model(path)
    same = lambda training: np.asarray(model(pixels, training=training)).tobytes() == expected.tobytes()
    told = {{"loaded": same(False), "in training": same(True)}}
    told |= {{"moved": train_head(model, pixels, eagerly), "after": same(True)}}
    print(json.dumps(told), flush=True)
    del model
    gc.collect()
"""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Has an interpreter without torso load a model, train a head on it, and tell whether its features are the expected."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout

    def ask(path: Path, pixels: np.ndarray, expected: np.ndarray, eagerly: bool) -> dict[str, Any]:
        assert process.stdin
        assert process.stdout
        np.save(f"{path}.pixels.npy", pixels)
        np.save(f"{path}.expected.npy", expected)
        process.stdin.write(json.dumps([str(path), eagerly]) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    with process:
        yield ask
        process.stdin.close()


def settled(name: str, pixels: np.ndarray, **spec: Any) -> torso.Backbone:
    """Frozen, with the statistics that these images have in it; to get them, normalisation must not be frozen."""
    loose = torso.create_backbone(name, weights="none", registry=REGISTRY, freeze="none", **spec).model
    settle(loose, pixels)
    weights = loose.get_weights()
    del loose
    frozen = torso.create_backbone(name, weights="none", registry=REGISTRY, **spec)
    set_weights(frozen.model, weights)
    return frozen


def set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # Keras computes with constants that it makes of the weights


def digests(model: keras.Model) -> list[str]:
    return [hashlib.sha256(np.asarray(weight).tobytes()).hexdigest() for weight in model.weights]


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


def test_there_are_forty_architectures() -> None:
    assert len(NAMES) == 40


def test_a_class_that_is_not_of_keras_is_found_where_it_is_nested() -> None:
    class Own(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.Sequential([keras.Input((4, 4, 3)), Own(), keras.layers.ReLU()])(inputs))
    assert foreign(model.get_config()) == ["Own"]


@pytest.mark.parametrize(("name", "side", "spec"), list(each_architecture()))
def test_what_is_frozen_gives_the_same_bits_in_training_after_it_elsewhere_and_as_a_clone(
    elsewhere: Elsewhere, tmp_path: Path, name: str, side: int, spec: dict[str, Any]
) -> None:
    pixels = images((side, side, 3))
    eagerly = not spec  # TensorFlow keeps what it has drawn of a model, with the weights: some of them are large
    backbone = settled(name, pixels, input={"size": [side, side]}, **spec)
    model = backbone.model
    expected, weights = np.asarray(model(pixels, training=False)), digests(model)

    def require_same(of: keras.Model) -> None:
        assert_same_and_meaningful(of(pixels, training=True), expected)
        assert digests(of) == weights

    require_same(model)
    assert train_head(model, pixels, eagerly)
    require_same(model)

    assert type(model) is type(keras.Model(model.input, model.output))
    path = backbone.save(tmp_path / "saved") / "model.keras"
    with ZipFile(path) as archive:
        assert foreign(json.loads(archive.read("config.json"))) == []
    assert elsewhere(path, pixels, expected, eagerly) == {
        "loaded": True,
        "in training": True,
        "moved": True,
        "after": True,
    }
    path.unlink()

    clone = keras.models.clone_model(model)
    set_weights(clone, model.get_weights())
    require_same(clone)
    assert train_head(clone, pixels, eagerly)
    require_same(clone)


def test_what_keras_calls_not_trainable_gives_other_features_in_training() -> None:
    """The reason for all this: 15 of the 40 drop paths all the same."""
    model = keras_own("EfficientNetB0", 32)
    model.trainable = False
    pixels = images((32, 32, 3))
    quiet, training = (np.asarray(model(pixels, training=training)) for training in (False, True))
    assert np.isfinite(quiet).all()
    assert np.abs(quiet - training).max() > 0.1 * np.abs(quiet).max()
