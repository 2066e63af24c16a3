"""Carry out what a freeze policy selected: set the flags, silence what is random, and say what was done."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import tensorflow as tf

from torso.errors import OptionError, PluginError, did_you_mean
from torso.graph import FreezePlan, Graph
from torso.modeling.keras_private import inner_layers
from torso.modeling.variable_paths import leaves, variables_by_path

_STOCHASTIC = {
    "AlphaDropout": "rate",
    "Dropout": "rate",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "SpatialDropout1D": "rate",
    "SpatialDropout2D": "rate",
    "SpatialDropout3D": "rate",
    "StochasticDepth": "drop_path_rate",  # of ConvNeXt
}
"""Layers of Keras that draw random numbers in training, and the attribute that turns each off at 0."""

_FOREIGN = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")
"""Layers of Keras that compute what somebody else wrote."""


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
            is to be frozen that training changes all the same.
    """
    _require_sound(plan, graph, policy)
    layers = dict(leaves(model))
    for names, does in (plan.norm, "freezes the norm {}"), (plan.adapt, "lets {} adapt"):  # before anything is changed
        for name in sorted(graph[name].weights_of for name in names):
            if not isinstance(layers.get(name), keras.layers.BatchNormalization):
                raise PluginError(f"freeze policy {policy} {does.format(repr(name))}, and that is no BatchNormalization")
    every = {id(layer) for layer in layers.values()}  # by identity: a layer that nested models share has several names
    if everything := all(node.name in plan.weights for node in graph) and not plan.adapt:
        frozen, silent, adapting = every, every, set()
    else:
        nodes = ([graph[name] for name in names] for names in (plan.weights, plan.norm, plan.adapt))
        whole, normalised, adapting = ({id(layers[one.weights_of]) for one in some if not one.is_op} for some in nodes)
        frozen = (whole | normalised) - adapting
        silent = every if plan.stochastic == "off" else whole
    for name, layer in layers.items():
        if id(layer) in silent:
            _require_silenceable(name, layer)
    _require_freezable(model, {name: layer for name, layer in layers.items() if id(layer) in frozen})
    for nested in _models(model):
        nested.trainable = not everything
    for layer in sorted(layers.values(), key=lambda layer: id(layer) in frozen):  # last, for what is shared is frozen then
        _set_trainable(layer, id(layer) not in frozen)
        if id(layer) in adapting:
            _hold_scale(layer)
    for layer in layers.values():
        (_silence if id(layer) in silent else _wake)(layer)
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
    """What is frozen in a model as it stands, also where it becomes a part of another one."""
    trains = {path: variable for path, variable in variables_by_path(model).items() if variable.trainable}
    trainable = sum(math.prod(shape) for shape in {id(one): one.shape for one in trains.values()}.values())
    adapts = _adapting(model)
    return FreezeReport(
        frozen=sum(math.prod(weight.shape) for weight in model.weights) - trainable,
        trainable=trainable,
        trains=tuple(trains),
        adapts=adapts,
        silenced={name: _before[layer][1] for name, layer in leaves(model) if _is_silenced(layer)},
        everything=not (trains or adapts or any(_is_random(layer) for _, layer in leaves(model))),
    )


def restore(model: keras.Model, saved: Mapping[str, Any]) -> None:
    """Make a loaded model frozen as it was when it was saved, where Keras has lost that.

    Args:
        model: As Keras loaded it; what was silenced has the rate 0.
        saved: The report of then, as JSON.
    """
    paths = {id(variable): path for path, variable in variables_by_path(model).items()}
    trains, adapts = ({key for key, path in paths.items() if path in saved[axis]} for axis in ("trains", "adapts"))
    silenced = dict(saved["silenced"])
    for name, leaf in leaves(model):
        attribute = _attribute(leaf)
        if attribute is not None and name in silenced:
            _before[leaf] = attribute, float(silenced[name])
        own = {id(weight): weight for weight in leaf.weights}
        training = {key for key, weight in own.items() if weight.trainable}
        if training == trains & own.keys() and _moving(leaf) == adapts & own.keys():
            continue
        for layer in inner_layers(leaf):  # what is within a layer comes behind it
            _set_trainable(layer, any(id(weight) in trains | adapts for weight in layer.weights))
        for key, weight in own.items():
            if weight.trainable and key not in trains:
                weight.trainable = False


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


def _adapting(model: keras.Model) -> tuple[str, ...]:
    """The statistics that Keras brings up to date in training."""
    moving = {key for _, layer in leaves(model) for key in _moving(layer)}
    return tuple(path for path, variable in variables_by_path(model).items() if id(variable) in moving)


def _moving(layer: Any) -> set[int]:
    """The identities of the statistics of a layer, and of what it wraps, that follow the data in training."""
    return {id(one) for inner in inner_layers(layer) if inner.trainable for one in _statistics(inner)}


def _statistics(layer: Any) -> list[Any]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return [weight for weight in layer.weights if weight is not layer.gamma and weight is not layer.beta]
    return [layer.vector_u] if isinstance(layer, keras.layers.SpectralNormalization) else []


def _models(model: keras.Model) -> Iterator[keras.Model]:
    """A model and those that are nested in it."""
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _models(layer)


