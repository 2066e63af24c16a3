"""A run of ``fit`` fails where something frozen moves, or where Keras ignores what is to train; and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images, randomize, settle

import torso
from torso.modeling import freeze_guard as guard
from torso.modeling.variable_paths import variables_by_path
from torso.plugins.registry import Registry

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
PIXELS = images((8, 8, 3), count=8) / 255
TARGETS = np.arange(8, dtype="float32")[:, None]
STEPS = 4  # an epoch's
ALL = "stem/kernel, stem/bias, left/kernel, left/bias, right/kernel, right/bias"
MOVED = (
    "  cause: it was frozen after compile, which Keras ignores; or something else writes into it\n"
    "  fix: load the values anew, and compile the model again, with a new optimizer, after freezing"
)
IGNORED = (
    "  cause: trainable was changed after the optimizer was built, and Keras goes on with what it had\n"
    "  fix: compile the model again, with a new optimizer, then fit"
)
NONE_MOVED = IGNORED.replace("it had", "it had; or no gradient reaches them")
WOULD_MOVE = "  fix: let it train with backbone.unfreeze(...), or take back what was set to trainable"
LOOP = pytest.mark.parametrize("how", [{}, {"steps_per_execution": 2}, {"jit_compile": True}], ids=str)


def tiny(freeze: Any = "all", **spec: Any) -> torso.Backbone:
    registry = Registry.load(plugins_dirs=[TINY], discover=False)
    made = torso.create_backbone("TinyNet", weights="none", freeze=freeze, registry=registry, **spec)
    settle(made.model, images((8, 8, 3)))
    return made


def normed() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, use_bias=False, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(x), name="normed")
    settle(model, images((8, 8, 3)))
    return model


def headed(backbone: torso.Backbone | keras.Model) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    model = backbone if isinstance(backbone, keras.Model) else backbone.model
    return keras.Sequential([model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, name="head")])


def compiled(model: keras.Model, optimizer: Any = None, **how: Any) -> keras.Model:
    """For training at a rate that moves whatever can move, and keeps it finite."""
    model.compile(optimizer or keras.optimizers.SGD(1e-3), "mse", **how)
    return model


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


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> list[str]:
    return [path for path, value in values(model).items() if not np.array_equal(value, before[path])]


def nudge(variable: Any) -> None:
    """Change one number by one unit in its last place."""
    changed = np.array(variable)
    changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(np.inf))
    variable.assign(changed)


class Doing(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """Does something behind one step of one epoch, or behind the epoch; and counts the steps."""

    def __init__(self, act: Callable[[], Any] = lambda: None, *, epoch: int = 0, step: int | None = None) -> None:
        super().__init__()
        self.act, self.epoch, self.step = act, epoch, step
        self.steps = self.now = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if (self.now, batch) == (self.epoch, self.step):
            self.act()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch, None) == (self.epoch, self.step):
            self.act()


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time enough for a look before each step."""
    monkeypatch.setattr(guard, "SHARE", float("inf"))


@pytest.fixture
def look_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time for any."""
    monkeypatch.setattr(guard, "SHARE", 0.0)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Keras whose optimizers do not tell what they train."""
    monkeypatch.setattr(guard, "optimized", lambda optimizer: None)


# Healthy runs


def test_a_frozen_backbone_under_a_head_that_trains_is_no_alarm() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    before, head = values(backbone.model), np.array(model.layers[-1].kernel)
    fit(model, torso.FreezeGuard(backbone), epochs=2)
    assert moved(backbone.model, before) == []
    assert not np.array_equal(model.layers[-1].kernel, head)


@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=str)
def test_two_phases_with_one_guard_are_no_alarm(how: dict[str, Any]) -> None:
    backbone = tiny()
    guarded, model = torso.FreezeGuard(backbone), headed(backbone)
    fit(compiled(model, **how), guarded)
    backbone.unfreeze(from_node="stem")
    before = values(backbone.model)
    fit(compiled(model, **how), guarded, epochs=2)
    assert moved(backbone.model, before) == ALL.split(", ")
    nudge(backbone.model.get_layer("left").bias)  # between two runs, the values are the user's
    fit(model, guarded)


OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "averages in the end": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1, use_ema=True, ema_momentum=0.5),
    "averages in the run": lambda: keras.optimizers.SGD(1e-3, use_ema=True, ema_overwrite_frequency=1),
    "momentum and decay": lambda: keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=0.1),
    "plain": lambda: keras.optimizers.Adam(1e-3),
}
POLICIES = ["all", "none", {"through": "C1"}, {"last": 1}, "norm_only", "adapt_norm"]


def healthy(network: str, level: str, policy: Any, optimizer: str, **how: Any) -> None:
    """What moves in a guarded run is what the report says, to the last variable."""
    backbone = torso.create_backbone(
        network, weights="none", input={"size": [32, 32]}, truncate={"level": level}, freeze=policy
    )
    pixels = images((32, 32, 3), count=8)
    settle(backbone.model, pixels)
    before = values(backbone.model)
    model = compiled(headed(backbone), OPTIMIZERS[optimizer](), **how)
    fit(model, torso.FreezeGuard(backbone), x=backbone.preprocess(pixels).numpy(), batch_size=8, epochs=2)
    report = backbone.manifest["frozen"]
    found, allowed = set(moved(backbone.model, before)), {*report["trains"], *report["adapts"]}
    assert found <= allowed
    assert len(found) >= 0.95 * len(allowed)  # an offset before the next normalisation has no gradient
    assert bool(report["trains"]) == (policy not in ("all", "adapt_norm"))
    assert bool(report["adapts"]) == (policy in ("none", "norm_only", "adapt_norm"))


@pytest.mark.parametrize(("policy", "optimizer"), list(zip(POLICIES, [*OPTIMIZERS, *OPTIMIZERS], strict=False)), ids=str)
def test_no_freeze_policy_is_an_alarm(policy: Any, optimizer: str) -> None:
    healthy("EfficientNetB0", "C2", policy, optimizer, run_eagerly=True)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize(("network", "level"), [("MobileNetV2", "C2"), ("EfficientNetB0", "C2")])
def test_no_freeze_policy_with_any_optimizer_is_an_alarm(network: str, level: str, policy: Any, optimizer: str) -> None:
    healthy(network, level, policy, optimizer)


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
    backbone = tiny({"through": "joined"})
    count = Doing()
    best = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=1e9, restore_best_weights=True)  # the first epoch
    held_out = PIXELS, TARGETS
    fit(compiled(headed(backbone)), torso.FreezeGuard(backbone), best, count, epochs=9, validation_data=held_out)
    assert count.steps == 2 * STEPS  # stopped, and set back


