"""A share of the learning rate for each level of a backbone, in any Keras optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, nan
from numbers import Real
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import keras

from torso.errors import OptionError, UnknownNameError, known
from torso.modeling.keras_private import VARIABLE_KEY, WEIGHT_DECAY

if TYPE_CHECKING:
    from torso.backbone import Backbone

_DECAYS = ("weight_decay", "adam_weight_decay")  # the latter of Muon
_factors: WeakKeyDictionary[Any, dict[Any, float]] = WeakKeyDictionary()  # by optimizer, of each variable's key


def scale_learning_rates(
    optimizer: keras.optimizers.Optimizer,
    backbone: Backbone,
    factors: Mapping[str, float] | None = None,
    *,
    decay: float | None = None,
) -> dict[str, float]:
    """Let each level of a backbone train at its own share of the learning rate; everything else trains at the whole rate.

    Each variable takes the step, and the decoupled weight decay, of the same optimizer at that rate. At 0, none changes.
    Call it before the first ``fit``: Keras reads the rates as it draws the step. They are not saved with the optimizer.

    Args:
        optimizer: Any Keras optimizer, changed in place; with a schedule, or within a LossScaleOptimizer, too.
        backbone: The backbone; its levels are those of :meth:`torso.Backbone.variables_by_level`.
        factors: By level: its factor, also for the levels before it that have none. Those after the last have 1.
        decay: Instead, above 0 and at most 1: that for the last level, ``decay**2`` for the one before it, and so on.

    Returns:
        The factor of each level.

    Raises:
        UnknownNameError: The backbone has no such level.
        OptionError: Another argument is wrong, or the optimizer has factors for this backbone already.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        fix = "make one: keras.optimizers.Adam(1e-3), and give the same one to compile"
        raise OptionError(f"{optimizer!r} is no Keras optimizer", notes=[("fix", fix)])
    if (factors is None) == (decay is None):
        raise OptionError("give one of both", notes=[("fix", "write {'C2': 0, 'C4': 0.1}, or decay=0.65")])
    if isinstance(backbone, keras.Model):
        raise OptionError("a Keras model is no Backbone", notes=[("fix", "give torso.attach(model, FOLDER) in its place")])
    levels, rates, rate = backbone.variables_by_level(), dict[str, float](), 1.0
    given: Mapping[str, Any] = {"decay": decay} if factors is None else factors
    for level, factor in given.items():
        if level not in ("decay", *levels):
            raise UnknownNameError(f"backbone {backbone.name!r} has no level {level!r}", notes=[known(levels)])
        number = nan if isinstance(factor, bool) or not isinstance(factor, Real) else float(factor)
        if not (0 <= number < inf if decay is None else 0 < number <= 1):
            legal = "from 0 on" if decay is None else "above 0, and at most 1"
            raise OptionError(f"{level} must be a number {legal}, not {factor!r}")
    for level in reversed(levels):
        rates[level] = rate = float(given.get(level, rate) if decay is None else rate * decay)
    while hasattr(optimizer, "inner_optimizer"):  # a LossScaleOptimizer takes no steps itself
        optimizer = optimizer.inner_optimizer
    key = getattr(optimizer, VARIABLE_KEY)
    new = {key(variable): rates[level] for level, variables in levels.items() for variable in variables}
    of_optimizer = _factors.setdefault(optimizer, {})
    if of_optimizer.keys() & new.keys():
        fix = "compile the model again with a new optimizer, and scale its rates"
        raise OptionError(f"this optimizer has factors for backbone {backbone.name!r} already", notes=[("fix", fix)])
    if not of_optimizer:
        _intercept(optimizer, lambda variable: of_optimizer.get(key(variable), 1.0))
    of_optimizer |= new
    return {level: rates[level] for level in levels}


def _intercept(optimizer: Any, factor_of: Callable[[Any], float]) -> None:
    """Let an optimizer ask for the factor of each variable as it takes a step."""
    step, decay = optimizer.update_step, getattr(optimizer, WEIGHT_DECAY)

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        if factor := factor_of(variable):
            step(gradient, variable, learning_rate * factor)

    def apply_weight_decay(variables: Any) -> None:  # Keras applies it outside of update_step, at the whole rate
        whole = {name: value for name in _DECAYS if (value := getattr(optimizer, name, None))}
        for variable in variables:
            for name, value in whole.items():
                setattr(optimizer, name, value * factor_of(variable))
            decay([variable])
        for name, value in whole.items():
            setattr(optimizer, name, value)

    optimizer.update_step = update_step
    setattr(optimizer, WEIGHT_DECAY, apply_weight_decay)
