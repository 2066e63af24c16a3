"""The path of a variable is the same however a model came to be: built again, loaded, nested in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import torso
from torso.modeling import variable_paths as variables
from torso.modeling.variable_paths import variables_by_path

layers = keras.layers


def model_of(*called: layers.Layer, shape: tuple[int, ...] = (4, 6)) -> keras.Model:
    """These layers, one after the other."""
    inputs = x = keras.Input(shape)
    for layer in called:
        x = layer(x)
    return keras.Model(inputs, x)


def attention_of(layer: layers.Layer) -> keras.Model:
    inputs = keras.Input((4, 6))
    x = layers.Dense(6, name="dense")(inputs)
    return keras.Model(inputs, layer(x, x))


def attention() -> keras.Model:
    return attention_of(layers.MultiHeadAttention(2, 2, dropout=0.1, name="attention"))


def nested() -> keras.Model:
    deep = keras.Sequential([keras.Input((4, 6)), layers.Dense(6, name="same")], name="same")
    return model_of(keras.Sequential([keras.Input((4, 6)), deep, layers.Dense(6, name="dense")], name="outer"))


def wrapped() -> keras.Model:
    part = [keras.Input((6,)), layers.Dense(3, name="dense"), layers.Dropout(0.5, name="drop")]
    return model_of(
        layers.TimeDistributed(keras.Sequential(part, name="part"), name="each"),
        layers.TimeDistributed(layers.BatchNormalization(), name="all"),
    )


def within(*layer_names: str) -> list[str]:
    return [f"{name}/{what}" for name in layer_names for what in ("kernel", "bias")]


SEED = "seed_generator_state"
GROUPED = within("dense", *(f"attention/{part}" for part in ("query", "key", "value", "attention_output")))
NETWORKS: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "attention": (attention, [*GROUPED, f"attention/dropout/{SEED}"]),
    "grouped": (lambda: attention_of(layers.GroupQueryAttention(2, 2, 1, name="attention")), GROUPED),
    "bidirectional": (
        lambda: model_of(layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")),
        [
            f"both/{way}_lstm/lstm_cell/{what}"
            for way in ("forward", "backward")
            for what in ("kernel", "recurrent_kernel", "bias", SEED)
        ],
    ),
    "wrapped": (
        wrapped,
        [
            *within("each/part/dense"),
            f"each/part/drop/{SEED}",
            *(f"all/batch_normalization/{what}" for what in ("gamma", "beta", "moving_mean", "moving_variance")),
        ],
    ),
    "spectral": (
        lambda: model_of(layers.SpectralNormalization(layers.Dense(3, name="dense"), name="bounded")),
        ["bounded/vector_u", *within("bounded/dense")],
    ),
    "nested": (nested, within("outer/same/same", "outer/dense")),
}


@pytest.mark.parametrize(("build", "paths"), NETWORKS.values(), ids=NETWORKS)
def test_every_variable_has_one_path_built_and_loaded(
    build: Callable[[], keras.Model], paths: list[str], tmp_path: Path
) -> None:
    model = build()
    assert sorted(variables_by_path(model)) == sorted(paths)
    assert {id(one) for one in variables_by_path(model).values()} == {id(one) for one in model.variables}
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).uniform(size=weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected, found = variables_by_path(model), variables_by_path(loaded)
    assert list(found) == list(expected)
    weights = {id(weight) for weight in model.weights}  # Keras keeps the states of random generators of some layers only
    for path, variable in expected.items():
        if id(variable) in weights:
            np.testing.assert_array_equal(found[path], variable)


def test_the_paths_are_the_same_within_another_model() -> None:
    model = attention()
    before = variables_by_path(model)
    inputs = keras.Input((4, 6))
    keras.Model(inputs, layers.Dense(1)(model(inputs)))
    assert variables_by_path(model) == before


def test_a_name_scope_like_the_name_of_a_layer_is_no_part_of_the_path() -> None:
    with keras.name_scope("dense"):
        model = model_of(layers.Dense(3, name="dense"))
    assert [variable.path for variable in model.variables] == ["dense/dense/kernel", "dense/dense/bias"]
    assert list(variables_by_path(model)) == ["dense/kernel", "dense/bias"]


class Unnamed(layers.Layer):
    """Two weights without a name, and two of one name."""

    def build(self, shape: Any) -> None:
        self.all = [self.add_weight(shape=(index + 1,), name=name) for index, name in enumerate((None, None, "a", "a"))]

    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("made", [0, 5])
def test_weights_without_a_name_are_counted_in_their_layer_alone(made: int) -> None:
    for _ in range(made):
        keras.Variable(0.0)  # Keras counts these too
    found = variables_by_path(model_of(Unnamed(name="one"), Unnamed(name="two")))
    names = ("variable", "variable:1", "a", "a:1")
    assert {path: variable.shape for path, variable in found.items()} == {
        f"{layer}/{name}": (index + 1,) for layer in ("one", "two") for index, name in enumerate(names)
    }


def test_one_spec_gives_the_same_paths_built_and_loaded(tmp_path: Path) -> None:
    """ConvNeXt scales its branches by weights that have no name."""
    spec: dict[str, Any] = {"input": {"size": [32, 32]}, "truncate": {"level": "C2"}, "freeze": {"all_but_last": 1}}
    one, other = (
        torso.create_backbone("ConvNeXtTiny", weights="none", registry=torso.Registry.load(discover=False), **spec)
        for _ in range(2)
    )
    loaded = torso.load(one.save(tmp_path / "saved"))
    assert "convnext_tiny_stage_0_block_2_layer_scale/variable" in loaded.manifest["frozen"]["trains"]
    for model in one.model, other.model:
        assert sorted(variables_by_path(model)) == sorted(loaded.manifest["variables"])
    assert other.manifest["frozen"]["trains"] == loaded.manifest["frozen"]["trains"]


def test_without_the_private_name_paths_within_a_layer_are_those_of_keras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(variables, "inner_layers", lambda layer: [layer])
    for name in "grouped", "nested":
        build, paths = NETWORKS[name]
        assert list(variables_by_path(build())) == paths
