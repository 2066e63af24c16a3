"""Carry out what a freeze policy selected: set the flags, silence what is random, and say what was done."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from torso.errors import PluginError, did_you_mean
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
    """
    for name in sorted(plan.weights | plan.norm):
        if name not in graph:
            raise PluginError(
                f"freeze policy {policy} selected {name!r}, and that is not in the trunk",
                notes=did_you_mean(name, [node.name for node in graph]),
            )
    selected = {_layer_of(name) for name in plan.weights}
    normalised = selected | {_layer_of(name) for name in plan.norm}
    silenced: dict[str, float] = {}
    if all(node.name in plan.weights for node in graph):
        model.trainable = False
    for name, layer in _leaves(model):
        if name in selected or (name in normalised and isinstance(layer, keras.layers.BatchNormalization)):
            layer.trainable = False
        attribute = _STOCHASTIC.get(type(layer).__name__)
        if plan.stochastic == "off" and attribute and getattr(layer, attribute) > 0:
            silenced[name] = float(getattr(layer, attribute))
            setattr(layer, attribute, 0.0)
    trains = {id(weight) for weight in model.trainable_weights}
    counts = {True: 0, False: 0}
    for weight in model.weights:
        counts[id(weight) in trains] += math.prod(weight.shape)
    return FreezeReport(frozen=counts[False], trainable=counts[True], silenced=silenced)


def _layer_of(node: str) -> str:
    """The layer that a node is a call of: ``shared`` for ``shared:1``."""
    return re.sub(r":[0-9]+(?=/|$)", "", node)


def _leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
