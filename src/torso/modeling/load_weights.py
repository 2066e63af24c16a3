"""Find for each weight of a model the array of a weights file that holds its value, and give it that value.

Each weight belongs to one array of the same shape, and none is left over: that is known before a value is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

import keras
import numpy as np

from torso.errors import IntegrityError
from torso.model_config.layer_names import automatic_stem
from torso.model_config.layer_settings import differences_of
from torso.modeling.keras_private import inner_layers, places_of
from torso.weights_files import StoredArray, StoredWeights
from torso.weights_files.stored import damage_reported


class Match(NamedTuple):
    """What a weights file holds for a model."""

    path: Path
    arrays: Mapping[int, StoredArray]  # by the identity of the weight


class OtherWidth(Exception):
    """The file is for images with a different number of channels; if that is no help, ``error``."""

    def __init__(self, channels: int, error: IntegrityError) -> None:
        super().__init__(channels)
        self.channels = channels
        self.error = error


_Pair = tuple[str, Any, StoredArray]  # what an error calls the weight, the weight, and its array


def match(model: keras.Model, stored: StoredWeights, *, is_part: bool = False) -> Match | None:
    """Find the array for every weight of a headless network, or None where it is a part and the names do not tell.

    Raises IntegrityError if the file was written from a different model, OtherWidth if only the images' channels differ.
    """
    if is_part:
        pairs = _by_name(model, stored)
    else:
        pairs = _by_order(model, stored) if stored.layers is not None else _by_place(model, stored)
        _refuse_other_shapes(model, pairs, stored.path)
        if stored.config is not None:
            with damage_reported(stored.path):
                problems = differences_of(model.get_config(), dict(stored.config))
            if problems:
                raise _of_another(stored.path, problems)
    return None if pairs is None else Match(stored.path, {id(weight): array for _, weight, array in pairs})


def _by_name(model: keras.Model, stored: StoredWeights) -> list[_Pair] | None:
    """The older format for a part of a network, if the names of its layers tell which arrays are theirs."""
    layers = {layer.name: layer for layer in stored.layers or ()}
    pairs: list[_Pair] = []
    for layer in model.layers:
        weights = _listed(layer)
        if not weights:
            continue
        names = [layer.name]
        if _is_numbered(layer.name, layer):  # counted otherwise when the file was written: only one such layer is no guess
            names = [name for name in layers if _is_numbered(name, layer)]
        arrays = layers[names[0]].arrays if len(names) == 1 and names[0] in layers else ()
        if [array.shape for array in arrays] != [tuple(weight.shape) for weight in weights] or _exchanged(arrays, weights):
            return None
        pairs.extend((layer.name, weight, array) for weight, array in zip(weights, arrays, strict=True))
    return pairs


def _is_numbered(name: str, layer: Any) -> bool:
    """Whether this name is one that Keras gives to layers of that class."""
    return re.fullmatch(rf"{re.escape(automatic_stem(type(layer).__name__))}(_\d+)?", name) is not None


def _by_order(model: keras.Model, stored: StoredWeights) -> list[_Pair]:
    """The older format: the layers that have weights, in the order of the model's layers."""
    theirs = [(layer.name, layer.arrays) for layer in stored.layers or () if layer.arrays]
    ours = [(layer.name, weights) for layer in model.layers if (weights := _listed(layer))]
    if len(theirs) != len(ours):
        raise _of_another(stored.path, [f"{len(theirs)} layers with weights in the file, {len(ours)} in the model"])
    authors = {layer.name for layer in model.layers if not _is_numbered(layer.name, layer)}  # these do not drift
    problems = []
    pairs: list[_Pair] = []
    for (name, arrays), (layer, weights) in zip(theirs, ours, strict=True):
        if name != layer and name in authors:
            problems.append(f"layer {name!r} of the file stands where {layer!r} belongs")
        if len(arrays) != len(weights):
            problems.append(f"layer {name!r} holds {len(arrays)} arrays, {layer!r} needs {len(weights)}")
        problems += _exchanged(arrays, weights)
        pairs.extend((layer, weight, array) for weight, array in zip(weights, arrays, strict=False))
    if problems:
        raise _of_another(stored.path, problems)
    return pairs


