"""Freeze a model as a freeze policy selected: set the flags, turn off what is random, and report what trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

from torso.errors import PluginError, did_you_mean
from torso.graph import FreezePlan, Graph
from torso.modeling.freeze_checks import is_random, rate_attribute, require_freezable, set_trainable
from torso.modeling.keras_private import inner_layers
from torso.modeling.variable_paths import leaves, variables_by_path

# The rates of disabled layers; Keras has no place for them.
_rates: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class FreezeReport:
    """What is frozen in a model, and what trains."""

    frozen: int  # number of parameters that do not train, statistics of normalisation among them
    trainable: int  # number of parameters that train
    trains: tuple[str, ...]  # paths of the variables that train: conv1_bn/gamma
    adapts: tuple[str, ...]  # paths of the statistics that follow the data in training
    silenced: Mapping[str, float]  # by layer: the rate of each dropout or noise that was turned off
    everything: bool  # training changes nothing: no variable, no statistic, and nothing random is on


def freeze(model: keras.Model, graph: Graph, plan: FreezePlan, policy: str) -> FreezeReport:
    """Freeze in place what a policy selected of a model's graph; the rest trains as its builder made it."""
    layers = dict(leaves(model))
    _require_sound(plan, graph, layers, policy)
    every = {id(layer) for layer in layers.values()}  # by identity: a layer that nested models share has several names
    nodes = ([graph[name] for name in names] for names in (plan.weights, plan.norm, plan.adapt))
    whole, normalised, adapting = ({id(layers[one.weights_of]) for one in some if not one.is_op} for some in nodes)
    frozen = (whole | normalised) - adapting
    silent = every if plan.stochastic == "off" else whole
    if everything := not plan.adapt and all(node.name in plan.weights for node in graph):
        frozen = silent = every
    require_freezable(model, frozen, silent)

    set_trainable(model, not everything)
    for layer in sorted(layers.values(), key=lambda layer: id(layer) in frozen):  # frozen last: what two share is frozen
        set_trainable(layer, id(layer) not in frozen)
        if id(layer) in adapting:  # its scale and offset do not train; Keras saves no flag of a single variable
            for variable in layer.trainable_variables:
                variable.trainable = False
    for layer in layers.values():
        (_disable_stochastic if id(layer) in silent else _restore_stochastic)(layer)
    return report_of(model)


def _require_sound(plan: FreezePlan, graph: Graph, layers: Mapping[str, Any], policy: str) -> None:
    for names in (plan.weights, plan.norm, plan.adapt):
        if unknown := sorted((name for name in names if name not in graph), key=str):
            fact = f"freeze policy {policy} selected {unknown[0]!r}, which is not in the truncated model"
            raise PluginError(fact, notes=did_you_mean(str(unknown[0]), [node.name for node in graph]))
    if plan.stochastic not in ("off", "on"):
        raise PluginError(f"freeze policy {policy} set stochastic to {plan.stochastic!r}, not to 'off' or 'on'")
    for names, does in (plan.norm, "freezes the norm {}"), (plan.adapt, "lets {} adapt"):
        for name in sorted(graph[name].weights_of for name in names):
            if not isinstance(layers.get(name), keras.layers.BatchNormalization):
                raise PluginError(f"freeze policy {policy} {does.format(repr(name))}, which is no BatchNormalization")


def report_of(model: keras.Model) -> FreezeReport:
    """What is frozen in a model as it is now; it may be a layer of another model."""
    variables = variables_by_path(model)
    trains = {path: variable for path, variable in variables.items() if variable.trainable}
    trainable = sum(math.prod(shape) for shape in {id(one): one.shape for one in trains.values()}.values())
    moving = {key for _, layer in leaves(model) for key in _statistics(layer)}
    adapts = tuple(path for path, variable in variables.items() if id(variable) in moving)
    return FreezeReport(
        frozen=sum(math.prod(weight.shape) for weight in model.weights) - trainable,
        trainable=trainable,
        trains=tuple(trains),
        adapts=adapts,
        silenced={name: _rates[layer] for name, layer in leaves(model) if _is_disabled(layer)},
        everything=not (trains or adapts or any(is_random(layer) for _, layer in leaves(model))),
    )


def restore(model: keras.Model, saved: Mapping[str, Any]) -> None:
    """Freeze a loaded model as its saved report (JSON) says: Keras loses flags within layers that are made of others."""
    paths = {id(variable): path for path, variable in variables_by_path(model).items()}
    trains, adapts = ({key for key, path in paths.items() if path in saved[axis]} for axis in ("trains", "adapts"))
    for name, leaf in leaves(model):
        if name in saved["silenced"] and rate_attribute(leaf) is not None:
            _rates[leaf] = float(saved["silenced"][name])
        own = {id(weight): weight for weight in leaf.weights}
        training = {key for key, weight in own.items() if weight.trainable}
        if training == trains & own.keys() and _statistics(leaf) == adapts & own.keys():
            continue
        for layer in inner_layers(leaf):  # from the outside in: an outer flag sets the inner ones
            set_trainable(layer, any(id(weight) in trains | adapts for weight in layer.weights))
        for key, weight in own.items():
            if weight.trainable and key not in trains:
                weight.trainable = False


def _statistics(layer: Any) -> set[int]:
    """The ids of the statistics in a layer, and in what it wraps, that follow the data in training."""
    found: set[int] = set()
    for one in (inner for inner in inner_layers(layer) if inner.trainable):
        if isinstance(one, keras.layers.BatchNormalization):
            found |= {id(weight) for weight in one.weights if weight is not one.gamma and weight is not one.beta}
        elif isinstance(one, keras.layers.SpectralNormalization):
            found.add(id(one.vector_u))
    return found


def _disable_stochastic(layer: Any) -> None:
    if (attribute := rate_attribute(layer)) and getattr(layer, attribute):
        _rates[layer] = float(getattr(layer, attribute))
        setattr(layer, attribute, 0.0)


def _restore_stochastic(layer: Any) -> None:
    if not _is_disabled(layer):
        return
    setattr(layer, str(rate_attribute(layer)), _rates[layer])
    if hasattr(layer, "seed") and not hasattr(layer, "seed_generator"):
        # Loaded with the rate 0, it has no generator; and Keras tracks no state that is added to a built layer.
        object.__setattr__(layer, "seed_generator", keras.random.SeedGenerator(layer.seed))


def _is_disabled(layer: Any) -> bool:
    return layer in _rates and not getattr(layer, str(rate_attribute(layer)))
