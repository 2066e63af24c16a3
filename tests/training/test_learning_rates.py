"""Each variable takes the step that the same optimizer takes at the rate of its level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from networks import images
from provider import SHAPE, Acme

import torso

k = keras.optimizers
FACTORS = {"C1": 0.25, "C2": 0.5, "head": 1.0}  # powers of two round nothing
Levels = dict[str, list[keras.Variable]]


def selective(rate: float) -> Any:
    optimizer = k.AdamW(rate, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    "momentum": lambda rate: k.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.1),
    "a schedule": lambda rate: k.Adam(k.schedules.ExponentialDecay(rate, 1, 0.5)),
    "a loss scale": lambda rate: k.LossScaleOptimizer(k.Adam(rate)),
    "accumulation": lambda rate: k.AdamW(rate, weight_decay=0.5, gradient_accumulation_steps=2, clipnorm=0.1, use_ema=True),
    "AdamW": lambda rate: k.AdamW(rate, weight_decay=0.5),
    "AdamW, no decay of biases": selective,
    "Muon": lambda rate: k.Muon(rate, weight_decay=0.25),
}
OPTIMIZERS |= {name: getattr(k, name) for name in ("SGD", "Adam", "Adadelta", "Adafactor", "Adagrad", "Adamax", "Ftrl")}
OPTIMIZERS |= {name: getattr(k, name) for name in ("Lamb", "Lion", "Nadam", "RMSprop", "ScheduleFreeAdamW")}


def variables(*levels: str) -> Levels:
    draw = np.random.default_rng(3)
    shapes = {"kernel": (4, 3), "bias": (3,)}
    return {
        level: [keras.Variable(draw.normal(size=shape), dtype="float32", name=name) for name, shape in shapes.items()]
        for level in levels or FACTORS
    }


def backbone_of(levels: Levels, name: str = "tiny") -> Any:
    parts = {level: tuple(levels[level]) for level in levels if level != "head"}
    return SimpleNamespace(name=name, variables_by_level=lambda: parts)


def take_steps(optimizer: Any, levels: Levels) -> None:
    trained, draw = [one for level in levels.values() for one in level], np.random.default_rng(4)
    optimizer.build(trained)
    for _ in range(4):
        gradients = {name: [draw.normal(size=(4, 3)), draw.normal(size=(3,))] for name in FACTORS}
        chosen = [keras.ops.convert_to_tensor(one, "float32") for name in levels for one in gradients[name]]
        optimizer.apply([one * getattr(optimizer, "dynamic_scale", 1.0) for one in chosen], trained)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_variable_takes_the_step_of_the_plain_optimizer_at_its_rate(name: str) -> None:
    start, plain, scaled = variables(), variables(), variables()
    for level, factor in FACTORS.items():
        take_steps(OPTIMIZERS[name](0.125 * factor), {level: plain[level]})
    optimizer = OPTIMIZERS[name](0.125)
    assert torso.scale_learning_rates(optimizer, backbone_of(scaled), decay=0.5) == {"C1": 0.25, "C2": 0.5}
    take_steps(optimizer, scaled)
    for level in FACTORS:
        for one, wanted, before in zip(scaled[level], plain[level], start[level], strict=True):
            np.testing.assert_array_equal(one, wanted, err_msg=f"{level}/{one.name}")
            assert not np.array_equal(one, before)


def test_a_level_at_zero_keeps_its_bits_and_a_factor_holds_back_to_the_one_before() -> None:
    scaled, optimizer = variables(), k.ScheduleFreeAdamW(0.1, weight_decay=0.5)  # it would round at a rate of 0
    assert torso.scale_learning_rates(optimizer, backbone_of(scaled), {"C1": 0}) == {"C1": 0.0, "C2": 1.0}
    take_steps(optimizer, scaled)
    assert [level for level, start in variables().items() if (scaled[level][0] != start[0]).numpy().any()] == ["C2", "head"]
    assert optimizer.get_config()["weight_decay"] == 0.5
    rates = torso.scale_learning_rates(k.SGD(), backbone_of(variables("C1", "C2", "C3", "C4", "C5")), {"C2": 0, "C4": 0.1})
    assert rates == {"C1": 0.0, "C2": 0.0, "C3": 0.1, "C4": 0.1, "C5": 1.0}


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("float32", marks=pytest.mark.slow)], indirect=True)
def test_rates_hold_in_fit_and_again_when_the_classifier_was_loaded(acme: Acme, tmp_path: Path, policy: str) -> None:
    backbone = acme.create()
    backbone.unfreeze(norm="train", stochastic="off")
    small = keras.initializers.RandomNormal(0, 1e-3)  # or float16 overflows
    head = keras.layers.Dense(1, kernel_initializer=small, dtype="float32")
    classifier = keras.Sequential([backbone.model, keras.layers.Flatten(), head])
    start, steps = classifier.get_weights(), []
    for factors in {}, {"C1": 0, "C3": 0.5, "end": 0.25}:
        optimizer = k.SGD(2.0**-3)
        rates = torso.scale_learning_rates(optimizer, backbone, factors)
        classifier.set_weights(start)
        classifier.compile(optimizer, "mse")
        assert isinstance(classifier.optimizer, k.LossScaleOptimizer) == (policy != "float32")
        classifier.fit(images(SHAPE, 4) / 255, np.arange(4.0), batch_size=4, verbose=0)
        steps.append({id(one): np.subtract(one, old) for one, old in zip(classifier.weights, start, strict=True)})
    assert rates == {"C1": 0.0, "C2": 0.5, "C3": 0.5, "end": 0.25}
    factor = {id(one): rates[level] for level, ours in backbone.variables_by_level().items() for one in ours}
    for variable in classifier.trainable_variables:
        whole, part = (step[id(variable)] for step in steps)
        assert np.any(whole) or variable.name == "bias"  # one before a normalisation has no effect
        np.testing.assert_allclose(part, whole * factor.get(id(variable), 1.0), rtol=2e-2, atol=1e-7)
    folder = backbone.save(tmp_path / "saved")
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    assert loaded.optimizer.get_config() == classifier.optimizer.get_config()
    assert torso.scale_learning_rates(loaded.optimizer, torso.attach(loaded, folder), factors) == rates


ONE_OF = "give one of both\n  fix: write {'C2': 0, 'C4': 0.1}, or decay=0.65"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"factors": {"C3": 1}}, "backbone 'tiny' has no level 'C3'\n  known: C1, C2"),
        ({"factors": {"C1": -1}}, "C1 must be a number from 0 on, not -1"),
        ({"factors": {"C1": True}}, "C1 must be a number from 0 on, not True"),
        *(({"decay": one}, f"decay must be a number above 0, and at most 1, not {one!r}")
          for one in (5, 0, -0.5, float("nan"), True, "0.5")),
        ({}, ONE_OF),
        ({"decay": 0.5, "factors": {}}, ONE_OF),
        ({"decay": 0.5, "optimizer": "adam"}, "'adam' is no Keras optimizer\n"
         "  fix: make one: keras.optimizers.Adam(1e-3), and give the same one to compile"),
        ({"decay": 0.5, "backbone": keras.Sequential()},
         "a Keras model is no Backbone\n  fix: give torso.attach(model, FOLDER) in its place"),
    ],
)  # fmt: skip
def test_what_is_no_factor_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        torso.scale_learning_rates(**{"optimizer": k.SGD(), "backbone": backbone_of(variables("C1", "C2")), **given})
    assert str(caught.value) == text


def test_one_optimizer_takes_two_backbones_and_each_of_them_once() -> None:
    optimizer, left, right = k.SGD(1.0), variables("C1"), variables("C1")
    torso.scale_learning_rates(optimizer, backbone_of(left, "left"), decay=0.5)
    torso.scale_learning_rates(optimizer, backbone_of(right, "right"), decay=0.25)
    with pytest.raises(torso.OptionError, match="this optimizer has factors for backbone 'right' already"):
        torso.scale_learning_rates(optimizer, backbone_of(right, "right"), decay=0.25)
    optimizer.apply([keras.ops.ones((4, 3))] * 2, [left["C1"][0], right["C1"][0]])
    np.testing.assert_allclose(left["C1"][0] + 0.5, right["C1"][0] + 0.25, rtol=1e-5)