def _set_trainable(layer: Any, value: bool) -> None:
    """Set the flag of a layer, of all that is within it, and of their variables.

    Keras passes a flag on where it changes, and only there; it does not pass on that with which a layer is made, or loaded.
    """
    for one in inner_layers(layer):
        one.trainable = not value
        one.trainable = value


def _hold_scale(layer: keras.layers.BatchNormalization) -> None:
    """Let nothing of a layer train whose statistics follow the data; Keras saves no flag of a single variable."""
    for variable in layer.trainable_variables:
        variable.trainable = False


def _attribute(layer: Any) -> str | None:
    kinds = (kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith("keras."))
    return next((_STOCHASTIC[kind] for kind in kinds if kind in _STOCHASTIC), None)


def _is_random(layer: Any) -> bool:
    """Whether a layer draws random numbers in training as it is set."""
    attribute = _attribute(layer)
    if attribute is not None:
        return bool(getattr(layer, attribute))
    idle = {id(state) for one in inner_layers(layer) if _is_idle(one) for state in _states(one)}
    return any(id(state) not in idle for state in _states(layer))


def _states(layer: Any) -> list[Any]:
    """The states of the random generators of a layer: they are variables of it, and no weights."""
    weights = {id(weight) for weight in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]


def _is_idle(layer: Any) -> bool:
    """Whether a layer of Keras has a random generator that it asks for nothing."""
    attribute = _attribute(layer)
    if attribute is not None:
        return not getattr(layer, attribute)
    is_cell = any(kind.__name__ == "DropoutRNNCell" for kind in type(layer).__mro__)
    return is_cell and not (layer.dropout or layer.recurrent_dropout)


def _require_freezable(model: keras.Model, frozen: Mapping[str, Any]) -> None:
    """Make sure that training does not change layers that are frozen, and is nothing to what they compute.

    Raises:
        OptionError: It does, or is.
    """
    for name, layer in frozen.items():
        inner = inner_layers(layer)
        if any(isinstance(one, keras.layers.SpectralNormalization) or getattr(one, "stateful", False) for one in inner):
            raise _not_freezable(name, layer, "Keras changes in training, trainable or not")
    foreign = {name: layer for name, layer in frozen.items() if any(_is_foreign(one) for one in inner_layers(layer))}
    scopes = {part for op in _moved_by_training(model) for part in op.split("/")} if foreign else set()
    for name, layer in foreign.items():
        if any(re.fullmatch(rf"{re.escape(layer.name)}(_[0-9]+)?", scope) for scope in scopes):
            raise _not_freezable(name, layer, "computes otherwise in training, trainable or not")


def _not_freezable(name: str, layer: Any, does: str) -> OptionError:
    return OptionError(
        f"{name!r} is a {type(layer).__name__} that {does}",
        notes=[("fix", "leave it out of the network, or choose a freeze policy that lets it train")],
    )


def _is_foreign(layer: Any) -> bool:
    kind = type(layer)
    return not kind.__module__.startswith("keras.") or kind.__name__ in _FOREIGN


def _moved_by_training(model: keras.Model) -> set[str]:
    """The ops that TensorFlow is told to compute in training alone, that are random, or that change a variable.

    They are those of a model all of which is frozen and silent, and are called as the layers that they are in. Their values
    are not looked at: what is random may well be the same twice. Where TensorFlow cannot draw the model, nothing is known.
    """
    try:
        with _still(model):
            once, again = (_drawn(model, training=training) for training in (False, True))
    except Exception:  # noqa: BLE001  # whatever a layer of somebody else's raises
        return set()
    drawing = {function.signature.name for function in again.library.function if any(map(_moves, function.node_def))}
    return {name for name, _ in _named(once) ^ _named(again)} | {
        node.name for node in again.node if _moves(node) or any(one.func.name in drawing for one in node.attr.values())
    }


@contextmanager
def _still(model: keras.Model) -> Iterator[None]:
    """Freeze and silence all of a model for a while."""
    found = [layer for _, layer in leaves(model)]
    flags = [(one, one.trainable) for layer in found for one in inner_layers(layer)]
    held = [variable for variable in model.variables if not variable.trainable]
    random = [(layer, attribute, getattr(layer, attribute)) for layer in found if (attribute := _attribute(layer))]
    try:
        for layer in found:
            _set_trainable(layer, False)
        for layer, attribute, _ in random:
            setattr(layer, attribute, 0.0)
        yield
    finally:
        for layer, attribute, value in random:
            setattr(layer, attribute, value)
        for layer, flag in flags:
            _set_trainable(layer, flag)
        for variable in held:
            variable.trainable = False


def _drawn(model: keras.Model, *, training: bool) -> Any:
    """The graph of a model, as TensorFlow writes it."""
    given = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), model.input)
    function = tf.function(lambda given: model(given, training=training))
    return function.get_concrete_function(given).graph.as_graph_def()


def _named(drawn: Any) -> set[tuple[str, str]]:
    return {(node.name, node.op) for node in drawn.node}


def _moves(node: Any) -> bool:
    return any(word in node.op for word in ("Assign", "Multinomial", "Random"))


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
    if hasattr(layer, "seed") and not hasattr(layer, "seed_generator"):
        # loaded with the rate 0, and Keras tracks no state that comes later
        object.__setattr__(layer, "seed_generator", keras.random.SeedGenerator(layer.seed))


def _is_silenced(layer: Any) -> bool:
    return layer in _before and not getattr(layer, _before[layer][0])
