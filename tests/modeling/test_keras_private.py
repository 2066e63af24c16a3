from __future__ import annotations

import importlib
import re
import threading
from pathlib import Path

import keras
import pytest

from torso.errors import TorsoError
from torso.modeling import keras_private as private
from torso.modeling.keras_private import (
    can_forget,
    can_intercept,
    counting_names,
    inner_layers,
    let_pass,
    optimized,
    without_values,
    without_weights,
)


def efficientnet() -> keras.Model:
    return keras.applications.EfficientNetB0(weights="imagenet", include_top=False, input_shape=(32, 32, 3))


def test_this_keras_has_the_private_name_that_keeps_builders_from_downloading() -> None:
    assert can_intercept()  # if this fails, the way below is taken: Keras has moved get_file


def test_without_weights_draws_the_pretrained_graph_and_records_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", None)
    with without_weights() as requests:
        model = efficientnet()
    assert [type(layer).__name__ for layer in model.layers].count("Rescaling") == 2  # one without weights
    assert [request.fname for request in requests] == ["efficientnetb0_notop.h5"]
    assert requests[0].cache_subdir == "models"
    assert re.fullmatch("[0-9a-f]{32}", requests[0].file_hash or "")


def test_without_weights_goes_on_behind_another_within_it() -> None:
    with without_weights() as outer:
        with without_weights() as inner:
            pass
        efficientnet()
    assert ([request.fname for request in outer], inner) == (["efficientnetb0_notop.h5"], [])


def test_without_weights_leaves_no_trace() -> None:
    file_utils = importlib.import_module(private._FILE_UTILS)
    before = (file_utils.get_file, keras.Model.load_weights)
    during = []

    def fail() -> None:
        during.append((file_utils.get_file, keras.Model.load_weights))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), without_weights():
        fail()
    assert during != [before]
    assert (file_utils.get_file, keras.Model.load_weights) == before


def test_without_weights_concerns_its_own_thread_only(residual: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "w.weights.h5"
    residual.save_weights(path)
    copy = keras.models.clone_model(residual)
    loaded = []

    def load() -> None:
        copy.load_weights(path)
        loaded.append(bool((copy.weights[0].numpy() == residual.weights[0].numpy()).all()))

    with without_weights():
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
    assert loaded == [True]


def test_without_the_private_name_keras_fetches_the_file_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def get_file(fname: str, *args: object, **kwargs: object) -> str:
        fetched.append(fname)
        return fname

    monkeypatch.setattr(importlib.import_module(private._FILE_UTILS), "get_file", get_file)
    monkeypatch.setattr(private, "_FILE_UTILS", "keras.src.utils.moved_away")
    assert not can_intercept()
    with without_weights() as requests:
        model = efficientnet()  # load_weights is public, and left out in this way too: there is no such file
    assert fetched == ["efficientnetb0_notop.h5"]
    assert requests == []
    assert model.output_shape == (None, 1, 1, 1280)


def test_this_keras_has_the_private_names_that_let_variables_be_forgotten() -> None:
    assert can_forget()  # if this fails, the way below is taken: graphs are read off models with values


def pending() -> int:
    state = importlib.import_module(private._GLOBAL_STATE)
    return len(state.get_global_attribute(private._PENDING) or ())


def test_without_values_makes_variables_without_memory_and_forgets_them() -> None:
    before = pending()
    with without_values() as lean:
        assert lean is not None
        model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
        assert pending() > before
        assert all(getattr(weight, "_value", None) is None for weight in model.weights)
    assert pending() == before
    assert model.count_params() == 3_228_864
    with keras.StatelessScope():  # a later scope fills what is pending: nothing of ours
        pass
    assert all(getattr(weight, "_value", None) is None for weight in model.weights)


def test_without_values_leaves_no_trace_of_a_builder_that_fails() -> None:
    def fail() -> None:
        keras.layers.Dense(3).build((None, 4))
        assert pending() > before
        raise ZeroDivisionError

    before = pending()
    with pytest.raises(ZeroDivisionError), without_values():
        fail()
    assert pending() == before
    assert keras.layers.Dense(3)(keras.ops.ones((1, 4))).shape == (1, 3)


def test_without_the_private_names_variables_have_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_GLOBAL_STATE", "keras.src.moved")
    assert not can_forget()
    layer = keras.layers.Dense(3)
    with without_values() as lean:
        assert lean is None
        layer.build((None, 4))
    assert layer.kernel.numpy().shape == (4, 3)


def test_names_that_keras_counted_are_told_from_those_behind_and_before_them() -> None:
    before = keras.layers.Dense(1)
    start = int(f"{before.name}_0".split("_")[1]) + 1
    with counting_names() as is_numbered:
        counted = keras.layers.Dense(1)
        written = keras.layers.Dense(1, name=f"dense_{start + 1}")
        assert counted.name == f"dense_{start}"
    assert [is_numbered(layer) for layer in (before, counted, written)] == [False, True, False]


@pytest.mark.parametrize("counts", [{"dense": 1}, {}])
def test_where_the_count_of_names_cannot_be_trusted_any_name_may_be_of_it(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int]
) -> None:
    found = iter([{"dense": 9}, counts])
    monkeypatch.setattr(private, "_name_counts", lambda: next(found))
    with counting_names() as is_numbered:
        assert is_numbered(keras.layers.Dense(1, name="dense_3"))


