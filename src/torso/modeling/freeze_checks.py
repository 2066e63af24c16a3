"""Find layers that training changes although they are frozen, or that torso cannot keep from being random."""

import inspect
import math
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakSet

import keras
import numpy as np
import tensorflow as tf

from torso.errors import OptionError
from torso.model_config.layer_names import canonical_names
from torso.modeling.keras_private import ATTENTION_DROPOUT, DROPOUT_RNN_CELL, STOCHASTIC_DEPTH, calls_of, inner_layers
from torso.modeling.variable_paths import leaves

# Layers of Keras that draw random numbers in training, and the attributes that turn each off at 0.
_DROPOUTS = ("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
_RATES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_DROPOUTS, ("rate",)),
    "GaussianNoise": ("stddev",),
    STOCHASTIC_DEPTH: ("drop_path_rate",),
    DROPOUT_RNN_CELL: ("dropout", "recurrent_dropout"),
    **dict.fromkeys(("Attention", "GroupedQueryAttention"), ("dropout",)),
    "MultiHeadAttention": (ATTENTION_DROPOUT,),
}
# Others with a ``training`` argument, which changes their weights and statistics and nothing else.
_KNOWN = {"BatchNormalization", "Bidirectional", "Dense", "EinsumDense", "RNN", "SpectralNormalization", "StackedRNNCells"}
_KNOWN |= {"TimeDistributed", *_RATES}

RANDOM = "draws random numbers in training, and torso cannot turn that off"
compared: WeakSet[Any] = WeakSet()  # frozen layers of unknown code in which training changed nothing


def random_parts(name: str, layer: Any) -> Iterator[tuple[str, Any, str]]:
    """Each rate in a layer of this name and in those within it: its path, the layer that has it, and the attribute."""
    parts = inner_layers(layer)
    names = canonical_names((one.name, type(one).__name__) for one in parts[1:]) if parts[1:] else {}
    found: list[str] = []
    for one in parts:
        attributes = next((_RATES[kind] for kind in _kinds(one.__class__) if kind in _RATES), ())
        for attribute in (each for each in attributes if hasattr(one, each)):
            path = name if one is layer else f"{name}/{names[one.name]}"
            path = f"{path}/{attribute}" if len(attributes) > 1 else path
            yield f"{path}:{found.count(path)}" if path in found else path, one, attribute
            found.append(path)


def is_random(layer: Any) -> bool:
    """Whether a layer draws random numbers in training as it is set now; one of unknown code does until it is compared."""
    rates = list(random_parts("", layer))
    idle = {id(one) for part in (layer.weights, *(part.variables for _, part, _ in rates)) for one in part}
    # Variables beside the weights are states of random generators; at a rate of 0, one idles.
    draws = layer not in compared if _is_unknown(layer) else any(id(one) not in idle for one in layer.variables)
    return draws or any(getattr(part, attribute) for _, part, attribute in rates)


def set_trainable(layer: Any, value: bool) -> None:
    """Set the flag of a layer, of all layers within it, and of their variables."""
    for one in inner_layers(layer):
        one.trainable = not value  # Keras does not pass on a flag that it has already
        one.trainable = value


@contextmanager
def undone_if_refused(model: keras.Model) -> Iterator[None]:
    """Set flags and rates of a model back to what they were if the block fails."""
    layers = inner_layers(model)
    # From the outside in: an outer flag sets inner ones.
    values = [(layer, "trainable", layer.trainable) for layer in layers]
    values += [(variable, "trainable", variable.trainable) for variable in model.variables]
    values += [(part, name, getattr(part, name)) for layer in layers for _, part, name in random_parts("", layer)]
    try:
        yield
    except BaseException:
        for one, name, value in values:
            setattr(one, name, value)
        raise


def require_frozen(model: keras.Model, frozen: Set[int], silent: Set[int]) -> None:
    """Refuse layers, by their ids, that training changes though they are frozen, or that are random though silent."""
    for name, layer in leaves(model):
        is_frozen, is_silent = id(layer) in frozen, id(layer) in silent
        does = ""
        if (is_frozen or is_silent) and _is_unknown(layer):
            does = _changes(layer, frozen=is_frozen)
            (compared.add if is_frozen and not does else compared.discard)(layer)
        elif is_silent and is_random(layer):
            does = RANDOM
        parts = inner_layers(layer) if is_frozen else []
        if any(isinstance(one, keras.layers.SpectralNormalization) or getattr(one, "stateful", False) for one in parts):
            does = "Keras changes in training, trainable or not"
        if does:
            policy = "leaves random layers on" if does == RANDOM else "lets it train"
            fix = f"leave it out of the network, or choose a freeze policy that {policy}"
            raise OptionError(f"{name!r} is a {type(layer).__name__} that {does}", notes=[("fix", fix)])


def _is_unknown(layer: Any) -> bool:
    """Whether torso cannot know what training changes in a layer: its code, or that of an activation, is not of Keras."""
    return any(
        not _is_known(one.__class__) or any(callable(part) and not is_of_keras(part) for part in vars(one).values())
        for one in inner_layers(layer)
    )


def is_of_keras(code: Any) -> bool:
    return str(getattr(code, "__module__", "")).startswith("keras.")


@cache
def _kinds(kind: Any) -> list[str]:
    return [one.__name__ for one in kind.__mro__ if is_of_keras(one)]


@cache
def _is_known(kind: Any) -> bool:
    is_told = "training" in inspect.signature(kind.call).parameters
    return is_of_keras(kind) and not (is_told and _KNOWN.isdisjoint(_kinds(kind)))


def _changes(layer: Any, *, frozen: bool) -> str:
    """What training changes in a layer, in words: two passes in training are compared with one in inference.

    Arguments and vectors of weights are random: by its own, a layer may multiply what is random by zeros. No variable is
    written to, as that of a random generator.
    """
    own = {id(weight) for weight in layer.weights}
    vectors = [one for one in layer.weights if max(one.shape, default=1) == math.prod(one.shape) and "float" in one.dtype]
    state, passes = [(one, varied(one)) for one in vectors], list[Any]()
    try:
        for args, kwargs in keras.tree.map_structure(varied, calls_of(layer)):
            passes = []
            for training in (False, True, True):
                with keras.StatelessScope(state) as scope, tf.device("/CPU:0"):
                    given = dict(scope.state_mapping)
                    outputs = layer(*args, **{**kwargs, "training": training})
                passes.append([np.asarray(one) for one in keras.tree.flatten(outputs)])
            written = {key for key, value in scope.state_mapping.items() if value is not given.get(key)}
            quiet, once, again = passes
            if written - own or not all(map(_is_same, once, again)):
                return RANDOM
            if frozen and (written or not all(map(_is_same, quiet, once))):
                return "computes differently in training, trainable or not"
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a layer raises whatever it likes
        return f"fails in training: {type(error).__name__}"
    return "" if passes else "is never called"


def varied(one: Any) -> Any:
    """Random values in place of a Keras tensor or variable: two images, and 32 for a side that is open."""
    if not isinstance(one, (keras.KerasTensor, keras.Variable)):
        return one
    sides = [(32 if axis else 2) if side is None else side for axis, side in enumerate(one.shape)]
    values = np.random.default_rng(0).uniform(0.5, 1.5, sides)
    if isinstance(one, keras.KerasTensor) and "float" in one.dtype:
        values[1:] = 16 * values[1:] - 16  # the second image: negative and large, of which some make NaN
    return keras.ops.cast(values, one.dtype)


def _is_same(one: Any, other: Any) -> bool:
    return np.array_equal(one, other, equal_nan=True)
