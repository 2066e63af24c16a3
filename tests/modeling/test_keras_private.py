from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable
from typing import Any

import keras
import pytest

from torso.errors import TorsoError
from torso.modeling import keras_private as private
from torso.modeling.keras_private import (
    can_draw_lean,
    in_fresh_thread,
    inner_layers,
    let_pass,
    name_counts,
    optimized,
    without_values,
    without_weights,
)
from torso.modeling.threads import patched


def tiny() -> keras.Model:
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


def test_this_keras_has_the_private_names_and_class_names() -> None:
    assert hasattr(private._file_utils, "get_file")  # else Keras downloads weights itself
    assert can_draw_lean()  # else every build is eager
    assert private.places_of(tiny())  # else .weights.h5 is refused
    assert hasattr(private._saving, "_serialize_model_as_json")  # else a saved model holds the time
    assert type(tiny()).__name__ == private.FUNCTIONAL
    assert private.DROPOUT_RNN_CELL in {kind.__name__ for kind in keras.layers.LSTMCell.__mro__}
    assert hasattr(importlib.import_module("keras.src.applications.convnext"), private.STOCHASTIC_DEPTH)


def test_without_weights_draws_the_pretrained_graph_and_records_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", None)
    with without_weights() as requests:
        with without_weights() as inner:
            pass
        model = keras.applications.EfficientNetB0(weights="imagenet", include_top=False, input_shape=(32, 32, 3))
    assert [type(layer).__name__ for layer in model.layers].count("Rescaling") == 2  # one without weights
    assert ([request["fname"] for request in requests], inner) == (["efficientnetb0_notop.h5"], [])
    assert requests[0]["cache_subdir"] == "models"
    assert re.fullmatch("[0-9a-f]{32}", requests[0]["file_hash"])


# --- a thread of its own ------------------------------------------------------------------------------------------------


def test_names_start_at_zero_in_a_fresh_thread_and_here_keras_counts_on() -> None:
    before = keras.layers.Dense(1).name
    assert in_fresh_thread(lambda: [keras.layers.Dense(1).name for _ in range(2)]) == ["dense", "dense_1"]
    assert int(keras.layers.Dense(1).name.rsplit("_")[-1]) == int(f"{before}_0".split("_")[1]) + 1


def set_up(call: Callable[[Callable[[], Any]], Any]) -> Any:
    keras.utils.set_random_seed(3)
    registered = keras.saving.get_registered_object
    return call(lambda: (keras.config.dtype_policy().name, registered("twice"), float(keras.random.uniform(()))))


def test_what_the_user_has_set_holds_in_a_fresh_thread() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with keras.saving.custom_object_scope({"twice": abs}), keras.name_scope("outer"):
            here, there = (set_up(call) for call in (lambda settings: settings(), in_fresh_thread))
            assert there == here == ("mixed_float16", abs, here[2])
            assert in_fresh_thread(lambda: keras.Variable(0.0, name="v").path) == "v"  # the scope stays here
    finally:
        keras.config.set_dtype_policy(policy)


def test_an_error_in_a_fresh_thread_is_raised_with_its_traceback() -> None:
    def fail() -> None:
        raise KeyboardInterrupt("no more")

    with pytest.raises(KeyboardInterrupt, match="no more") as caught:
        in_fresh_thread(fail)
    assert caught.traceback[-1].name == "fail"


def test_two_threads_patch_one_after_the_other_and_a_nested_one_at_once() -> None:
    class Owner:
        word = staticmethod(lambda: "own")

    heard: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def patch(name: str) -> Any:
        return patched(Owner, "word", lambda original: f"{name} {original()}")

    def nested() -> str:  # as a builder that builds with torso itself
        with patch("nested"):
            return Owner.word()

    def first() -> None:
        with patch("first"):
            inside.set()
            leave.wait(5)
            with patch("inner"):
                heard.append(Owner.word())
            heard.extend([in_fresh_thread(nested), Owner.word()])

    def second() -> None:
        with patch("second"):
            heard.append(Owner.word())

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(5)
    threads[1].start()
    assert Owner.word() == "own"
    leave.set()
    for thread in threads:
        thread.join(5)
    assert heard == ["inner first own", "nested own", "first own", "second own"]
    assert Owner.word() == "own"


# --- variables without values -------------------------------------------------------------------------------------------


def pending() -> int:
    return len(private._global_state.get_global_attribute(private._PENDING) or ())


def test_without_values_makes_variables_without_memory_and_forgets_them() -> None:
    before = pending()
    with without_values():
        model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
        assert pending() > before
    assert pending() == before
    assert model.count_params() == 3_228_864
    with keras.StatelessScope():  # a later scope fills what is pending: nothing of ours
        pass
    assert not any(private.has_value(weight) for weight in model.weights)


def test_without_the_count_of_names_nothing_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.layers.Dense(1)
    assert name_counts()["dense"] > 0
    monkeypatch.setattr(private, "_global_state", None)
    assert name_counts() == {}
    assert not can_draw_lean()
    assert in_fresh_thread(lambda: keras.layers.Dense(1).name) == "dense"


# --- what Keras knows and does not tell ---------------------------------------------------------------------------------


def test_this_keras_has_the_private_name_that_tells_what_an_optimizer_trains() -> None:
    for optimizer in keras.optimizers.SGD(), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()):
        assert optimized(optimizer) is None  # it is not built
        variables = [keras.Variable([1.0, 2.0], name=name) for name in ("one", "other")]
        optimizer.build(variables)
        assert optimized(optimizer) == {id(variable) for variable in variables}  # else the end of the run is waited for
    assert optimized(None) is None  # a model that is compiled without


def test_this_keras_has_the_private_name_that_tells_what_is_within_a_layer() -> None:
    layer = keras.layers.TimeDistributed(keras.layers.SpectralNormalization(keras.layers.Dense(2, name="dense")))
    layer.build((None, 3, 4))
    found = inner_layers(layer)
    assert found[0] is layer
    assert [type(one).__name__ for one in found] == ["TimeDistributed", "SpectralNormalization", "Dense"]


def test_scopes_and_earlier_names_are_told_from_the_names_of_layers() -> None:
    plain = tiny()
    assert not private.has_scopes(plain)
    with keras.name_scope("outer"):
        scoped = tiny()
    inputs = keras.Input((2,))
    for model in scoped, keras.Model(inputs, scoped(inputs)), keras.Sequential([inputs, keras.layers.Dense(1)]):
        assert private.has_scopes(model)
    plain.layers[1].name = "other"
    assert private.has_scopes(plain)


class Refusing(keras.layers.Layer):  # type: ignore[misc]
    """Raises an error of torso's when it is called."""

    passes = True

    def call(self, pixels: object) -> object:
        error = TorsoError("no such pixel", notes=[("fix", "look at it")])
        if self.passes:
            let_pass(error)
        raise error


def test_an_error_that_is_let_pass_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TorsoError) as caught:
        Refusing()(keras.ops.ones((1, 2)))  # if this fails, Keras has moved the mark, and the way below is taken
    assert str(caught.value) == "no such pixel\n  fix: look at it"
    monkeypatch.setattr(Refusing, "passes", False)
    with pytest.raises(TorsoError, match=r"(?s)^[^\n]*Refusing\.call\(\).*no such pixel"):
        Refusing(name="refusing")(keras.ops.ones((1, 2)))
