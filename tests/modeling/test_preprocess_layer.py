"""The layer from pixels to what weights expect: what Keras' own ``preprocess_input`` gives, to the last bit."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_same_and_meaningful

import torso
from torso.builtins.keras_applications import torso_architectures
from torso.contracts.preprocessing import Preprocessing
from torso.modeling.preprocess_layer import preprocessing_from, preprocessing_layer

CARDS = {card.name: card for card in torso_architectures()}
KINDS = {"caffe": "VGG16", "torch": "DenseNet121", "tf": "MobileNetV2", "built in": "EfficientNetB0"}
each_kind = pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)


def keras_own(name: str) -> Callable[[Any], Any]:
    """What Keras does to pixels for an architecture; it writes into float arrays."""
    module = importlib.import_module(f"keras.applications.{getattr(keras.applications, name).__module__.split('.')[-1]}")
    own: Callable[[Any], Any] = module.preprocess_input
    return own


def layer_of(name: str) -> keras.Model:
    return preprocessing_layer(CARDS[name].preprocessing)


def watched(name: str, backbone: str = "edge", *, included: bool = False) -> keras.Model:
    """The layer as a backbone has it."""
    return preprocessing_from(CARDS[name].preprocessing, 3, backbone, included=included)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


# What it computes.


@pytest.mark.parametrize("name", CARDS)
def test_preprocessing_layer_is_that_of_keras_to_the_last_bit(name: str) -> None:
    layer, byte = layer_of(name), np.arange(256, dtype="uint8")
    every = np.stack([byte, byte[::-1], byte // 2], -1)[None, :, None]
    for given in every, *(pixels(*shape) for shape in ((2, 9, 7, 3), (1, 1, 1, 3), (1, 33, 2, 3), (3, 224, 5, 3))):
        before = given.copy()
        ours = layer(given)
        assert ours.dtype == "float32"
        np.testing.assert_array_equal(ours, keras_own(name)(given.astype("float32")))
        np.testing.assert_array_equal(given, before)


DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "bool", "float16", "float64", ml_dtypes.bfloat16]


@each_kind
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pixels_of_any_type_are_float32_first(name: str, dtype: Any) -> None:
    given = (pixels(2, 9, 7, 3) / 2.01).astype(dtype) if dtype != "bool" else pixels(2, 9, 7, 3) > 99
    if given.dtype == "float64":
        given += 1e-9  # what float32 does not hold is rounded before anything is computed, not after
    for wrap in np.asarray, tf.constant:
        assert_same_and_meaningful(layer_of(name)(wrap(given)), keras_own(name)(given.astype("float32")))


@each_kind
def test_preprocessing_layer_computes_what_keras_computes_in_a_graph_or_dataset(name: str) -> None:
    given = pixels(6, 9, 7, 3)  # TensorFlow may multiply by the inverse of a constant there, for both
    assert_same_and_meaningful(tf.function(layer_of(name))(given), tf.function(keras_own(name))(tf.constant(given)))
    for layer in layer_of(name), watched(name):
        dataset = tf.data.Dataset.from_tensor_slices(given).batch(3).map(layer)
        assert_same_and_meaningful(np.concatenate(list(dataset)), layer_of(name)(given))


# Whatever the world around it.


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    read, write = getattr(keras.config, name), getattr(keras.config, f"set_{name}")
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


SETTINGS = [
    ("dtype_policy", "mixed_float16"),
    ("dtype_policy", "float64"),
    ("floatx", "float64"),
    ("image_data_format", "channels_first"),
]


@pytest.mark.parametrize(("option", "value"), SETTINGS)
def test_settings_of_keras_change_nothing(option: str, value: str) -> None:
    given = pixels(2, 9, 7, 3)
    for name in KINDS.values():
        expected, before = layer_of(name)(given), layer_of(name)
        with setting(option, value):
            for layer in before, layer_of(name), watched(name):
                assert_same_and_meaningful(layer(given), expected)
                assert_same_and_meaningful(layer(given.astype("uint8")), layer(np.floor(given)))


# Other channels.


@pytest.mark.parametrize("channels", [1, 4, 13])
@pytest.mark.parametrize("name", ["VGG16", "DenseNet121", "MobileNetV2"])
def test_pixels_of_other_channels_have_numbers_of_their_own(name: str, channels: int) -> None:
    spec = {"channels": channels, "adapt": "mean" if channels != 4 else "zero_extra"}
    numbers = torso.plan(name, input=spec, registry=torso.Registry.load(discover=False)).preprocessing
    given = pixels(2, 9, 7, channels)
    values = given[..., ::-1] if numbers.order == "BGR" else given
    values = values / np.float32(numbers.divide)
    if numbers.mean:
        values = values - np.float32(numbers.mean)
    if numbers.std:
        values = values / np.float32(numbers.std)
    assert numbers != Preprocessing()
    assert_same_and_meaningful(preprocessing_layer(numbers, channels)(given), values)


# Never in place.

GIVEN: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda values: values,
    "read-only array": lambda values: np.frombuffer(values.tobytes(), "float32").reshape(values.shape),
    "part of an array": lambda values: np.repeat(values, 2, 1)[:, ::2],
    "turned array": lambda values: values[:, ::-1],
    "array of columns": np.asfortranarray,
    "tensor": tf.constant,
    "variable": tf.Variable,
    "variable of Keras": keras.Variable,
}


@each_kind
def test_preprocessing_leaves_what_it_is_given_and_does_not_follow_it(name: str) -> None:
    for wrap in GIVEN.values():
        given = wrap(pixels(2, 9, 7, 3))
        before = np.array(given)
        values = watched(name)(given)
        np.testing.assert_array_equal(np.array(given), before)
        if isinstance(given, np.ndarray) and given.flags.writeable:
            given[:] = 7
        assert_same_and_meaningful(values, keras_own(name)(before))


# As a layer.


@each_kind
def test_a_saved_layer_is_read_by_plain_keras_and_computes_the_same(name: str, tmp_path: Path) -> None:
    given = pixels(2, 9, 7, 3)
    layer = watched(name)
    layer.save(tmp_path / "layer.keras")
    again = keras.models.load_model(tmp_path / "layer.keras", compile=False)
    assert type(again) is type(layer)
    assert again.weights == []
    assert "torso" not in str(again.get_config())
    assert_same_and_meaningful(again(given), layer(given))


@each_kind
def test_preprocessing_layer_stands_in_models(name: str) -> None:
    given = pixels(2, 9, 7, 3)
    expected = np.asarray(layer_of(name)(given))
    inputs = keras.Input((9, 7, 3), dtype="uint8")
    functional = keras.Model(inputs, keras.layers.Flatten()(watched(name)(inputs)))
    assert_same_and_meaningful(functional(np.floor(given)), np.asarray(layer_of(name)(np.floor(given))).reshape(2, -1))
    sequential = keras.Sequential([watched(name), keras.layers.Flatten()])
    assert_same_and_meaningful(sequential(given), expected.reshape(2, -1))
    np.testing.assert_allclose(sequential.predict(given, verbose=0), expected.reshape(2, -1), rtol=1e-6, atol=1e-6)


def test_the_layers_of_two_backbones_stand_in_one_model() -> None:
    inputs = keras.Input((9, 7, 3))
    both = keras.Model(inputs, [watched("VGG16", "left")(inputs), watched("MobileNetV2", "right")(inputs)])
    assert [layer.name for layer in both.layers[1:]] == ["left_preprocess", "right_preprocess"]
    given = pixels(2, 9, 7, 3)
    for ours, name in zip(both(given), ("VGG16", "MobileNetV2"), strict=True):
        assert_same_and_meaningful(ours, keras_own(name)(given.copy()))


@each_kind
def test_where_the_model_takes_pixels_the_layer_leaves_them_and_looks(name: str) -> None:
    layer = watched(name, included=True)
    given = pixels(2, 9, 7, 3)
    assert_same_and_meaningful(layer(given.astype("uint8")), np.floor(given))
    assert layer.output_shape == (None, None, None, 3)
    with pytest.warns(torso.PixelWarning, match="they look scaled to 0 to 1 already"):
        assert_same_and_meaningful(watched(name, included=True)(given / 255), given / np.float32(255))
