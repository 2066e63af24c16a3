"""Find layers that training changes although they are frozen, or that torso cannot keep from being random."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from torso.errors import OptionError
from torso.modeling.keras_private import DROPOUT_RNN_CELL, STOCHASTIC_DEPTH, inner_layers
from torso.modeling.variable_paths import leaves

# Layers of Keras that draw random numbers in training, and the attribute that turns each off at 0.
_DROPOUTS = ("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
_RATES = dict.fromkeys(_DROPOUTS, "rate") | {"GaussianNoise": "stddev", STOCHASTIC_DEPTH: "drop_path_rate"}

# Layers of Keras that run other people's code.
_FOREIGN = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")


def rate_attribute(layer: Any) -> str | None:
    """The attribute that turns a random layer of Keras off at 0; None for any other layer."""
    kinds = (kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith("keras."))
    return next((_RATES[kind] for kind in kinds if kind in _RATES), None)


def is_random(layer: Any) -> bool:
    """Whether a layer draws random numbers in training as it is set now."""
    if attribute := rate_attribute(layer):
        return bool(getattr(layer, attribute))
    idle = {id(one) for inner in inner_layers(layer) if _is_idle(inner) for one in inner.variables}
    weights = {id(weight) for weight in layer.weights}  # variables beside them are states of random generators
    return any(id(one) not in weights | idle for one in layer.variables)


def _is_idle(layer: Any) -> bool:
    """Whether a layer of Keras has a random generator and does not use it, because its rates are 0."""
    if rate_attribute(layer):
        return not is_random(layer)
    is_cell = any(kind.__name__ == DROPOUT_RNN_CELL for kind in type(layer).__mro__)
    return is_cell and not (layer.dropout or layer.recurrent_dropout)


def set_trainable(layer: Any, value: bool) -> None:
    """Set the flag of a layer, of all layers within it, and of their variables."""
    for one in inner_layers(layer):
        one.trainable = not value  # Keras does not pass on a flag that it has already
        one.trainable = value


def require_freezable(model: keras.Model, frozen: Set[int], silent: Set[int]) -> None:
    """Refuse layers, by their ids, that training changes though they are frozen, or that are random and must be silent."""
    # Keras' own layers are known. For others, the graphs of training and of inference are compared: one trace of each.
    foreign = {id(layer) for _, layer in leaves(model) if id(layer) in frozen and any(map(_is_foreign, inner_layers(layer)))}
    scopes = {scope for op in _changed_by_training(model) for scope in op.split("/")} if foreign else set()
    for name, layer in leaves(model):
        does, policy = "", "lets it train"
        if id(layer) in silent and rate_attribute(layer) is None and is_random(layer):
            does, policy = "draws random numbers in training, and torso cannot turn that off", "leaves random layers on"
        elif id(layer) in frozen and any(map(_is_stateful, inner_layers(layer))):
            does = "Keras changes in training, trainable or not"
        elif id(layer) in foreign and any(re.fullmatch(rf"{re.escape(layer.name)}(_[0-9]+)?", one) for one in scopes):
            does = "computes otherwise in training, trainable or not"
        if does:
            fix = f"leave it out of the network, or choose a freeze policy that {policy}"
            raise OptionError(f"{name!r} is a {type(layer).__name__} that {does}", notes=[("fix", fix)])


def _is_stateful(layer: Any) -> bool:
    return isinstance(layer, keras.layers.SpectralNormalization) or getattr(layer, "stateful", False)


def _is_foreign(layer: Any) -> bool:
    return not type(layer).__module__.startswith("keras.") or type(layer).__name__ in _FOREIGN


def _changed_by_training(model: keras.Model) -> set[str]:
    """The names of ops that are in the graph of training alone, or of inference alone, that are random, or that assign."""
    inputs = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), model.input)
    try:
        # Values are not compared: what is random may be the same twice. TensorFlow names ops after the layers they are in.
        with _all_frozen(model):
            traced = (tf.function(partial(model, training=training)) for training in (False, True))
            inference, training = (one.get_concrete_function(inputs).graph.as_graph_def() for one in traced)
    except Exception:  # noqa: BLE001  # what TensorFlow cannot trace is not judged
        return set()
    impure = {function.signature.name for function in training.library.function if any(map(_is_impure, function.node_def))}
    once, again = ({(node.name, node.op) for node in graph.node} for graph in (inference, training))
    return {name for name, _ in once ^ again} | {
        node.name for node in training.node if _is_impure(node) or any(one.func.name in impure for one in node.attr.values())
    }


@contextmanager
def _all_frozen(model: keras.Model) -> Iterator[None]:
    """Freeze all of a model and turn off what is random, in the block."""
    layers = [layer for _, layer in leaves(model)]
    flags = [(one, one.trainable) for layer in layers for one in inner_layers(layer)]
    held = [variable for variable in model.variables if not variable.trainable]
    rates = [(layer, name, getattr(layer, name)) for layer in layers if (name := rate_attribute(layer))]
    try:
        for layer in layers:
            set_trainable(layer, False)
        for layer, name, _ in rates:
            setattr(layer, name, 0.0)
        yield
    finally:
        for layer, name, rate in rates:
            setattr(layer, name, rate)
        for layer, flag in flags:
            set_trainable(layer, flag)
        for variable in held:
            variable.trainable = False


def _is_impure(node: Any) -> bool:
    return any(word in node.op for word in ("Assign", "Multinomial", "Random"))