def trained(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that an optimizer is built for."""
    variables = [keras.Variable([1.0, 2.0], name=name) for name in ("one", "other")]
    optimizer.build(variables)
    return variables


@pytest.mark.parametrize("half", [False, True])
def test_this_keras_has_the_private_name_that_tells_what_an_optimizer_trains(half: bool) -> None:
    optimizer = keras.optimizers.SGD()
    if half:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    assert optimized(optimizer) is None  # it is not built
    variables = trained(optimizer)
    assert optimized(optimizer) == {id(variable) for variable in variables}  # if this fails, the way below is taken


def test_without_the_private_name_nothing_is_known_of_an_optimizer() -> None:
    class Moved(keras.optimizers.SGD):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> object:
            if name == "_trainable_variables":
                raise AttributeError(name)
            return super().__getattribute__(name)

    optimizer = Moved()
    trained(optimizer)
    assert optimized(optimizer) is None
    assert optimized(None) is None  # a model that is compiled without


def wrapper() -> keras.Layer:
    layer = keras.layers.TimeDistributed(keras.layers.SpectralNormalization(keras.layers.Dense(2, name="dense")))
    layer.build((None, 3, 4))
    return layer


def test_this_keras_has_the_private_name_that_tells_what_is_within_a_layer() -> None:
    layer = wrapper()
    found = inner_layers(layer)
    assert found[0] is layer
    assert [type(one).__name__ for one in found] == ["TimeDistributed", "SpectralNormalization", "Dense"]


def test_without_the_private_name_a_layer_is_all_that_is_found() -> None:
    class Moved(keras.layers.TimeDistributed):  # type: ignore[misc]
        _flatten_layers = None

    layer = Moved(keras.layers.Dense(2))
    assert inner_layers(layer) == [layer]


class Refusing(keras.layers.Layer):  # type: ignore[misc]
    """Raises an error of torso's when it is called."""

    passes = True

    def call(self, pixels: object) -> object:
        error = TorsoError("no such pixel", notes=[("fix", "look at it")])
        if self.passes:
            let_pass(error)
        raise error


def test_an_error_that_is_let_pass_is_told_in_its_own_words() -> None:
    with pytest.raises(TorsoError) as caught:
        Refusing()(keras.ops.ones((1, 2)))  # if this fails, Keras has moved the mark, and the way below is taken
    assert str(caught.value) == "no such pixel\n  fix: look at it"


def test_an_error_without_the_mark_is_one_of_torso_and_repeats_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusing, "passes", False)
    with pytest.raises(TorsoError) as caught:
        Refusing(name="refusing")(keras.ops.ones((1, 2)))
    first, *others = str(caught.value).splitlines()
    assert "Refusing.call()" in first
    assert "no such pixel" in "\n".join(others)
