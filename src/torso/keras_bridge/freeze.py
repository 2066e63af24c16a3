"""Carry out what a freeze policy selected: set the flags, silence what is random, and say what was done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

from torso.errors import OptionError, PluginError, did_you_mean
from torso.freezing import FreezePlan
from torso.graph import Graph
from torso.keras_bridge.private import inner_layers
from torso.keras_bridge.variables import leaves, variables_by_path

_STOCHASTIC = {
    "AlphaDropout": "rate",
    "Dropout": "rate",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "SpatialDropout1D": "rate",
    "SpatialDropout2D": "rate",
    "SpatialDropout3D": "rate",
}
"""Layers of Keras that draw random numbers in training, and the attribute that turns each off at 0."""


_before: WeakKeyDictionary[Any, tuple[str, float]] = WeakKeyDictionary()  # what silenced layers were set to


@dataclass(frozen=True, kw_only=True)
class FreezeReport:
    """What is frozen.

    Attributes:
        frozen: Number of parameters that do not train, statistics of normalisation among them.
        trainable: Number of parameters that train.
        trains: Paths of the variables that train, as ``conv1_bn/gamma``.
        adapts: Paths of the statistics that follow the data in training.
        silenced: For each dropout or noise that was turned off, what it was set to.
        everything: Training moves nothing: no variable trains, no statistic follows the data, nothing random is on.
    """

    frozen: int
    trainable: int
    trains: tuple[str, ...]
    adapts: tuple[str, ...]
    silenced: Mapping[str, float]
    everything: bool


def freeze(model: keras.Model, graph: Graph, plan: FreezePlan, policy: str) -> FreezeReport:
    """Freeze in place what the plan says, and let the rest train as its builder made it.

    Args:
        model: The trunk.
        graph: The trunk as data; the plan speaks of its nodes.
        plan: What the policy selected.
        policy: The policy as an error names it.

    Raises:
        PluginError: The policy selected a node that the trunk does not have, or that is no normalisation where it must be.
        OptionError: What is random is to be off, and a layer draws random numbers that torso cannot turn off; or a layer
            is to be frozen that Keras changes all the same.
    """
    _require_sound(plan, graph, policy)
    whole, normalised, adapting = (
        {graph[name].weights_of for name in names} for names in (plan.weights, plan.norm, plan.adapt)
    )
    layers = dict(leaves(model))
    for names, does in (normalised, "freezes the norm {}"), (adapting, "lets {} adapt"):  # before anything is changed
        for name in sorted(names):
            if not isinstance(layers.get(name), keras.layers.BatchNormalization):
                raise PluginError(f"freeze policy {policy} {does.format(repr(name))}, and that is no BatchNormalization")
    for name, layer in layers.items():
        if name in whole:
            _require_freezable(name, layer)
        if name in whole or plan.stochastic == "off":
            _require_silenceable(name, layer)
    everything = all(node.name in plan.weights for node in graph) and not adapting
    model.trainable = not everything
    for name, layer in leaves(model):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = name in adapting or not (everything or name in whole or (name in normalised and is_norm))
        if name in adapting:
            _hold_scale(layer)
        if name in whole or plan.stochastic == "off":
            _silence(layer)
        else:
            _wake(layer)
    return report_of(model)


def _require_sound(plan: FreezePlan, graph: Graph, policy: str) -> None:
    for axis in ("weights", "norm", "adapt"):
        names = getattr(plan, axis)
        if not isinstance(names, Set):
            raise PluginError(f"freeze policy {policy} selected {axis} as a {type(names).__name__}, not as a set")
        for name in sorted(names, key=str):
            if name not in graph:
                raise PluginError(
                    f"freeze policy {policy} selected {name!r}, and that is not in the trunk",
                    notes=did_you_mean(str(name), [node.name for node in graph]),
                )
    if plan.stochastic not in ("off", "on"):
        raise PluginError(f"freeze policy {policy} set stochastic to {plan.stochastic!r}, not to 'off' or 'on'")


def report_of(model: keras.Model) -> FreezeReport:
    """What is frozen in a model as it stands."""
    ids = {id(weight) for weight in model.trainable_weights}
    adapts = _adapting(model)
    trains = tuple(path for path, variable in variables_by_path(model).items() if id(variable) in ids)
    return FreezeReport(
        **counts(model),
        trains=trains,
        adapts=adapts,
        silenced={name: _before[layer][1] for name, layer in leaves(model) if _is_silenced(layer)},
        everything=not (trains or adapts or any(_is_random(layer) for _, layer in leaves(model))),
    )


def restore(model: keras.Model, saved: Mapping[str, Any]) -> None:
    """Make a loaded model frozen as it was when it was saved, also where Keras has lost that.

    Args:
        model: As Keras loaded it; what was silenced has the rate 0.
        saved: The report of then, as JSON.
    """
    trains, adapts = set(saved["trains"]), set(saved["adapts"])
    silenced = dict(saved["silenced"])
    for name, layer in leaves(model):
        attribute = _attribute(layer)
        if attribute is not None and name in silenced:
            _before[layer] = attribute, float(silenced[name])
    variables = variables_by_path(model)
    for _, layer in leaves(model):
        own = {path: variable for path, variable in variables.items() if any(variable is one for one in layer.variables)}
        layer.trainable = any(path in trains or path in adapts for path in own)
        for path, variable in own.items():
            if layer.trainable and variable.trainable and path not in trains:
                variable.trainable = False


@contextmanager
def as_built(model: keras.Model) -> Iterator[None]:
    """Let the layers of a model have what they had before they were silenced, where a builder kept them for its next."""
    silenced = [layer for _, layer in leaves(model) if layer in _before]
    now = [getattr(layer, _before[layer][0]) for layer in silenced]
    for layer in silenced:
        setattr(layer, *_before[layer])
    try:
        yield
    finally:
        for layer, value in zip(silenced, now, strict=True):
            setattr(layer, _before[layer][0], value)


def counts(model: keras.Model) -> dict[str, int]:
    """Number of parameters that do not train, and of those that do."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {"frozen": sum(math.prod(weight.shape) for weight in model.weights) - trainable, "trainable": trainable}


