from __future__ import annotations

import keras
import numpy as np
import pytest
from networks import images

from torso.errors import OptionError, PluginError
from torso.freezing import FreezePlan
from torso.keras_bridge.freeze import FreezeReport, freeze
from torso.keras_bridge.reading import read_graph
from torso.keras_bridge.variables import variables_by_path


def fit(model: keras.Model) -> None:
    """Three steps of training with a new head, at a rate that moves whatever can move."""
    head = keras.layers.GlobalAveragePooling2D()(model.output)
    full = keras.Model(model.input, keras.layers.Dense(1)(head))
    full.compile(keras.optimizers.SGD(1.0), "mse")
    full.fit(images((8, 8, 3), count=6), np.ones((6, 1)), batch_size=2, verbose=0)


def test_freeze_all_leaves_nothing_that_training_could_move(residual: keras.Model) -> None:
    graph = read_graph(residual, "Residual")
    report = freeze(residual, graph, FreezePlan(weights=frozenset(node.name for node in graph)), "'all'")
    assert report == FreezeReport(
        frozen=residual.count_params(), trainable=0, trains=(), adapts=(), silenced={"drop": 0.5}, everything=True
    )
    before = [np.array(weight) for weight in residual.weights]
    pixels = images((8, 8, 3))
    features = residual(pixels, training=False)
    np.testing.assert_array_equal(residual(pixels, training=True), features)
    fit(residual)
    for old, weight in zip(before, residual.weights, strict=True):
        np.testing.assert_array_equal(weight, old)
    np.testing.assert_array_equal(residual(pixels, training=True), features)


def test_freeze_nothing_lets_everything_move(residual: keras.Model) -> None:
    report = freeze(residual, read_graph(residual, "Residual"), FreezePlan(stochastic="on"), "'none'")
    statistics = 2 * 4  # moving mean and variance do not train in any case
    assert (report.frozen, report.trainable) == (statistics, residual.count_params() - statistics)
    assert set(report.trains) == {
        path for path in variables_by_path(residual) if not path.startswith(("norm/moving", "drop/"))
    }
    assert report.adapts == ("norm/moving_mean", "norm/moving_variance")
    assert (report.silenced, report.everything) == ({}, False)
    before = [np.array(weight) for weight in residual.weights]
    fit(residual)
    assert all(not np.array_equal(old, weight) for old, weight in zip(before, residual.weights, strict=True))
    pixels = images((8, 8, 3))
    assert not np.array_equal(residual(pixels, training=True), residual(pixels, training=False))


def test_freeze_some_moves_the_others_only(residual: keras.Model) -> None:
    freeze(residual, read_graph(residual, "Residual"), FreezePlan(weights=frozenset({"stem", "norm"})), "'some'")
    before = {weight.path: np.array(weight) for weight in residual.weights}
    fit(residual)
    moved = {
        path for path, old in before.items() if not np.array_equal(old, next(w for w in residual.weights if w.path == path))
    }
    assert moved == {path for path in before if not path.startswith(("stem/", "norm/"))}


def test_freeze_norm_keeps_the_statistics_while_the_rest_trains(residual: keras.Model) -> None:
    freeze(residual, read_graph(residual, "Residual"), FreezePlan(norm=frozenset({"norm"})), "'norm'")
    assert [layer.name for layer in residual.layers if not layer.trainable] == ["norm"]


def test_freeze_reaches_a_layer_of_a_nested_model() -> None:
    inner = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(2, 1, name="conv")], name="inner")
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="end")(inner(inputs)))
    freeze(model, read_graph(model, "Nested"), FreezePlan(weights=frozenset({"inner/conv"})), "'some'")
    assert {weight.path for weight in model.trainable_weights} == {"end/kernel", "end/bias"}


def test_freeze_reaches_a_shared_layer_by_any_of_its_calls() -> None:
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    freeze(model, read_graph(model, "Shared"), FreezePlan(weights=frozenset({"shared:1"})), "'some'")
    assert model.trainable_weights == []


def test_freeze_silences_what_inherits_from_dropout() -> None:
    @keras.saving.register_keras_serializable("tests")
    class Harder(keras.layers.Dropout):
        pass

    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, Harder(0.5, name="harder")(inputs))
    report = freeze(model, read_graph(model, "Net"), FreezePlan(), "'all'")
    assert report.silenced == {"harder": 0.5}


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.RandomFlip(name="random"),
        keras.layers.TimeDistributed(keras.layers.Dropout(0.5), name="random"),
    ],
)
def test_freeze_refuses_what_it_cannot_silence(layer: keras.Layer) -> None:
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, layer(inputs))
    graph = read_graph(model, "Net")
    with pytest.raises(OptionError) as caught:
        freeze(model, graph, FreezePlan(), "'all'")
    assert str(caught.value) == (
        f"'random' is a {type(layer).__name__} that draws random numbers in training, and torso cannot turn that off\n"
        "  fix: leave it out of the network, or choose a freeze policy that leaves random layers on"
    )
    freeze(model, graph, FreezePlan(stochastic="on"), "'none'")


def test_freeze_nothing_wakes_what_came_frozen(residual: keras.Model) -> None:
    residual.trainable = False
    report = freeze(residual, read_graph(residual, "Residual"), FreezePlan(stochastic="on"), "'none'")
    assert report.trainable == residual.count_params() - 2 * 4


def test_freeze_blames_a_policy_that_selects_what_is_not_there(residual: keras.Model) -> None:
    with pytest.raises(PluginError) as caught:
        freeze(residual, read_graph(residual, "Residual"), FreezePlan(weights=frozenset({"steam"})), "'acme/some'")
    assert str(caught.value) == (
        "freeze policy 'acme/some' selected 'steam', and that is not in the trunk\n  did you mean: 'stem'"
    )
