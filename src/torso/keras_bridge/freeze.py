"""Carry out what a freeze policy selected: set the flags, silence what is random, and say what was done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

from torso.errors import OptionError, PluginError, did_you_mean
from torso.freezing import FreezePlan
from torso.graph import Graph

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
    """What was frozen.

    Attributes:
        frozen: Number of parameters that do not train, statistics of normalisation among them.
        trainable: Number of parameters that train.
        silenced: For each dropout or noise that was turned off, what it was set to.
    """

    frozen: int
    trainable: int
    silenced: Mapping[str, float]


def freeze(model: keras.Model, graph: Graph, plan: FreezePlan, policy: str) -> FreezeReport:
    """Freeze in place.

    Args:
        model: The trunk.
        graph: The trunk as data; the plan speaks of its nodes.
        plan: What the policy selected.
        policy: The policy as an error names it.

    Raises:
        PluginError: The policy selected a node that the trunk does not have.
        OptionError: What is random is to be off, and a layer draws random numbers that torso cannot turn off.
    """
    for name in sorted(plan.weights | plan.norm):
        if name not in graph:
            raise PluginError(
                f"freeze policy {policy} selected {name!r}, and that is not in the trunk",
                notes=did_you_mean(name, [node.name for node in graph]),
            )
    selected = {graph[name].weights_of for name in plan.weights}
    normalised = selected | {graph[name].weights_of for name in plan.norm}
    silenced: dict[str, float] = {}
    everything = all(node.name in plan.weights for node in graph)
    model.trainable = not everything
    for name, layer in _leaves(model):
        frozen = name in selected or (name in normalised and isinstance(layer, keras.layers.BatchNormalization))
        layer.trainable = not (everything or frozen)
        if plan.stochastic == "off":
            silenced |= _silence(name, layer)
    return FreezeReport(**counts(model), silenced=silenced)


@contextmanager
def as_built(model: keras.Model) -> Iterator[None]:
    """Let the layers of a model have what they had before they were silenced, where a builder kept them for its next."""
    silenced = [layer for _, layer in _leaves(model) if layer in _before]
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


def _silence(name: str, layer: Any) -> dict[str, float]:
    """Turn off what a layer draws at random; what it was set to, by its name."""
    attribute = next((_STOCHASTIC[kind.__name__] for kind in type(layer).__mro__ if kind.__name__ in _STOCHASTIC), None)
    if attribute is not None:
        before = float(getattr(layer, attribute))
        if before:
            _before[layer] = attribute, before
        setattr(layer, attribute, 0.0)
        return {name: before} if before else {}
    if len(layer.variables) > len(layer.weights):  # the state of a random generator is a variable, and no weight
        raise OptionError(
            f"{name!r} is a {type(layer).__name__} that draws random numbers in training, and torso cannot turn that off",
            notes=[("fix", "leave it out of the network, or choose a freeze policy that leaves random layers on")],
        )
    return {}


def _leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
