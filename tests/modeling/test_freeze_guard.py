"""A run of ``fit`` fails where a frozen variable changes, warns where Keras ignores what is to train; and nowhere else.

A traced ``fit`` costs 0.3 s. What does not depend on that Keras reads the flags once, when it traces, runs eagerly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images, randomize, settle
from saved import TINY

import torso
from torso.modeling import freeze_guard as guard
from torso.modeling.variable_paths import variables_by_path
from torso.plugins.registry import Registry

REGISTRY = Registry.load(plugins_dirs=[TINY], discover=False)
PIXELS = images((8, 8, 3), count=8) / 255
TARGETS = np.arange(8, dtype="float32")[:, None]
STEPS = 4  # an epoch's
ALL = "stem/kernel, stem/bias, left/kernel, left/bias, right/kernel, right/bias"
MOVED = (
    "frozen, and moved in training\n"
    "  cause: it was frozen after compile, which Keras ignores; or something else writes into it\n"
    "  fix: load the values anew, and compile the model again, with a new optimizer, after freezing"
)
IGNORED = (
    "  cause: trainable was changed after the optimizer was built, and Keras goes on with what it had\n"
    "  fix: compile the model again, with a new optimizer, then fit"
)
NONE_MOVED = IGNORED.replace("it had", "it had; or no gradient reaches them")
WOULD_MOVE = "  fix: let it train with backbone.unfreeze(...), or take back what was set to trainable"
LEFT_BIAS = f"left/bias is {MOVED}"
CHANGED = f"{ALL} are frozen or unfrozen in the middle of the run\n{IGNORED}"
UNKNOWN = f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"
NONE = f"{ALL} are to train, and none has moved\n{NONE_MOVED}"
slow = partial(pytest.param, marks=pytest.mark.slow)


def tiny(freeze: Any = "all", **spec: Any) -> torso.Backbone:
    made = torso.create_backbone("TinyNet", weights="none", freeze=freeze, registry=REGISTRY, **spec)
    settle(made.model, images((8, 8, 3)))
    return made


def mobile(network: str = "MobileNet", **spec: Any) -> torso.Backbone:
    given = {"weights": "none", "input": {"size": [32, 32]}, "truncate": {"level": "C1"}, **spec}
    made = torso.create_backbone(network, registry=REGISTRY, **given)
    settle(made.model, images((32, 32, 3), count=8))
    return made


def headed(backbone: torso.Backbone | keras.Model) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    model = backbone if isinstance(backbone, keras.Model) else backbone.model
    return keras.Sequential([model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, name="head")])


def compiled(model: keras.Model, optimizer: Any = None, **how: Any) -> keras.Model:
    """For training at a rate that moves whatever can move, and keeps it finite."""
    model.compile(optimizer or keras.optimizers.SGD(1e-3), "mse", **how)
    return model


eagerly = partial(compiled, run_eagerly=True)


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 1, **more: Any) -> None:
    model.fit(**{"x": PIXELS, "y": TARGETS, "batch_size": 2, **more}, epochs=epochs, verbose=0, callbacks=list(callbacks))


def failure(model: keras.Model, *callbacks: keras.callbacks.Callback, **more: Any) -> str:
    with pytest.raises(torso.IntegrityError) as caught:
        fit(model, *callbacks, **more)
    return str(caught.value)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of the weights, by path, that have to be finite to tell whether anything moves."""
    weights = {id(weight) for weight in model.weights}
    found = {path: np.array(one) for path, one in variables_by_path(model).items() if id(one) in weights}
    assert all(np.isfinite(value).all() for value in found.values())
    return found


def freeze_all(backbone: torso.Backbone) -> None:
    backbone.freeze(registry=REGISTRY)


def warned(model: keras.Model, *callbacks: keras.callbacks.Callback, **more: Any) -> str:
    with pytest.warns(torso.FreezeWarning) as caught:
        fit(model, *callbacks, **more)
    (one,) = caught
    return str(one.message)


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> list[str]:
    return [path for path, value in values(model).items() if not np.array_equal(value, before[path])]