def _exchanged(arrays: Sequence[StoredArray], weights: Sequence[Any]) -> list[str]:
    """Where the names of a layer's arrays in the older format contradict the order of its weights."""
    # Other names come from other versions of Keras: the depthwise_kernel of a DepthwiseConv2D is a kernel now.
    ours = {weight.name for weight in weights}
    names = [array.name.removesuffix(":0").rsplit("/", 1)[-1] for array in arrays]
    return [
        f"{name!r} of the file stands where {weight.path!r} belongs"
        for name, weight in zip(names, weights, strict=False)
        if name != weight.name and (name in ours or {name, weight.name} == {"gamma", "beta"})
    ]


def _listed(layer: Any) -> list[Any]:
    """A layer's weights in the order of the older format."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _by_place(model: keras.Model, stored: StoredWeights) -> list[_Pair]:
    """The format of Keras 3: Keras itself says where each weight belongs."""
    weights = {id(weight) for weight in model.weights}
    wanted = {place: weight for place, weight in places_of(model).items() if id(weight) in weights}
    if len(wanted) < len(weights):  # a layer has a way of its own to save, or Keras has moved its name for that
        fact = f"the weights file {str(stored.path)!r} does not tell which weight of the model each array belongs to"
        raise IntegrityError(fact, notes=[("fix", "save the weights in the older format, as .h5")])
    problems = [f"{place} is missing" for place in wanted if place not in stored.arrays]
    problems += [f"{place} has no place in the model" for place in stored.arrays if place not in wanted]
    within: dict[str, set[int]] = {}  # what is in each layer that has a name of its author's: that does not drift
    for layer in inner_layers(model):
        if not _is_numbered(layer.name, layer):
            within.setdefault(layer.name, set()).update(map(id, layer.variables))
    for place, weight in wanted.items():
        theirs = stored.arrays[place].layer if place in stored.arrays else ""
        if theirs in within and id(weight) not in within[theirs]:
            problems.append(f"{place} is of layer {theirs!r} in the file, and {weight.path!r} in the model")
    if problems:
        raise _of_another(stored.path, problems)
    return [(place, weight, stored.arrays[place]) for place, weight in wanted.items()]


def _refuse_other_shapes(model: keras.Model, pairs: Sequence[_Pair], path: Path) -> None:
    wrong = [(name, tuple(weight.shape), array) for name, weight, array in pairs if array.shape != tuple(weight.shape)]
    if not wrong:
        return
    problems = [f"{one.name!r} has the shape {one.shape}, {name!r} needs {shape}" for name, shape, one in wrong]
    sides = [(side, other) for _, shape, one in wrong for side, other in zip_longest(shape, one.shape) if side != other]
    channels, theirs = sides[0]
    if len(sides) == len(wrong) and len(set(sides)) == 1 and channels == model.inputs[0].shape[-1] and theirs:
        raise OtherWidth(theirs, _of_another(path, problems))
    raise _of_another(path, problems)


def read_value(array: StoredArray, weight: Any, path: Path) -> np.ndarray:
    """The value of a weight, in the weight's own type; an IntegrityError if it is not finite, or that type loses some."""
    found = array.read()
    with np.errstate(over="ignore", invalid="ignore"):
        value = found.astype(weight.dtype, copy=False)
    if not np.isfinite(value).all():
        raise IntegrityError(f"the weights file {str(path)!r} holds values of {array.name!r} that are not finite")
    if value.dtype != found.dtype and not np.array_equal(value, found):
        fact = f"the weights file {str(path)!r} holds {array.name!r} as {found.dtype}, and {weight.dtype} loses some of it"
        raise IntegrityError(fact, notes=[("fix", f"convert the file to {weight.dtype} where that loss is meant")])
    if weight.dtype.startswith(("float", "bfloat")):  # no counter; Python shows equal warnings once
        if value.dtype != found.dtype:
            warn(f"the weights file {str(path)!r} holds {found.dtype} for variables of {weight.dtype}", stacklevel=2)
        if not value.any() and not weight.name.endswith(("bias", "beta", "mean")):  # these may well be zero
            warn(f"the weights file {str(path)!r} holds only zeros in {array.name!r}", stacklevel=2)
    return value


def _of_another(path: Path, problems: Sequence[str]) -> IntegrityError:
    more = [f"… and {len(problems) - 3} more of this kind"] if len(problems) > 3 else []
    causes = [("cause", problem) for problem in (*problems[:3], *more)]
    fix = "name the architecture and the options that the file was trained with"
    fact = f"the weights file {str(path)!r} was written from a different model"
    return IntegrityError(fact, notes=[*causes, ("fix", fix)])
