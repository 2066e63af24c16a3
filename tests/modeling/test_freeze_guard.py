"""A run of ``fit`` fails where a frozen variable changes, or where Keras ignores what is to train; and nowhere else."""

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
REGISTRY = Registry.load(plugins_dirs=[TINY], discover=False)
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
LEFT_BIAS = f"left/bias is frozen, and moved in training\n{MOVED}"
CHANGED = f"{ALL} are frozen or unfrozen in the middle of the run\n{IGNORED}"
UNKNOWN = f"{ALL} are to train, and the optimizer does not know of that\n{IGNORED}"
NONE = f"{ALL} are to train, and none has moved\n{NONE_MOVED}"


def tiny(freeze: Any = "all", **spec: Any) -> torso.Backbone:
    made = torso.create_backbone("TinyNet", weights="none", freeze=freeze, registry=REGISTRY, **spec)
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


def nudging(backbone: torso.Backbone, layer: str = "left", **when: Any) -> Doing:
    """Changes one bit of the offset of a layer."""
    return Doing(lambda: nudge(backbone.model.get_layer(layer).bias), **when)


class Doing(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """Does something after one step of one epoch, or after the epoch; and counts the steps."""

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


@pytest.mark.parametrize(
    "how", [pytest.param({"run_eagerly": True}, marks=pytest.mark.slow), {"steps_per_execution": 2}], ids=str
)
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
HEALTHY = [
    *(("MobileNet", "C1", policy, optimizer) for policy, optimizer in zip(POLICIES[::-1][:2], OPTIMIZERS, strict=False)),
    *(
        pytest.param(network, "C2", policy, optimizer, marks=pytest.mark.slow)
        for network in ("MobileNetV2", "EfficientNetB0")
        for policy in POLICIES
        for optimizer in OPTIMIZERS
    ),
]


@pytest.mark.parametrize(("network", "level", "policy", "optimizer"), HEALTHY, ids=str)
def test_no_freeze_policy_with_any_optimizer_is_an_alarm(network: str, level: str, policy: Any, optimizer: str) -> None:
    backbone = torso.create_backbone(
        network, weights="none", input={"size": [32, 32]}, truncate={"level": level}, freeze=policy, registry=REGISTRY
    )
    pixels = images((32, 32, 3), count=8)
    settle(backbone.model, pixels)
    before = values(backbone.model)
    model = compiled(headed(backbone), OPTIMIZERS[optimizer](), run_eagerly=level == "C1")
    fit(model, torso.FreezeGuard(backbone), x=backbone.preprocess(pixels).numpy(), batch_size=8, epochs=2)
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
    fit(compiled(headed(backbone)), torso.FreezeGuard(backbone), best, count, epochs=9, validation_data=held_out)
    assert count.steps == 2 * STEPS  # stopped, and set back


@pytest.mark.parametrize(("rate", "epochs"), [(0.0, 1), (1e-3, 0)])
def test_a_run_in_which_nothing_can_move_is_no_alarm(untold: None, rate: float, epochs: int) -> None:
    backbone = tiny("none")
    before = values(backbone.model)
    fit(compiled(headed(backbone), keras.optimizers.SGD(rate)), torso.FreezeGuard(backbone), epochs=epochs)
    assert moved(backbone.model, before) == []


def halved(freeze: str) -> tuple[torso.Backbone, keras.Model]:
    """A backbone and a model around it that compute in half precision."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        made = tiny(freeze)
        model = headed(made)
    finally:
        keras.config.set_dtype_policy("float32")
    inner = keras.optimizers.SGD(1e-3)
    return made, compiled(model, keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0))


@pytest.mark.parametrize("largest", [1.0, 1e6])
def test_half_precision_and_the_steps_that_it_leaves_out_are_no_alarm(untold: None, largest: float) -> None:
    backbone, model = halved("none")
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


@pytest.mark.parametrize(
    "how", [{}, {"steps_per_execution": 2}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow)], ids=str
)
def test_what_was_frozen_between_two_runs_without_a_compile_fails_after_one_step(how: dict[str, Any]) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), **how)
    fit(model)
    backbone.model.trainable = False
    before, count = values(backbone.model), Doing()
    assert failure(model, count, torso.FreezeGuard(backbone)) == f"{ALL} are frozen, and moved in training\n{MOVED}"
    assert (count.steps, moved(backbone.model, before)) == (1, ALL.split(", "))


def test_statistics_that_were_frozen_without_a_compile_fail_too() -> None:
    model = compiled(headed(normed()))
    fit(model)
    model.layers[0].trainable = False
    assert failure(model, torso.FreezeGuard(model.layers[0])) == (
        "conv/kernel, norm/gamma, norm/beta, norm/moving_mean, norm/moving_variance are frozen, and moved in training\n"
        f"{MOVED}"
    )


@pytest.mark.parametrize("when", ["before the first step", "eagerly", "after the optimizer is built"])
def test_what_keras_heeds_is_no_alarm(when: str) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), run_eagerly=when == "eagerly")
    if when == "eagerly":
        fit(model)
    elif when == "after the optimizer is built":
        model.optimizer.build(model.trainable_variables)
    backbone.model.trainable = False
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_one_bit_that_something_else_changes_is_found_at_the_end_of_the_epoch(step: int) -> None:
    backbone = tiny()
    change = nudging(backbone, epoch=1, step=step)
    assert failure(compiled(headed(backbone)), change, torso.FreezeGuard(backbone), epochs=3) == LEFT_BIAS
    assert change.steps == 2 * STEPS


def test_a_run_of_one_step_is_compared_too() -> None:
    backbone = tiny()
    change = nudging(backbone, step=0)
    assert failure(compiled(headed(backbone)), change, torso.FreezeGuard(backbone), batch_size=8) == LEFT_BIAS
    assert change.steps == 1


def test_scale_and_offset_stand_still_where_the_statistics_adapt() -> None:
    backbone = torso.create_backbone(
        "MobileNet", options={"alpha": 0.25}, weights="none", input={"size": [32, 32]}, truncate={"level": "C1"},
        freeze="adapt_norm",
    )  # fmt: skip
    settle(backbone.model, images((32, 32, 3)))
    change = Doing(lambda: nudge(backbone.model.get_layer("conv1_bn").gamma), step=1)
    model = compiled(headed(backbone), run_eagerly=True)
    fact = failure(model, torso.FreezeGuard(backbone), change, x=images((32, 32, 3), count=8))
    assert fact == f"conv1_bn/gamma is frozen, and moved in training\n{MOVED}"


@pytest.mark.parametrize("averages", [True, False])
def test_an_optimizer_that_was_made_for_what_is_frozen_now_may_write_averages_into_it(averages: bool) -> None:
    backbone = tiny("none")
    more: dict[str, Any] = {"use_ema": True, "ema_overwrite_frequency": 1} if averages else {"momentum": 0.9}
    optimizer = keras.optimizers.SGD(1e-3, **more)
    model = headed(backbone)
    fit(compiled(model, optimizer))
    randomize(backbone.model, seed=2)  # other values than those that were averaged
    backbone.model.trainable = False
    if averages:
        fact = failure(compiled(model, optimizer), torso.FreezeGuard(backbone))
        assert fact == f"{ALL} are frozen, and moved in training\n{MOVED}"
    else:
        fit(compiled(model, optimizer), torso.FreezeGuard(backbone))


# What is to train does not


@pytest.mark.parametrize("way", ["plain", "half precision", "old optimizer", "untold"])
def test_an_unfreeze_that_the_optimizer_does_not_know_of_fails(way: str, request: pytest.FixtureRequest) -> None:
    if way == "untold":
        request.getfixturevalue("untold")
    backbone, count = tiny(), Doing()
    optimizer = keras.optimizers.SGD(1e-3)
    model = compiled(headed(backbone), optimizer)
    if way == "half precision":
        backbone, model = halved("all")
    fit(model)
    backbone.unfreeze(from_node="stem")
    if way == "old optimizer":
        compiled(model, optimizer)  # Keras itself would fail in the first step
    fact = failure(model, torso.FreezeGuard(backbone), count)
    assert (fact, count.steps) == ((NONE, STEPS) if way == "untold" else (UNKNOWN, 0))


def test_an_unfreeze_of_a_model_that_was_frozen_as_a_whole_fails_at_the_end() -> None:
    backbone = tiny()
    model = headed(backbone)
    model.trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(compiled(model))
    backbone.unfreeze(from_node="stem")
    model.trainable = True
    assert failure(model, torso.FreezeGuard(backbone)) == NONE


def test_an_unfreeze_without_a_compile_fails_at_the_end_where_the_optimizer_was_made_for_it_before() -> None:
    backbone = tiny("none")
    optimizer = keras.optimizers.SGD(1e-3)
    model = headed(backbone)
    fit(compiled(model, optimizer))
    backbone.model.trainable = False
    fit(compiled(model, optimizer))
    backbone.unfreeze(from_node="stem")
    assert failure(model, torso.FreezeGuard(backbone)) == NONE


def test_keras_heeds_an_unfreeze_before_the_first_step() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    backbone.unfreeze(from_node="stem")
    before = values(backbone.model)
    fit(model, torso.FreezeGuard(backbone), epochs=2)
    assert moved(backbone.model, before) == ALL.split(", ")


# What is frozen would move


def test_a_model_that_is_set_to_trainable_around_a_frozen_backbone_fails_before_the_first_step() -> None:
    backbone, count = tiny(), Doing()
    model = headed(backbone)
    model.trainable = False
    model.trainable = True
    fact = failure(compiled(model), count, torso.FreezeGuard(backbone))
    assert fact == f"{ALL} are frozen in backbone 'TinyNet', and would move in this run\n{WOULD_MOVE}"
    assert count.steps == 0


def test_statistics_that_are_set_to_trainable_fail_before_the_first_step() -> None:
    backbone = torso.create_backbone(
        "MobileNet", weights="none", input={"size": [32, 32]}, truncate={"layer": "conv1_relu"}, registry=REGISTRY
    )
    norm = backbone.model.get_layer("conv1_bn")
    norm.trainable = True
    norm.gamma.trainable = norm.beta.trainable = False
    fact = failure(compiled(headed(backbone)), torso.FreezeGuard(backbone), x=images((32, 32, 3), count=8))
    assert fact == (
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
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(compiled(model), torso.FreezeGuard(backbone))
    assert moved(backbone.model, before) == []


# What trains is changed in the run


@pytest.mark.parametrize(
    ("given", "act"),
    [("backbone", "freeze"), ("backbone", "unfreeze"), pytest.param("model", "freeze", marks=pytest.mark.slow)],
)
def test_what_trains_is_changed_between_epochs_by_another_callback(given: str, act: str) -> None:
    backbone = tiny("none" if act == "freeze" else "all")
    model = compiled(headed(backbone))

    def change() -> None:
        backbone.model.trainable = act == "unfreeze"
        for layer in backbone.model.layers:
            layer.trainable = act == "unfreeze"

    changing, telling = Doing(change, epoch=1), Doing(lambda: model.make_train_function(force=True))  # too early
    guarded = torso.FreezeGuard(backbone if given == "backbone" else backbone.model)
    assert failure(model, guarded, telling, changing, epochs=5) == CHANGED
    assert changing.steps == 2 * STEPS


def test_what_trains_is_changed_in_an_epoch_that_does_not_end() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))
    changing = Doing(lambda: setattr(model.layers[-1], "trainable", False), step=1)  # not the backbone's, and ignored alike
    fact = failure(model, torso.FreezeGuard(backbone), changing)
    kernel, bias = (variable.path for variable in model.layers[-1].variables)
    assert fact == f"{kernel}, {bias} are frozen or unfrozen in the middle of the run\n{IGNORED}"
    assert changing.steps == 2


def test_what_trains_may_be_changed_after_the_last_step_for_the_next_run() -> None:
    backbone = tiny()
    unfreezing = Doing(lambda: backbone.unfreeze(from_node="stem"))
    model = compiled(headed(backbone))
    fit(model, unfreezing, torso.FreezeGuard(backbone))
    fit(compiled(model), torso.FreezeGuard(backbone))


@pytest.mark.parametrize("eager", [False, True])
def test_what_trains_may_be_changed_where_keras_heeds_it_and_is_guarded_from_there_on(eager: bool) -> None:
    backbone = tiny("none")
    model = compiled(headed(backbone), run_eagerly=eager)
    during: list[dict[str, np.ndarray]] = []

    def freeze() -> None:
        for layer in backbone.model.layers:
            layer.trainable = False
        if not eager:
            model.make_train_function(force=True)
        during.append(values(backbone.model))

    guarded = torso.FreezeGuard(backbone)
    fit(model, guarded, Doing(freeze), epochs=3)
    assert moved(backbone.model, during[0]) == []
    for layer in backbone.model.layers:
        layer.trainable = True
    change = nudging(backbone, epoch=2, step=0)
    assert failure(compiled(model, run_eagerly=eager), guarded, Doing(freeze), change, epochs=3) == LEFT_BIAS


def test_what_moved_before_the_change_fails() -> None:
    backbone = tiny({"through": "stem"})
    backbone.model.get_layer("right").trainable = False  # by hand, and guarded as well
    model = compiled(headed(backbone))

    def change() -> None:
        nudge(backbone.model.get_layer("right").bias)
        backbone.model.get_layer("left").trainable = False
        model.make_train_function(force=True)

    changing = Doing(change)
    fact = failure(model, torso.FreezeGuard(backbone), changing, epochs=2)
    assert (fact, changing.steps) == (f"right/bias is frozen, and moved in training\n{MOVED}", STEPS)


def test_an_unfreeze_in_the_run_needs_an_optimizer_that_knows_of_it() -> None:
    backbone = tiny()
    model = compiled(headed(backbone))

    def unfreeze() -> None:
        backbone.unfreeze(from_node="stem")
        model.make_train_function(force=True)

    assert failure(model, torso.FreezeGuard(backbone), Doing(unfreeze), epochs=2) == UNKNOWN


@pytest.mark.parametrize("when", ["on_train_begin", "on_epoch_begin"])
def test_a_callback_that_freezes_before_the_first_step_is_heeded_in_the_first_run_alone(when: str) -> None:
    backbone, count = tiny("none"), Doing()
    freezing = keras.callbacks.LambdaCallback(**{when: lambda *_: setattr(backbone.model, "trainable", False)})
    before = values(backbone.model)
    model = compiled(headed(backbone))
    fit(model, torso.FreezeGuard(backbone), freezing)
    assert moved(backbone.model, before) == []
    backbone.model.trainable = True
    fit(compiled(model))
    assert failure(model, torso.FreezeGuard(backbone), freezing, count) == CHANGED
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
    assert failure(model, guarded, nudging(backbone, step=1)) == LEFT_BIAS


# What is guarded


def wrap_functional(model: keras.Model) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, model(inputs), name="wrapped")


def wrap_sequential(model: keras.Model) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1.0), model], name="wrapped")


def part(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer("left").output)


@pytest.mark.parametrize("wrap", [wrap_functional, wrap_sequential, part])
def test_a_backbone_is_guarded_wherever_it_is_in_the_model(wrap: Callable[[Any], keras.Model]) -> None:
    backbone = tiny()
    model = compiled(headed(wrap(backbone.model)), run_eagerly=True)
    assert failure(model, torso.FreezeGuard(backbone), nudging(backbone, step=1)) == LEFT_BIAS


def test_two_backbones_are_told_apart_by_their_names_and_six_variables_are_named() -> None:
    left, right = tiny("none", name="left"), tiny("none", name="right")
    pixels = keras.Input((8, 8, 3))
    model = headed(keras.Model(pixels, keras.layers.Concatenate()([left.model(pixels), right.model(pixels)])))
    fit(compiled(model))
    left.model.trainable = right.model.trainable = False
    named = ", ".join(f"left/{path}" for path in ALL.split(", "))
    assert failure(model, torso.FreezeGuard(left, right)) == (
        f"{named}, … and 6 more are frozen, and moved in training\n{MOVED}"
    )
    fact = failure(compiled(model), torso.FreezeGuard(left, right), nudging(left), nudging(right, "stem"))
    assert fact == f"left/left/bias, right/stem/bias are frozen, and moved in training\n{MOVED}"
    right.unfreeze(from_node="stem")
    before = values(left.model), values(right.model)
    fit(compiled(model), torso.FreezeGuard(left, right))
    assert moved(left.model, before[0]) == []
    assert moved(right.model, before[1]) == ALL.split(", ")


def test_two_backbones_of_one_name_are_guarded_both() -> None:
    one, other = tiny(), tiny()
    pixels = keras.Input((8, 8, 3))
    parts = [wrap_functional(one.model), wrap_sequential(other.model)]
    parts[0].name = "first"
    model = compiled(headed(keras.Model(pixels, keras.layers.Add()([part(pixels) for part in parts]))), run_eagerly=True)
    for backbone in (one, other):
        fact = failure(model, torso.FreezeGuard(one, other), nudging(backbone, step=1))
        assert fact == f"TinyNet/left/bias is frozen, and moved in training\n{MOVED}"


class Pair(keras.layers.Layer):  # type: ignore[misc]
    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.parts = [keras.layers.Dense(2, name="same"), keras.layers.Dense(2, name="same")]

    def call(self, pixels: Any) -> Any:
        return self.parts[1](self.parts[0](pixels))


class Scaled(keras.Model):  # type: ignore[misc]
    """Has a weight that none of its layers has."""

    def build(self, shape: Any) -> None:
        self.parts = [keras.layers.Identity(), self.add_weight(shape=(3,), initializer="ones", name="scale")]

    def call(self, pixels: Any) -> Any:
        return pixels * self.parts[1]


def test_weights_are_guarded_that_a_layer_calls_alike_or_that_no_layer_has() -> None:
    inputs = keras.Input((8, 8, 3))
    pairs, scaled = keras.Model(inputs, Pair(name="pair")(inputs), name="pairs"), Scaled(name="scaled")
    for backbone, weight in (
        (pairs, lambda: pairs.get_layer("pair").parts[1].kernel),
        (scaled, lambda: scaled.weights[0]),
    ):
        backbone.trainable = False
        layers = [keras.Input((8, 8, 3)), backbone, keras.layers.Flatten(), keras.layers.Dense(1)]
        model = compiled(keras.Sequential(layers), run_eagerly=True)
        fit(model, torso.FreezeGuard(backbone))
        change = Doing(lambda weight=weight: nudge(weight()), step=1)
        name = "pair/same/kernel:1" if backbone is pairs else weight().path
        assert failure(model, torso.FreezeGuard(backbone), change) == f"{name} is frozen, and moved in training\n{MOVED}"


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


@pytest.mark.slow
def test_a_loaded_backbone_is_guarded(tmp_path: Path) -> None:
    saved = tiny({"through": "joined"})
    saved.save(tmp_path / "edge")
    backbone = torso.load(tmp_path / "edge")
    model = compiled(headed(backbone), run_eagerly=True)
    fit(model, torso.FreezeGuard(backbone))
    assert failure(model, torso.FreezeGuard(backbone), nudging(backbone, step=1)) == LEFT_BIAS


@pytest.mark.parametrize("given", [(), ([],), ("edge",)])
def test_a_guard_of_nothing_is_refused_when_it_is_made(given: tuple[Any, ...]) -> None:
    with pytest.raises(torso.OptionError) as caught:
        torso.FreezeGuard(*given)
    assert str(caught.value) == (
        "a FreezeGuard takes one or more backbones or Keras models\n"
        "  fix: torso.FreezeGuard(backbone), or torso.FreezeGuard(left, right) for several"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_values_of_any_type_and_shape_are_compared(dtype: str, shape: tuple[int, ...]) -> None:
    variable = keras.Variable(np.ones(shape), dtype=dtype, trainable=False)
    hashed = guard._hashed([variable])
    assert guard._changed(hashed) == []
    variable.assign(np.zeros(shape))
    assert bool(guard._changed(hashed)) == (0 not in shape)
