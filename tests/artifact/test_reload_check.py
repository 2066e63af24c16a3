"""Nothing is published that plain Keras does not read back from disk as what was built."""

from __future__ import annotations

import errno
import os

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, settle

import torso


@pytest.fixture
def backbone(registry):
    made = torso.create_backbone("TinyNet", weights="none", registry=registry)
    settle(made.model, images((8, 8, 3)))
    return made


def spoil(monkeypatch, change):
    """Have Keras write another model than the one that it is told to."""
    write = keras.Model.save

    def other(model, path):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        changed = change(copy)
        write(changed if isinstance(changed, keras.Model) else copy, path)

    monkeypatch.setattr(keras.Model, "save", other)


def add_to_last_bias(model):
    bias = model.get_layer("right").bias
    bias.assign(bias + np.float32([0, 0, 0, 1e-6]))


def turn_dropout_on(model):
    model.get_layer("drop").rate = 0.5


def double(model):
    return keras.Model(model.input, model.output * 2, name=model.name)


def give_two(model):
    return keras.Model(model.input, [model.output, model.output * 2], name=model.name)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (add_to_last_bias, "its weights are not those of the model"),
        (turn_dropout_on, "it is frozen, but gives different features in training"),
        (double, "its feature 'drop' is off by 1.0e+00 of its largest value"),
        (give_two, "ValueError: zip() argument 2 is longer than argument 1"),
    ],
)
def test_a_model_that_reads_back_otherwise_is_not_published(backbone, tmp_path, monkeypatch, change, cause):
    before = backbone.save(tmp_path / "edge")
    old = {path.name: path.read_bytes() for path in before.iterdir()}
    spoil(monkeypatch, change)
    with pytest.raises(torso.IntegrityError) as caught:
        backbone.save(tmp_path / "edge", force=True)
    fact, *notes = str(caught.value).split("\n")
    assert fact == "model.keras, read back from disk by plain Keras, is not the model that was saved"
    assert notes[0] == f"  cause: {cause}"
    assert {path.name: path.read_bytes() for path in before.iterdir()} == old
    assert [path.name for path in tmp_path.iterdir()] == ["edge"]


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (ValueError("no such kernel\nand more"), torso.IntegrityError, "cause: ValueError: no such kernel\n"),
        (OSError("h5py has no number"), torso.IntegrityError, "cause: OSError: h5py has no number\n"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), torso.DiskError, "edge' could not be written\n  cause: Input/output"),
        (MemoryError(), MemoryError, ""),
    ],
)
def test_a_failure_while_reading_back_is_one_error_and_leaves_nothing(backbone, tmp_path, monkeypatch, raised, kind, said):
    def fail(path, compile):
        raise raised

    monkeypatch.setattr(keras.models, "load_model", fail)
    with pytest.raises(kind) as caught:
        backbone.save(tmp_path / "edge")
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@keras.saving.register_keras_serializable("torso_test")
def quadruple(x):
    return x * 4


def test_a_function_that_only_this_process_knows_is_refused(backbone, tmp_path):
    backbone.model = keras.Model(backbone.model.input, keras.layers.Activation(quadruple)(backbone.model.output))
    with pytest.raises(torso.PluginError) as caught:
        backbone.save(tmp_path / "edge")
    assert str(caught.value) == (
        "the saved model would not load with plain Keras: it uses torso_test>quadruple\n"
        "  fix: register it with @keras.saving.register_keras_serializable(), at the top level of a module\n"
        f"  and: name that: Architecture(layers=({__name__!r},)); see docs/plugins.md"
    )
    assert not (tmp_path / "edge").exists()


def test_what_this_thread_has_set_in_keras_does_not_help_to_read_a_model_back(backbone, tmp_path, monkeypatch):
    seen: list[object] = []
    read = keras.models.load_model

    def load(path, compile):
        seen.append(
            (keras.config.dtype_policy().name, keras.layers.Dense(1).name, keras.saving.get_registered_object("own"))
        )
        return read(path, compile=compile)

    monkeypatch.setattr(keras.models, "load_model", load)
    keras.layers.Dense(1)
    with keras.saving.CustomObjectScope({"own": quadruple}):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            backbone.save(tmp_path / "edge")
        finally:
            keras.config.set_dtype_policy("float32")
    assert seen == [("float32", "dense", None)]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_backbone_of_half_precision_is_saved_as_it_is(tmp_path, registry, policy):
    keras.config.set_dtype_policy(policy)
    try:
        backbone = torso.create_backbone("TinyNet", weights="none", registry=registry)
        pixels = backbone.preprocess(images((8, 8, 3)))
        settle(backbone.model, pixels)
    finally:
        keras.config.set_dtype_policy("float32")
    expected = np.asarray(backbone.model(pixels))
    assert expected.dtype.name == policy.removeprefix("mixed_")
    folder = backbone.save(tmp_path / "edge")
    assert torso.verify(folder).holds
    again = np.asarray(torso.load(folder).model(pixels))
    assert_same_and_meaningful(again.view("uint16"), expected.view("uint16"))