def test_a_model_with_nothing_frozen_is_no_alarm(look_always: None) -> None:
    backbone = tiny("none")
    before = values(backbone.model)
    fit(compiled(headed(backbone)), torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == ALL.split(", ")


@pytest.mark.parametrize(("rate", "epochs"), [(0.0, 1), (1e-3, 0)])
def test_a_run_in_which_nothing_can_move_is_no_alarm(untold: None, rate: float, epochs: int) -> None:
    backbone = tiny("none")
    before = values(backbone.model)
    fit(compiled(headed(backbone), keras.optimizers.SGD(rate)), torso.FreezeGuard(backbone), epochs=epochs)
    assert moved(backbone.model, before) == []


def halved(backbone: Callable[[], torso.Backbone]) -> tuple[torso.Backbone, keras.Model]:
    """A backbone and a model around it that compute in half precision."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        made = backbone()
        model = headed(made)
    finally:
        keras.config.set_dtype_policy("float32")
    inner = keras.optimizers.SGD(1e-3)
    return made, compiled(model, keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0))


@pytest.mark.parametrize("largest", [1.0, 1e6])
def test_half_precision_and_the_steps_that_it_leaves_out_are_no_alarm(untold: None, largest: float) -> None:
    backbone, model = halved(lambda: tiny("none"))
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone), x=PIXELS * largest)
    assert bool(moved(backbone.model, before)) == (largest == 1)


def test_a_layer_that_trains_may_keep_a_count_of_its_own_and_a_frozen_one_may_not() -> None:
    class Counting(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, pixels: Any) -> Any:
            self.count.assign_add(1.0)
            return pixels * self.scale

    backbone = keras.Sequential([keras.Input((8, 8, 3)), Counting(name="counting")])
    model = headed(backbone)
    fit(compiled(model), torso.FreezeGuard(backbone))
    assert float(backbone.layers[0].count) == STEPS
    backbone.trainable = False
    fact = failure(compiled(model), torso.FreezeGuard(backbone))
    assert fact == f"counting/count is frozen, and moved in training\n{MOVED}"


# What is frozen moves


@LOOP
def test_what_was_frozen_between_two_runs_without_a_compile_is_told_after_one_step(how: dict[str, Any]) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), **how)
    fit(model)
    backbone.model.trainable = False
    before, count = values(backbone.model), Doing()
    assert failure(model, count, torso.FreezeGuard(backbone)) == f"{ALL} are frozen, and moved in training\n{MOVED}"
    assert (count.steps, moved(backbone.model, before)) == (1, ALL.split(", "))


def test_statistics_that_were_frozen_without_a_compile_are_told_too() -> None:
    model = compiled(headed(normed()))
    fit(model)
    model.layers[0].trainable = False
    assert failure(model, torso.FreezeGuard(model.layers[0])) == (
        "conv/kernel, norm/gamma, norm/beta, norm/moving_mean, norm/moving_variance are frozen, and moved in training\n"
        f"{MOVED}"
    )


@pytest.mark.parametrize("eager", [False, True])
def test_keras_heeds_what_is_frozen_before_the_first_step_or_where_it_runs_eagerly(eager: bool) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), run_eagerly=eager)
    if eager:
        fit(model)
    backbone.model.trainable = False
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


@pytest.mark.parametrize("path", ["stem/kernel", "right/bias"])
def test_one_bit_that_something_else_changes_is_found_in_the_run(look_always: None, path: str) -> None:
    backbone = tiny()
    change = Doing(lambda: nudge(variables_by_path(backbone.model)[path]), step=1)
    fact = failure(compiled(headed(backbone)), torso.FreezeGuard(backbone), change, epochs=5)
    assert fact == f"{path} is frozen, and moved in training\n{MOVED}"
    assert change.steps <= 2 + len(ALL.split(", "))  # one variable a step


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_one_bit_that_something_else_changes_is_found_in_the_end_at_the_latest(look_never: None, step: int) -> None:
    backbone = tiny()
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), epoch=1, step=step)
    fact = failure(compiled(headed(backbone)), change, torso.FreezeGuard(backbone), epochs=2)
    assert fact == f"left/bias is frozen, and moved in training\n{MOVED}"
    assert change.steps == 2 * STEPS


def test_a_run_of_one_step_is_looked_at_too() -> None:
    backbone = tiny()
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), step=0)
    fact = failure(compiled(headed(backbone)), change, torso.FreezeGuard(backbone), batch_size=8)
    assert (fact, change.steps) == (f"left/bias is frozen, and moved in training\n{MOVED}", 1)


def test_scale_and_offset_stand_still_where_the_statistics_adapt() -> None:
    backbone = torso.create_backbone(
        "MobileNet",
        options={"alpha": 0.25},
        weights="none",
        input={"size": [32, 32]},
        truncate={"level": "C1"},
        freeze="adapt_norm",
    )
    settle(backbone.model, images((32, 32, 3)))
    change = Doing(lambda: nudge(backbone.model.get_layer("conv1_bn").gamma), step=1)
    model = compiled(headed(backbone), run_eagerly=True)
    fact = failure(model, torso.FreezeGuard(backbone), change, x=images((32, 32, 3), count=8))
    assert fact == f"conv1_bn/gamma is frozen, and moved in training\n{MOVED}"


def test_averages_of_an_optimizer_that_was_made_for_what_is_frozen_now_are_found() -> None:
    backbone = tiny("none")
    optimizer = keras.optimizers.SGD(1e-3, use_ema=True, ema_overwrite_frequency=1)
    model = headed(backbone)
    fit(compiled(model, optimizer))
    randomize(backbone.model, seed=2)  # other values than those that were averaged
    backbone.model.trainable = False
    fact = failure(compiled(model, optimizer), torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are frozen, and moved in training\n{MOVED}"


def test_an_optimizer_that_was_made_for_what_is_frozen_now_is_no_alarm() -> None:
    backbone = tiny("none")
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    model = headed(backbone)
    fit(compiled(model, optimizer))
    backbone.model.trainable = False
    before = values(backbone.model)
    fit(compiled(model, optimizer), torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


# What is to train does not


def test_an_unfreeze_without_a_compile_is_told_before_the_first_step() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    fit(model)
    backbone.unfreeze(from_node="stem")
    before = values(model)
    fact = failure(model, torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"
    assert moved(model, before) == []


def test_an_unfreeze_without_a_compile_is_told_in_half_precision_too() -> None:
    backbone, model = halved(tiny)
    fit(model)
    backbone.unfreeze(from_node="stem")
    fact = failure(model, torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"


def test_an_unfreeze_without_a_compile_is_told_in_the_end_where_optimizers_do_not_tell(untold: None) -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    fit(model)
    backbone.unfreeze(from_node="stem")
    count = Doing()
    assert failure(model, torso.FreezeGuard(backbone), count) == f"{ALL} are to train, and none has moved\n{NONE_MOVED}"
    assert count.steps == STEPS


def test_an_unfreeze_of_a_model_that_was_frozen_as_a_whole_is_told_in_the_end() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(compiled(model))
    backbone.unfreeze(from_node="stem")
    model.trainable = True
    assert failure(model, torso.FreezeGuard(backbone)) == f"{ALL} are to train, and none has moved\n{NONE_MOVED}"


def test_an_unfreeze_without_a_compile_is_told_in_the_end_where_the_optimizer_was_made_for_it_before() -> None:
    backbone = tiny("none")
    optimizer = keras.optimizers.SGD(1e-3)
    model = headed(backbone)
    fit(compiled(model, optimizer))
    backbone.model.trainable = False
    fit(compiled(model, optimizer))
    backbone.unfreeze(from_node="stem")
    assert failure(model, torso.FreezeGuard(backbone)) == f"{ALL} are to train, and none has moved\n{NONE_MOVED}"


def test_keras_heeds_an_unfreeze_before_the_first_step() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    backbone.unfreeze(from_node="stem")
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone), epochs=2)
    assert moved(backbone.model, before) == ALL.split(", ")


def test_an_unfreeze_with_the_old_optimizer_is_told_before_keras_fails() -> None:
    backbone = tiny()
    optimizer = keras.optimizers.SGD(1e-3)
    model = compiled(headed(backbone), optimizer)
    fit(model)
    backbone.unfreeze(from_node="stem")
    fact = failure(compiled(model, optimizer), torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"


def test_keras_heeds_what_is_frozen_before_the_first_step_of_an_optimizer_that_is_built() -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone))
    model.optimizer.build(model.trainable_variables)
    backbone.model.trainable = False
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


# What is frozen would move


def test_a_model_that_is_set_to_trainable_around_a_frozen_backbone_is_told_before_the_first_step() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    model.trainable = True
    before = values(model)
    fact = failure(compiled(model), torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are frozen in backbone 'TinyNet', and would move in this run\n{WOULD_MOVE}"
    assert moved(model, before) == []


def test_statistics_that_are_set_to_trainable_are_told_before_the_first_step() -> None:
    registry = Registry.load(discover=False)
    backbone = torso.create_backbone(
        "MobileNet", weights="none", input={"size": [32, 32]}, truncate={"layer": "conv1_relu"}, registry=registry
    )
    norm = backbone.model.get_layer("conv1_bn")
    norm.trainable = True
    norm.gamma.trainable = norm.beta.trainable = False
    fact = failure(compiled(headed(backbone)), torso.FreezeGuard(backbone), x=images((32, 32, 3), count=8))
    assert fact == (
        "conv1_bn/moving_mean, conv1_bn/moving_variance are frozen in backbone 'MobileNet', and would move in this run\n"
        f"{WOULD_MOVE}"
    )


def test_what_the_user_freezes_beside_the_policy_is_guarded(look_always: None) -> None:
    backbone = tiny({"through": "stem"})
    backbone.model.get_layer("left").trainable = False
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), step=0)
    fact = failure(compiled(headed(backbone)), torso.FreezeGuard(backbone), change, epochs=3)
    assert fact == f"left/bias is frozen, and moved in training\n{MOVED}"


def test_a_flag_within_a_model_that_is_frozen_as_a_whole_is_no_alarm() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    backbone.model.trainable = True
    assert model.trainable_variables == []
    before = values(backbone.model)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(compiled(model), torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


# What trains is changed in the run


@pytest.mark.parametrize(("given", "act"), [("backbone", "freeze"), ("backbone", "unfreeze"), ("model", "freeze")])
def test_what_trains_is_changed_between_epochs_by_another_callback(look_never: None, given: str, act: str) -> None:
    backbone = tiny("none" if act == "freeze" else "all")
    model = compiled(headed(backbone))

    def change() -> None:
        backbone.model.trainable = act == "unfreeze"
        for layer in backbone.model.layers:
            layer.trainable = act == "unfreeze"

    changing = Doing(change, epoch=1)
    guarded = torso.FreezeGuard(backbone if given == "backbone" else backbone.model)
    fact = failure(model, guarded, changing, epochs=5)
    assert fact == f"trainable of {ALL} was changed in the middle of the run\n{IGNORED}"
    assert changing.steps == 2 * STEPS


def test_what_trains_is_changed_in_an_epoch_that_does_not_end(look_always: None) -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    changing = Doing(lambda: setattr(model.layers[-1], "trainable", False), step=1)  # not the backbone's, and ignored alike
    fact = failure(model, torso.FreezeGuard(backbone), changing)
    kernel, bias = (variable.path for variable in model.layers[-1].variables)
    assert fact == f"trainable of {kernel}, {bias} was changed in the middle of the run\n{IGNORED}"
    assert changing.steps == 2


def test_what_trains_may_be_changed_behind_the_last_step_for_the_next_run(look_always: None) -> None:
    backbone = tiny()
    unfreezing = Doing(lambda: backbone.unfreeze(from_node="stem"))
    model = compiled(headed(backbone))
    fit(model, unfreezing, torso.FreezeGuard(backbone))
    fit(compiled(model), torso.FreezeGuard(backbone))


@pytest.mark.parametrize("eager", [False, True])
def test_what_trains_may_be_changed_where_keras_is_told(look_always: None, eager: bool) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), run_eagerly=eager)
    during: list[dict[str, np.ndarray]] = []

    def freeze() -> None:
        for layer in backbone.model.layers:
            layer.trainable = False
        if not eager:
            model.make_train_function(force=True)
        during.append(values(backbone.model))

    fit(model, torso.FreezeGuard(backbone), Doing(freeze), epochs=3)
    assert moved(backbone.model, during[0]) == []


def test_what_keras_was_told_before_the_change_is_no_excuse() -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone))
    telling = Doing(lambda: model.make_train_function(force=True))
    changing = Doing(lambda: setattr(backbone.model, "trainable", False), epoch=1)
    fact = failure(model, torso.FreezeGuard(backbone), telling, changing, epochs=3)
    assert fact == f"trainable of {ALL} was changed in the middle of the run\n{IGNORED}"


def test_what_was_frozen_in_the_run_is_guarded_from_there_on() -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone))

    def freeze() -> None:
        backbone.model.get_layer("left").trainable = False
        model.make_train_function(force=True)

    changing = Doing(lambda: nudge(backbone.model.get_layer("left").bias), epoch=2, step=0)
    fact = failure(model, torso.FreezeGuard(backbone), Doing(freeze), changing, epochs=3)
    assert fact == f"left/bias is frozen, and moved in training\n{MOVED}"


def test_what_moved_before_the_change_is_told(look_never: None) -> None:
    backbone = tiny({"through": "stem"})
    model = compiled(headed(backbone))

    def change() -> None:
        nudge(backbone.model.get_layer("stem").bias)
        backbone.model.get_layer("left").trainable = False
        model.make_train_function(force=True)

    changing = Doing(change)
    fact = failure(model, torso.FreezeGuard(backbone), changing, epochs=2)
    assert (fact, changing.steps) == (f"stem/bias is frozen, and moved in training\n{MOVED}", STEPS)


def test_an_unfreeze_in_the_run_needs_an_optimizer_that_knows_of_it() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))

    def unfreeze() -> None:
        backbone.unfreeze(from_node="stem")
        model.make_train_function(force=True)

    fact = failure(model, torso.FreezeGuard(backbone), Doing(unfreeze), epochs=2)
    assert fact == f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"


@pytest.mark.parametrize("when", ["on_train_begin", "on_epoch_begin"])
def test_a_callback_that_freezes_before_the_first_step_is_heeded(look_always: None, when: str) -> None:
    backbone = tiny("none")
    freezing = keras.callbacks.LambdaCallback(**{when: lambda *_: setattr(backbone.model, "trainable", False)})
    before = values(backbone.model)
    fit(compiled(headed(backbone)), torso.FreezeGuard(backbone), freezing)
    assert moved(backbone.model, before) == []


@pytest.mark.parametrize("when", ["on_train_begin", "on_epoch_begin"])
def test_a_callback_that_freezes_before_the_first_step_of_a_second_run_is_not(when: str) -> None:
    backbone, count = tiny("none"), Doing()
    freezing = keras.callbacks.LambdaCallback(**{when: lambda *_: setattr(backbone.model, "trainable", False)})
    model = compiled(headed(backbone))
    fit(model)
    fact = failure(model, torso.FreezeGuard(backbone), freezing, count)
    assert fact == f"trainable of {ALL} was changed in the middle of the run\n{IGNORED}"
    assert count.steps == 0


def test_a_run_that_is_interrupted_leaves_nothing_behind() -> None:
    backbone = tiny()
    guarded = torso.FreezeGuard(backbone)

    def interrupt() -> None:
        raise KeyboardInterrupt

    model = compiled(headed(backbone))
    with pytest.raises(KeyboardInterrupt):
        fit(model, guarded, Doing(interrupt, step=1))
    randomize(backbone.model, seed=2)  # values of another checkpoint
    fit(model, guarded)
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), step=1)
    assert failure(model, guarded, change) == f"left/bias is frozen, and moved in training\n{MOVED}"


# What is guarded


def wrap_functional(model: keras.Model) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, model(inputs), name="wrapped")


def wrap_sequential(model: keras.Model) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1.0), model], name="wrapped")


@pytest.mark.parametrize("wrap", [lambda model: model, wrap_functional, wrap_sequential, keras.Sequential])
def test_a_backbone_is_guarded_wherever_it_stands(wrap: Callable[[Any], keras.Model]) -> None:
    backbone = tiny()
    nested = wrap([backbone.model]) if wrap is keras.Sequential else wrap(backbone.model)
    model = compiled(headed(nested), run_eagerly=True)
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), step=1)
    assert failure(model, torso.FreezeGuard(backbone), change) == f"left/bias is frozen, and moved in training\n{MOVED}"


def test_two_backbones_are_told_apart_by_their_names() -> None:
    left, right = tiny(name="left"), tiny(name="right")
    pixels = keras.Input((8, 8, 3))
    both = keras.layers.Concatenate()([left.model(pixels), right.model(pixels)])
    model = compiled(headed(keras.Model(pixels, both)))

    def change() -> None:
        nudge(left.model.get_layer("left").bias)
        nudge(right.model.get_layer("stem").kernel)

    assert failure(model, torso.FreezeGuard(left, right), Doing(change)) == (
        f"left/left/bias, right/stem/kernel are frozen, and moved in training\n{MOVED}"
    )
    left.model.trainable = True
    for part in ("left", "right"):
        left.model.get_layer(part).trainable = False
    assert failure(compiled(model), torso.FreezeGuard(right, left)) == (
        f"left/stem/kernel, left/stem/bias are frozen in backbone 'left', and would move in this run\n{WOULD_MOVE}"
    )


def test_two_backbones_of_one_name_are_guarded_both() -> None:
    one, other = tiny(), tiny()
    pixels = keras.Input((8, 8, 3))
    parts = [wrap_functional(one.model), wrap_sequential(other.model)]
    parts[0].name = "first"
    model = compiled(headed(keras.Model(pixels, keras.layers.Add()([part(pixels) for part in parts]))), run_eagerly=True)
    for backbone in (one, other):
        change = Doing(lambda backbone=backbone: nudge(backbone.model.get_layer("left").bias), step=1)
        fact = failure(model, torso.FreezeGuard(one, other), change)
        assert fact == f"TinyNet/left/bias is frozen, and moved in training\n{MOVED}"


def test_one_backbone_of_two_may_train() -> None:
    still, learning = tiny(name="still"), tiny("none", name="learning")
    pixels = keras.Input((8, 8, 3))
    model = headed(keras.Model(pixels, keras.layers.Add()([still.model(pixels), learning.model(pixels)])))
    before = values(still.model), values(learning.model)
    fit(compiled(model), torso.FreezeGuard(still, learning))
    assert moved(still.model, before[0]) == []
    assert moved(learning.model, before[1]) == ALL.split(", ")


def test_weights_that_a_layer_calls_alike_are_all_guarded() -> None:
    class Pair(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.parts = [keras.layers.Dense(2, name="same"), keras.layers.Dense(2, name="same")]

        def call(self, pixels: Any) -> Any:
            return self.parts[1](self.parts[0](pixels))

    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, Pair(name="pair")(inputs), name="pairs")
    backbone.trainable = False
    change = Doing(lambda: nudge(backbone.get_layer("pair").parts[1].kernel), step=1)
    fact = failure(compiled(headed(backbone), run_eagerly=True), torso.FreezeGuard(backbone), change)
    assert fact == f"pair/same/kernel:1 is frozen, and moved in training\n{MOVED}"


def test_a_part_of_a_backbone_that_is_in_the_model_is_guarded() -> None:
    backbone = tiny()
    part = keras.Model(backbone.model.input, backbone.model.get_layer("left").output)
    model = compiled(headed(part), run_eagerly=True)
    fit(model, torso.FreezeGuard(backbone))
    change = Doing(lambda: nudge(backbone.model.get_layer("left").bias), step=1)
    assert failure(model, torso.FreezeGuard(backbone), change) == f"left/bias is frozen, and moved in training\n{MOVED}"


@pytest.mark.parametrize("given", ["backbone", "model"])
def test_a_backbone_that_is_not_in_the_model_is_refused_before_the_first_step(given: str) -> None:
    backbone = tiny()
    model = compiled(headed(keras.models.clone_model(backbone.model)))
    count = Doing()
    with pytest.raises(torso.OptionError) as caught:
        fit(model, count, torso.FreezeGuard(backbone if given == "backbone" else backbone.model))
    assert str(caught.value) == (
        f"{given} 'TinyNet' is not part of the model that is trained: stem/kernel is not in it\n"
        "  fix: guard the backbone that the model was built on; clone_model makes another one"
    )
    assert count.steps == 0


def test_a_weight_that_no_layer_of_a_model_has_is_guarded() -> None:
    class Scaled(keras.Model):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

        def call(self, pixels: Any) -> Any:
            return pixels * self.scale

    scaled = Scaled(name="scaled")
    scaled.trainable = False
    model = compiled(keras.Sequential([keras.Input((8, 8, 3)), scaled, keras.layers.Flatten(), keras.layers.Dense(1)]))
    fit(model, torso.FreezeGuard(scaled))
    change = Doing(lambda: nudge(scaled.scale), step=1)
    fact = failure(model, torso.FreezeGuard(scaled), change)
    assert fact == f"{scaled.scale.path} is frozen, and moved in training\n{MOVED}"


@pytest.mark.slow
def test_a_loaded_backbone_is_guarded(tmp_path: Path) -> None:
    saved = tiny({"through": "stem"})
    saved.save(tmp_path / "edge")
    backbone = torso.load(tmp_path / "edge")
    model = compiled(headed(backbone), run_eagerly=True)
    fit(model, torso.FreezeGuard(backbone))
    change = Doing(lambda: nudge(backbone.model.get_layer("stem").bias), step=1)
    assert failure(model, torso.FreezeGuard(backbone), change) == f"stem/bias is frozen, and moved in training\n{MOVED}"


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ((), "a FreezeGuard needs a backbone to guard"),
        (([],), "a FreezeGuard guards backbones and Keras models, not a list"),
        (("edge",), "a FreezeGuard guards backbones and Keras models, not a str"),
    ],
)
def test_a_guard_of_nothing_is_refused_when_it_is_made(given: tuple[Any, ...], fact: str) -> None:
    with pytest.raises(torso.OptionError) as caught:
        torso.FreezeGuard(*given)
    assert str(caught.value) == f"{fact}\n  fix: torso.FreezeGuard(backbone), or torso.FreezeGuard(left, right) for several"


def test_an_error_names_six_variables_and_counts_the_others() -> None:
    left, right = tiny("none", name="left"), tiny("none", name="right")
    pixels = keras.Input((8, 8, 3))
    model = compiled(headed(keras.Model(pixels, keras.layers.Add()([left.model(pixels), right.model(pixels)]))))
    fit(model)
    left.model.trainable = right.model.trainable = False
    named = ", ".join(f"left/{path}" for path in ALL.split(", "))
    assert failure(model, torso.FreezeGuard(left, right)) == (
        f"{named}, … and 6 more are frozen, and moved in training\n{MOVED}"
    )


# What it takes


def test_the_looks_between_the_steps_take_no_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which a step takes fifty seconds and a look one: a look fits in every fourth step."""
    now = [0.0]
    looks: list[tuple[int, str]] = []
    count = Doing()

    def look(watched: guard._Watched) -> bytes:
        now[0] += 1
        looks.append((count.steps, watched.path))
        watched.seconds = 1.0
        return b""

    class Ticking(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now[0] += 50

    monkeypatch.setattr(guard, "perf_counter", lambda: now[0])
    monkeypatch.setattr(guard._Watched, "_look", look)
    backbone = tiny()
    fit(compiled(headed(backbone)), torso.FreezeGuard(backbone), count, Ticking(), epochs=5)
    assert [look for look in looks if 0 < look[0] < 5 * STEPS] == [
        (5, "stem/kernel"),
        (9, "stem/bias"),
        (13, "left/kernel"),
        (17, "left/bias"),
    ]
    assert [path for steps, path in looks if steps == 5 * STEPS] == ALL.split(", ")


def test_how_long_a_look_takes_is_measured_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(guard, "perf_counter", lambda: now[0])

    class Slow:
        def numpy(self) -> np.ndarray:
            now[0] += self.seconds
            return np.zeros((), "float32")

        seconds = 2.0

    variable = Slow()
    watched = guard._Watched("slow", variable)
    assert watched.seconds == 2
    variable.seconds = 3.0
    assert not watched.moved()
    assert watched.seconds == 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_values_of_any_type_and_shape_are_looked_at(dtype: str, shape: tuple[int, ...]) -> None:
    variable = keras.Variable(np.ones(shape), dtype=dtype, trainable=False)
    watched = guard._Watched("any", variable)
    assert not watched.moved()
    variable.assign(np.zeros(shape))
    assert watched.moved() == (0 not in shape)