def _adapting(model: keras.Model) -> tuple[str, ...]:
    """The statistics that Keras brings up to date in training, within wrappers too."""
    moving = {
        id(variable)
        for _, leaf in leaves(model)
        for layer in inner_layers(leaf)
        if layer.trainable
        for variable in _statistics(layer)
    }
    return tuple(path for path, variable in variables_by_path(model).items() if id(variable) in moving)


def _statistics(layer: Any) -> tuple[Any, ...]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.moving_mean, layer.moving_variance
    return (layer.vector_u,) if isinstance(layer, keras.layers.SpectralNormalization) else ()


def _hold_scale(layer: keras.layers.BatchNormalization) -> None:
    """Let nothing of a layer train whose statistics follow the data; Keras saves no flag of a single variable."""
    for variable in layer.trainable_variables:
        variable.trainable = False


def _attribute(layer: Any) -> str | None:
    return next((_STOCHASTIC[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in _STOCHASTIC), None)


def _is_random(layer: Any) -> bool:
    """Whether a layer draws random numbers in training as it is set."""
    attribute = _attribute(layer)
    if attribute is not None:
        return bool(getattr(layer, attribute))
    return len(layer.variables) > len(layer.weights)  # the state of a random generator is a variable, and no weight


def _require_freezable(name: str, layer: Any) -> None:
    if any(isinstance(one, keras.layers.SpectralNormalization) for one in inner_layers(layer)):
        raise OptionError(
            f"{name!r} is a {type(layer).__name__} that Keras changes in training, trainable or not",
            notes=[("fix", "leave it out of the network, or choose a freeze policy that lets it train")],
        )


def _require_silenceable(name: str, layer: Any) -> None:
    if _attribute(layer) is None and _is_random(layer):
        raise OptionError(
            f"{name!r} is a {type(layer).__name__} that draws random numbers in training, and torso cannot turn that off",
            notes=[("fix", "leave it out of the network, or choose a freeze policy that leaves random layers on")],
        )


def _silence(layer: Any) -> None:
    """Turn off what a layer draws at random, and remember what it was set to."""
    attribute = _attribute(layer)
    if attribute is not None and getattr(layer, attribute):
        _before[layer] = attribute, float(getattr(layer, attribute))
        setattr(layer, attribute, 0.0)


def _wake(layer: Any) -> None:
    """Set what was turned off to what it was."""
    if not _is_silenced(layer):
        return
    setattr(layer, *_before[layer])
    if not hasattr(layer, "seed_generator"):  # loaded with the rate 0, and Keras tracks no state that comes later
        object.__setattr__(layer, "seed_generator", keras.random.SeedGenerator(layer.seed))


def _is_silenced(layer: Any) -> bool:
    return layer in _before and not getattr(layer, _before[layer][0])