def nudge(variable: Any) -> None:
    """Change one number by one unit in its last place."""
    changed = np.array(variable)
    changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(np.inf))
    variable.assign(changed)


class Doing(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """Does something after so many steps of a run, as many as an epoch has by default; and counts them."""

    def __init__(self, act: Callable[[], Any] = lambda: None, *, after: int = STEPS) -> None:
        super().__init__()
        self.act, self.after, self.steps = act, after, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps == self.after:
            self.act()


def nudging(backbone: torso.Backbone, layer: str = "left", after: int = 2) -> Doing:
    """Changes one bit of the offset of a layer."""
    return Doing(lambda: nudge(backbone.model.get_layer(layer).bias), after=after)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Keras whose optimizers do not tell what they train."""
    monkeypatch.setattr(guard, "optimized", lambda optimizer: None)


# Healthy runs


@pytest.mark.parametrize("how", [{"steps_per_execution": 2}, slow({}), slow({"run_eagerly": True})], ids=str)
def test_two_phases_with_one_guard_are_no_alarm(how: dict[str, Any]) -> None:
    backbone = tiny()
    guarded, model = torso.FreezeGuard(backbone), headed(backbone)
    before, head = values(backbone.model), np.array(model.layers[-1].kernel)
    fit(compiled(model, **how), guarded, epochs=2)
    assert moved(backbone.model, before) == []
    assert not np.array_equal(model.layers[-1].kernel, head)
    backbone.unfreeze(from_node="stem")
    fit(compiled(model, **how), guarded)
    assert moved(backbone.model, before) == ALL.split(", ")
    nudge(backbone.model.get_layer("left").bias)  # between two runs, the values are the user's
    fit(model, guarded)


OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "averages in the end": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
    "averages in the run": lambda: keras.optimizers.SGD(1e-3, use_ema=True, ema_overwrite_frequency=1),
    "momentum and decay": lambda: keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=0.1),
    "plain": lambda: keras.optimizers.Adam(1e-3),
}
HEALTHY = [
    ("MobileNet", "C1", "adapt_norm", "averages in the end"),
    slow("MobileNet", "C1", "all_but_norm", "averages in the run"),
    *(
        slow(network, "C2", policy, optimizer)
        for network in ("MobileNetV2", "EfficientNetB0")
        for policy in ("all", "none", {"through": "C1"}, {"all_but_last": 1}, "all_but_norm", "adapt_norm")
        for optimizer in OPTIMIZERS
    ),
]


@pytest.mark.parametrize(("network", "level", "policy", "optimizer"), HEALTHY, ids=str)
def test_no_freeze_policy_with_any_optimizer_is_an_alarm(network: str, level: str, policy: Any, optimizer: str) -> None:
    backbone = mobile(network, truncate={"level": level}, freeze=policy)
    before = values(backbone.model)
    model = compiled(headed(backbone), OPTIMIZERS[optimizer](), run_eagerly=level == "C1")
    pixels = backbone.preprocess(images((32, 32, 3), count=8, seed=2)).numpy()  # not those that the statistics are of
    fit(model, torso.FreezeGuard(backbone), x=pixels, batch_size=8, epochs=2)
    report = backbone.manifest["frozen"]
    found, allowed = set(moved(backbone.model, before)), {*report["trains"], *report["adapts"]}
    assert found <= allowed
    assert len(found) >= 0.95 * len(allowed)  # an offset before the next normalisation has no gradient


def test_a_model_that_is_built_in_its_first_step_is_no_alarm() -> None:
    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self, backbone: torso.Backbone) -> None:
            super().__init__()
            self.parts = [backbone.model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]

        def call(self, pixels: Any) -> Any:
            for part in self.parts:
                pixels = part(pixels)
            return pixels

    backbone = tiny()
    model = compiled(Net(backbone))
    assert model.trainable_variables == []
    fit(model, torso.FreezeGuard(backbone), epochs=2)
    assert len(model.trainable_variables) == 2


def test_a_validation_and_weights_that_are_restored_are_no_alarm() -> None:
    backbone, count = tiny({"through": "joined"}), Doing()
    best = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=1e9, restore_best_weights=True)  # the first epoch
    held_out = PIXELS, TARGETS
    fit(eagerly(headed(backbone)), torso.FreezeGuard(backbone), best, count, epochs=9, validation_data=held_out)
    assert count.steps == 2 * STEPS  # stopped, and set back


@pytest.mark.parametrize(("rate", "epochs"), [(0.0, 1), (1e-3, 0)])
def test_a_run_in_which_nothing_can_move_is_no_alarm(untold: None, rate: float, epochs: int) -> None:
    backbone = tiny("none")
    before = values(backbone.model)
    fit(eagerly(headed(backbone), keras.optimizers.SGD(rate)), torso.FreezeGuard(backbone), epochs=epochs)
    assert moved(backbone.model, before) == []


@pytest.mark.parametrize("largest", [slow(1.0), 1e6])
def test_half_precision_and_the_steps_that_it_leaves_out_are_no_alarm(untold: None, largest: float) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = tiny("none")
        model = headed(backbone)
    finally:
        keras.config.set_dtype_policy("float32")
    before = values(backbone.model)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), initial_scale=8.0)
    fit(eagerly(model, optimizer), torso.FreezeGuard(backbone), x=PIXELS * largest)
    assert bool(moved(backbone.model, before)) == (largest == 1)


def test_a_layer_that_trains_may_keep_a_count_of_its_own_and_a_frozen_one_not() -> None:
    class Counting(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, pixels: Any) -> Any:
            self.count.assign_add(1.0)
            return pixels * self.scale

    backbone = keras.Sequential([keras.Input((8, 8, 3)), Counting(name="counting")])
    model = headed(backbone)
    fit(eagerly(model), torso.FreezeGuard(backbone))
    assert float(backbone.layers[0].count) == STEPS
    backbone.trainable = False
    assert failure(eagerly(model), torso.FreezeGuard(backbone)) == f"counting/count is {MOVED}"


# What is frozen moves


@pytest.mark.parametrize("how", [{"steps_per_execution": 2}, slow({}), slow({"jit_compile": True})], ids=str)
def test_what_was_frozen_after_compile_fails_after_one_step(how: dict[str, Any]) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), **how)
    fit(model)
    freeze_all(backbone)
    before, count = values(backbone.model), Doing()
    assert failure(model, count, torso.FreezeGuard(backbone)) == f"{ALL} are {MOVED}"
    assert (count.steps, moved(backbone.model, before)) == (1, ALL.split(", "))


@pytest.mark.parametrize("when", ["freeze", "unfreeze", "freeze eagerly", "freeze once the optimizer is built"])
def test_what_keras_heeds_is_no_alarm(when: str) -> None:
    freezes = when != "unfreeze"
    backbone = tiny("none" if freezes else "all")
    model = compiled(headed(backbone), run_eagerly="eagerly" in when)
    if "eagerly" in when:
        fit(model)
    elif "built" in when:
        model.optimizer.build(model.trainable_variables)
    if freezes:
        freeze_all(backbone)
    else:
        backbone.unfreeze(from_node="stem")
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == ([] if freezes else ALL.split(", "))


@pytest.mark.parametrize(
    ("after", "epochs", "found"), [(STEPS + 1, 3, 2 * STEPS), (2 * STEPS, 3, 2 * STEPS), (1, 1, 1), (STEPS, 1, STEPS)]
)
def test_one_bit_that_changes_is_found_after_the_first_step_or_the_epoch(after: int, epochs: int, found: int) -> None:
    backbone = tiny()
    change = nudging(backbone, after=after)
    assert failure(eagerly(headed(backbone)), change, torso.FreezeGuard(backbone), epochs=epochs) == LEFT_BIAS
    assert change.steps == found


def test_scale_and_offset_stand_still_where_the_statistics_adapt() -> None:
    backbone = mobile(options={"alpha": 0.25}, freeze="adapt_norm")
    change = Doing(lambda: nudge(backbone.model.get_layer("conv1_bn").gamma), after=2)
    fact = failure(eagerly(headed(backbone)), torso.FreezeGuard(backbone), change, x=images((32, 32, 3), count=8))
    assert fact == f"conv1_bn/gamma is {MOVED}"


def test_an_optimizer_made_for_what_is_frozen_now_may_write_averages_into_it() -> None:
    backbone = tiny("none")
    optimizer = keras.optimizers.SGD(1e-3, use_ema=True, ema_overwrite_frequency=1)
    model = headed(backbone)
    fit(eagerly(model, optimizer))
    randomize(backbone.model, seed=2)  # other values than those that were averaged
    freeze_all(backbone)
    assert failure(eagerly(model, optimizer), torso.FreezeGuard(backbone)) == f"{ALL} are {MOVED}"


# What is to train does not


@pytest.mark.parametrize("tells", [True, False])
def test_an_unfreeze_that_the_optimizer_does_not_know_of_is_a_warning(tells: bool, request: pytest.FixtureRequest) -> None:
    if not tells:
        request.getfixturevalue("untold")
    backbone, count = tiny(), Doing()
    model = compiled(headed(backbone))
    fit(model)
    backbone.unfreeze(from_node="stem")
    assert warned(model, torso.FreezeGuard(backbone), count) == (UNKNOWN if tells else NONE)
    assert count.steps == STEPS


def test_an_unfreeze_that_moves_nothing_is_a_warning_at_the_end() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(compiled(model))
    model.trainable = True
    backbone.unfreeze(from_node="stem")
    assert warned(model, torso.FreezeGuard(backbone)) == NONE


@pytest.mark.parametrize("scale", [0.0, 1e-30])
def test_gradients_of_zero_and_steps_below_one_bit_are_a_warning(scale: float) -> None:
    backbone = tiny("none")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(scale)(backbone.model.output))
    model = eagerly(keras.Model(backbone.model.input, keras.layers.Dense(1)(x)))
    assert warned(model, torso.FreezeGuard(backbone), steps_per_epoch=1) == NONE


def test_a_run_that_is_resumed_from_a_backup_is_no_alarm(tmp_path: Path) -> None:
    for seed in 1, 2:  # the values of the second are others until those of the first are restored
        backbone = tiny()
        randomize(backbone.model, seed=seed)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        fit(eagerly(headed(backbone)), torso.FreezeGuard(backbone), backup, epochs=seed)


# What is frozen would move


def test_a_model_set_to_trainable_around_a_frozen_backbone_fails_at_once() -> None:
    backbone, count = tiny(), Doing()
    model = headed(backbone)
    model.trainable = False
    model.trainable = True
    fact = failure(compiled(model), count, torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are frozen in backbone 'TinyNet', and would move in this run\n{WOULD_MOVE}"
    assert count.steps == 0


def test_dropout_that_is_still_on_in_what_was_frozen_by_hand_is_a_warning() -> None:
    backbone = tiny("none")
    backbone.model.trainable = False
    text = "drop is not trainable, and still random in training: backbone.freeze(...) turns that off"
    assert warned(eagerly(headed(backbone)), torso.FreezeGuard(backbone)) == text
    freeze_all(backbone)
    fit(eagerly(headed(backbone)), torso.FreezeGuard(backbone))


def test_statistics_that_are_set_to_trainable_fail_before_the_first_step() -> None:
    backbone = mobile(truncate={"layer": "conv1_relu"})
    norm = backbone.model.get_layer("conv1_bn")
    norm.trainable = True
    norm.gamma.trainable = norm.beta.trainable = False
    assert failure(compiled(headed(backbone)), torso.FreezeGuard(backbone), x=images((32, 32, 3), count=8)) == (
        "conv1_bn/moving_mean, conv1_bn/moving_variance are frozen in backbone 'MobileNet', and would move in this run\n"
        f"{WOULD_MOVE}"
    )


def test_a_flag_within_a_model_that_is_frozen_as_a_whole_is_no_alarm() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    backbone.model.trainable = True
    assert model.trainable_variables == []
    before = values(backbone.model)
    with pytest.warns(UserWarning, match="does not have any trainable weights|drop is set to trainable, and still off"):
        fit(eagerly(model), torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


# What trains is changed in the run


@pytest.mark.parametrize(("given", "act"), [("backbone", "freeze"), slow("model", "unfreeze")])
def test_what_trains_is_changed_between_epochs_by_another_callback(given: str, act: str) -> None:
    backbone = tiny("none" if act == "freeze" else "all")
    model = compiled(headed(backbone))

    def change() -> None:
        backbone.unfreeze(norm="train") if act == "unfreeze" else freeze_all(backbone)

    changing, telling = Doing(change, after=2 * STEPS), Doing(lambda: model.make_train_function(force=True))  # too early
    guarded = torso.FreezeGuard(backbone if given == "backbone" else backbone.model)
    if act == "unfreeze":
        assert warned(model, guarded, telling, changing, epochs=5) == CHANGED
    else:
        assert failure(model, guarded, telling, changing, epochs=5) == CHANGED
        assert changing.steps == 2 * STEPS


def test_what_trains_is_changed_in_an_epoch_that_does_not_end() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    head = model.layers[-1]
    changing = Doing(lambda: setattr(head, "trainable", False), after=2)  # not the backbone's, and ignored alike
    fact = failure(model, torso.FreezeGuard(backbone), changing)
    named = f"{head.kernel.path}, {head.bias.path}"
    assert (fact, changing.steps) == (f"{named} are frozen or unfrozen in the middle of the run\n{IGNORED}", 2)


def test_what_trains_may_be_changed_after_the_last_step_for_the_next_run() -> None:
    backbone = tiny()
    unfreezing = Doing(lambda: backbone.unfreeze(from_node="stem"))
    model = compiled(headed(backbone))
    fit(model, unfreezing, torso.FreezeGuard(backbone))
    fit(eagerly(model), torso.FreezeGuard(backbone))


def test_what_is_changed_where_keras_heeds_it_is_guarded_from_there_on() -> None:
    backbone = tiny("none")
    model = eagerly(headed(backbone))
    during: list[dict[str, np.ndarray]] = []

    def freeze() -> None:
        freeze_all(backbone)
        during.append(values(backbone.model))

    guarded = torso.FreezeGuard(backbone)
    fit(model, guarded, Doing(freeze), epochs=3)
    assert moved(backbone.model, during[0]) == []
    backbone.unfreeze()
    change = nudging(backbone, after=2 * STEPS + 1)
    assert failure(eagerly(model), guarded, Doing(freeze), change, epochs=3) == LEFT_BIAS


def test_an_unfreeze_in_the_run_needs_an_optimizer_that_knows_of_it() -> None:
    backbone = tiny()
    unfreezing = Doing(lambda: backbone.unfreeze(from_node="stem"))
    with pytest.raises(ValueError, match="Unknown variable"), pytest.warns(torso.FreezeWarning, match="does not know of"):
        fit(eagerly(headed(backbone)), torso.FreezeGuard(backbone), unfreezing, epochs=2)  # Keras itself fails


@pytest.mark.parametrize("when", ["on_train_begin", slow("on_epoch_begin")])
def test_a_callback_that_freezes_before_the_first_step_is_heeded_once(when: str) -> None:
    backbone, count = tiny("none"), Doing()
    freezing = keras.callbacks.LambdaCallback(**{when: lambda *_: freeze_all(backbone)})
    before = values(backbone.model)
    model = compiled(headed(backbone))
    fit(model, torso.FreezeGuard(backbone), freezing)
    assert moved(backbone.model, before) == []
    backbone.unfreeze()
    fit(compiled(model))
    assert failure(model, torso.FreezeGuard(backbone), freezing, count) == CHANGED
    assert count.steps == 0


def test_a_run_that_is_interrupted_leaves_nothing_behind() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    backbone = tiny()
    guarded, model = torso.FreezeGuard(backbone), eagerly(headed(backbone))
    with pytest.raises(KeyboardInterrupt):
        fit(model, guarded, Doing(interrupt, after=2))
    randomize(backbone.model, seed=2)  # values of another checkpoint
    fit(model, guarded)
    assert failure(model, guarded, nudging(backbone)) == LEFT_BIAS


# What is guarded


def test_two_backbones_are_told_apart_by_their_names_and_six_variables_are_named() -> None:
    left, right = tiny("none", name="left"), tiny("none", name="right")
    pixels = keras.Input((8, 8, 3))
    model = headed(keras.Model(pixels, keras.layers.Concatenate()([left.model(pixels), right.model(pixels)])))
    fit(compiled(model))
    freeze_all(left)
    freeze_all(right)
    named = ", ".join(f"left/{path}" for path in ALL.split(", "))
    assert failure(model, torso.FreezeGuard(left, right)) == f"{named}, … and 6 more are {MOVED}"
    fact = failure(eagerly(model), torso.FreezeGuard(left, right), nudging(left), nudging(right, "stem"))
    assert fact == f"left/left/bias, right/stem/bias are {MOVED}"
    right.unfreeze(from_node="stem")
    before = values(left.model), values(right.model)
    fit(eagerly(model), torso.FreezeGuard(left, right))
    assert moved(left.model, before[0]) == []
    assert moved(right.model, before[1]) == ALL.split(", ")


class Scaled(keras.Model):  # type: ignore[misc]
    """Has a weight that none of its layers has."""

    def build(self, shape: Any) -> None:
        self.parts = [keras.layers.Identity(), self.add_weight(shape=(3,), initializer="ones", name="scale")]

    def call(self, pixels: Any) -> Any:
        return pixels * self.parts[1]


def test_weights_are_guarded_that_no_layer_has() -> None:
    scaled = Scaled(name="scaled")
    scaled.trainable = False
    model = eagerly(keras.Sequential([keras.Input((8, 8, 3)), scaled, keras.layers.Flatten(), keras.layers.Dense(1)]))
    change = Doing(lambda: nudge(scaled.weights[0]), after=2)
    assert failure(model, torso.FreezeGuard(scaled), change) == f"{scaled.weights[0].path} is {MOVED}"


def test_a_backbone_that_is_not_in_the_model_is_refused_before_the_first_step() -> None:
    backbone, count = tiny(), Doing()
    model = compiled(headed(keras.models.clone_model(backbone.model)))
    for given, guarded in (("backbone", backbone), ("model", backbone.model)):
        with pytest.raises(torso.OptionError) as caught:
            fit(model, count, torso.FreezeGuard(guarded))
        assert str(caught.value) == (
            f"{given} 'TinyNet' is not part of the model that is trained: stem/kernel is not in it\n"
            "  fix: guard the backbone that the model was built on; clone_model makes another one"
        )
    assert count.steps == 0


@pytest.mark.parametrize("given", [(), ([],), ("edge",)])
def test_a_guard_of_nothing_is_refused_when_it_is_made(given: tuple[Any, ...]) -> None:
    with pytest.raises(torso.OptionError) as caught:
        torso.FreezeGuard(*given)
    assert str(caught.value) == (
        "a FreezeGuard takes one or more backbones or Keras models\n"
        "  fix: torso.FreezeGuard(backbone), or torso.FreezeGuard(left, right) for several"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool"])
def test_values_of_any_type_and_shape_are_compared(dtype: str) -> None:
    for shape in (), (0, 3), (2, 3):
        variable = keras.Variable(np.ones(shape), dtype=dtype, trainable=False)
        hashed = guard._hashed([variable])
        assert guard._changed(hashed) == []
        variable.assign(np.zeros(shape))
        assert bool(guard._changed(hashed)) == (0 not in shape)
