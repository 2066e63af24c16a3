"""What weights files hold is what h5py says of them, for files that Keras wrote and for any that it could write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from networks import randomize, save_listed

from torso.errors import IntegrityError
from torso.weights_files import open_weights


@pytest.fixture
def model() -> keras.Model:
    """Nested models, composite layers, statistics, a random generator."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Normalization(name="norm")(inputs)
    stem = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()], name="stem"
    )
    x = keras.layers.Dropout(0.5, name="drop")(stem(x))
    x = keras.layers.Reshape((36, 4), name="flat")(x)
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(inputs, keras.layers.Dense(5, name="end")(x))
    randomize(model)
    return model


def by_h5py(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_holds(arrays: Any, expected: dict[str, np.ndarray]) -> None:
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        assert (array.shape, array.dtype) == (expected[name].shape, expected[name].dtype.newbyteorder("="))
        value = array.read()
        assert value.flags["C_CONTIGUOUS"]
        assert value.dtype == array.dtype
        np.testing.assert_array_equal(value, expected[name])


def test_the_format_of_keras_3(model, tmp_path):
    model.save_weights(tmp_path / "w.weights.h5")
    expected = {name: value for name, value in by_h5py(tmp_path / "w.weights.h5").items() if "seed_generator" not in name}
    assert len(expected) == len(model.weights)
    with open_weights(tmp_path / "w.weights.h5") as stored:
        assert stored.layers is None
        assert_holds(stored.arrays, expected)


def test_a_keras_archive_holds_the_same(model, tmp_path):
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "w.keras")
    with ZipFile(tmp_path / "w.keras") as old, ZipFile(tmp_path / "deflated.keras", "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    for name in ("w.keras", "deflated.keras"):
        with open_weights(tmp_path / name) as stored, open_weights(tmp_path / "w.weights.h5") as plain:
            assert_holds(stored.arrays, {name: array.read() for name, array in plain.arrays.items()})


@pytest.mark.parametrize("whole", [False, True], ids=["weights alone", "a whole model"])
def test_the_older_format_is_a_list_of_layers_in_order(model, tmp_path, whole):
    path = tmp_path / "w.h5"
    if whole:
        model.compile("adam", "mse")
        model.train_on_batch(np.zeros((1, 8, 8, 3)), np.zeros((1, 36, 5)))  # for the weights of an optimizer
        model.save(path)
    else:
        save_listed(model, path)
    with open_weights(path) as stored:
        assert stored.arrays == {}
        assert [layer.name for layer in stored.layers or ()] == [layer.name for layer in model.layers]
        for layer, ours in zip(stored.layers or (), model.layers, strict=True):
            weights = [*ours.trainable_weights, *ours.non_trainable_weights]
            assert [array.shape for array in layer.arrays] == [tuple(weight.shape) for weight in weights]
            for array, weight in zip(layer.arrays, weights, strict=True):
                np.testing.assert_array_equal(array.read(), weight)
                assert array.name.startswith(layer.name)


KINDS = st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i8", "|u1", "|b1"])
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("ab_/0", min_size=1, max_size=9), st.tuples(KINDS, SHAPES, st.integers(0, 3)), max_size=8))
def test_any_numbers_are_read_as_h5py_reads_them(tmp_path, content):
    path, random = tmp_path / "any.weights.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number, (name, (kind, shape, way)) in enumerate(content.items()):
            values = random.integers(0, 100, shape).astype(kind)
            chunked: dict[str, Any] = {"chunks": True} if way and values.size and shape else {}
            packed: dict[str, Any] = {"compression": "gzip", "shuffle": True} if way == 2 and chunked else {}
            checked: dict[str, Any] = {"fletcher32": True} if way == 3 and chunked else {}
            file.create_dataset(f"{number}/{name.strip('/') or 'x'}", data=values, **chunked, **packed, **checked)
    expected = by_h5py(path)
    with open_weights(path) as stored:
        assert_holds(stored.arrays, expected)


def test_a_file_that_is_open_elsewhere_is_read_and_other_errors_are_not_blamed_on_it(model, tmp_path):
    model.save_weights(tmp_path / "w.weights.h5")
    path = tmp_path / "w.weights.h5"
    with h5py.File(path), pytest.raises(KeyError, match=str(len(model.weights))), open_weights(path) as stored:
        raise KeyError(len(stored.arrays))


def test_a_file_is_opened_where_its_hash_is_right_and_read_through_that_same_open_file(tmp_path):
    path, other = tmp_path / "w.weights.h5", tmp_path / "other.weights.h5"
    for place, value in ((path, "ones"), (other, "zeros")):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer=value)]).save_weights(place)
    for algorithm in ("sha256", "md5"):
        promised = hashlib.new(algorithm, path.read_bytes()).hexdigest()
        with open_weights(path, {algorithm: promised.upper()}) as stored:
            assert len(stored.arrays) == 2
        wrong = ("0" if promised[0] != "0" else "1") + promised[1:]
        with pytest.raises(IntegrityError) as caught, open_weights(path, {algorithm: wrong}):
            pass
        assert str(caught.value) == (
            f"the weights file '{path}' does not have the expected hash\n"
            f"  {algorithm} expected: {wrong}\n  {algorithm} found: {promised}"
        )
    with open_weights(path) as stored:
        os.replace(other, path)
        assert {float(array.read().max()) for name, array in stored.arrays.items() if name.endswith("/0")} == {1.0}


def test_a_file_that_is_written_to_while_it_is_read_is_refused(model, tmp_path):
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    os.utime(path, (1, 1))
    with pytest.raises(IntegrityError, match="was changed while it was read"), open_weights(path):
        path.write_bytes(path.read_bytes())
