"""Find for each weight of a model the array of a weights file that holds its value, and give it that value.

Each weight that is kept belongs to one array of the same shape: that is known before a value is read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple
from warnings import warn

import keras
import numpy as np

from torso.errors import IntegrityError
from torso.model_config.layer_names import automatic_stem
from torso.model_config.layer_settings import differences_of
from torso.modeling.keras_private import inner_layers, places_of
from torso.modeling.truncate import Pairs
from torso.weights_files import StoredArray, StoredWeights
from torso.weights_files.by_names import Wanted, find_by_names, left_over, split
from torso.weights_files.stored import Owner, damage_reported, of_another, owner_by_place

AS_WEIGHTS: Final = "to take its values all the same, save them: model.save_weights('values.weights.h5')"


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


def match(
    model: keras.Model,
    stored: StoredWeights,
    kept: tuple[keras.Model, Pairs] | None = None,
    *,
    is_part: bool = False,
    whole: Iterable[str] = (),
    options: str = "",
) -> Match | None:
    """Find the array for every weight of a headless network that is kept, or None where it is a part and names do not tell.

    ``whole`` has the names of the network's layers, where it is a part and they are known. Raises IntegrityError if the file
    was written from a different model, OtherWidth if only the images' channels differ.
    """
    part, weights = kept if kept else (model, [(weight, weight) for weight in model.weights])
    left = ""
    if is_part:
        stems = {split(name)[0] for name in whole}
        if (pairs := _by_layers(model, stored, is_part=True)) is not None and stems:
            left = left_over([arrays for owner, arrays in stored.by_owner.items() if split(owner[0])[0] in stems], stored)
    else:
        root: Owner = ()
        is_older = stored.layers is not None
        pairs = _by_layers(model, stored, is_part=False) if is_older else _by_place(model, stored)
        if pairs is None:
            pairs, root, left = _by_names(model, stored, [weight for weight, _ in weights])
        _refuse_other_shapes(model, pairs, stored.path, options)
        if stored.config is not None:
            with damage_reported(stored.path):
                problems = differences_of(model.get_config(), dict(stored.config), root, {op.name for op in part.operations})
            if problems:
                raise of_another(stored.path, problems, fix=AS_WEIGHTS)
    if left:
        warn(f"the weights file {str(stored.path)!r} has {left} left over", stacklevel=2)
    return None if pairs is None else Match(stored.path, {id(weight): array for _, weight, array in pairs})


def _by_layers(model: keras.Model, stored: StoredWeights, *, is_part: bool) -> list[_Pair] | None:
    """The older format: the layers with weights in the order of the model's; for a part of a network, those of its names."""
    theirs = {layer.name: layer.arrays for layer in stored.layers or () if layer.arrays}
    ours = {layer.name: (layer, weights) for layer in model.layers if (weights := _listed(layer))}
    authors = {layer.name for layer in model.layers if not _is_numbered(layer.name, layer)}  # these do not drift
    names = list(theirs)
    if is_part:
        names = []
        for own, (layer, _) in ours.items():  # counted otherwise when the file was written: only one such layer is no guess
            alike = [name for name in theirs if (name == own if own in authors else _is_numbered(name, layer))]
            names += alike if len(alike) == 1 else []
    if len(names) != len(ours):
        return None
    pairs: list[_Pair] = []
    for name, (own, (_, weights)) in zip(names, ours.items(), strict=True):
        arrays = theirs[name]
        is_other = [array.shape for array in arrays] != [tuple(weight.shape) for weight in weights]
        if (is_other and (is_part or name != own)) or (name != own and name in authors):
            return None
        if len(arrays) != len(weights) or _exchanged(arrays, weights):
            return None
        pairs.extend((own, weight, array) for weight, array in zip(weights, arrays, strict=True))
    return pairs


def _is_numbered(name: str, layer: Any) -> bool:
    """Whether this name is one that Keras gives to layers of that class."""
    return re.fullmatch(rf"{re.escape(automatic_stem(type(layer).__name__))}(_\d+)?", name) is not None


def _exchanged(arrays: Sequence[StoredArray], weights: Sequence[Any]) -> list[str]:
    """Where the names of a layer's arrays in the older format contradict the order of its weights."""
    # Other names come from other versions of Keras: the depthwise_kernel of a DepthwiseConv2D is a kernel now.
    # In nested models and composite layers, the names of inner layers count too, if the file has the same ones.
    paths = [[array.name.removesuffix(":0") for array in arrays], [weight.path for weight in weights]]
    names, ours = ([path.split("/")[-2:] for path in some] for some in paths)
    if sorted(names) != sorted(ours):
        names, ours = ([name[-1:] for name in some] for some in (names, ours))
    return [
        f"{'/'.join(name)!r} of the file stands where {weight.path!r} belongs"
        for name, own, weight in zip(names, ours, weights, strict=False)
        if name != own and (name in ours or {*name, *own} == {"gamma", "beta"})
    ]


def _listed(layer: Any) -> list[Any]:
    """A layer's weights in the order of the older format."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _by_place(model: keras.Model, stored: StoredWeights) -> list[_Pair] | None:
    """The format of Keras 3 of this very network: Keras itself says where each weight belongs."""
    wanted = _places(model, stored)
    if wanted.keys() != stored.arrays.keys():
        return None
    authors = {owner[-1] for _, owner in wanted.values() if owner} - _counted(model)  # these do not drift
    for place, (_, owner) in wanted.items():
        theirs = stored.arrays[place].owner[-1:]
        if authors.intersection(theirs) and theirs != owner[-1:]:
            return None
    return [("/".join(owner), weight, stored.arrays[place]) for place, (weight, owner) in wanted.items()]


def _counted(model: keras.Model) -> set[str]:
    """The names within a model that Keras has numbered."""
    return {layer.name for layer in inner_layers(model) if _is_numbered(layer.name, layer)}


def _places(model: keras.Model, stored: StoredWeights) -> dict[str, tuple[Any, Owner]]:
    """The weights by their places in the format of Keras 3, each with the names of its layers."""
    weights = {id(weight) for weight in model.weights}
    found = {place: one for place, one in places_of(model).items() if id(one[0]) in weights}
    if len(found) < len(weights):  # a layer has a way of its own to save, or Keras has moved its name for that
        fact = f"the weights file {str(stored.path)!r} does not tell which weight of the model each array belongs to"
        raise IntegrityError(fact, notes=[("fix", "save the weights in the older format, as .h5")])
    return found


def _by_names(model: keras.Model, stored: StoredWeights, kept: Sequence[Any]) -> tuple[list[_Pair], Owner, str]:
    """A file of more or less than this network, by its layers' names; the model in it that has them; what is left over."""
    owners = {
        id(weight): owner if stored.has_names else owner_by_place(place)
        for place, (weight, owner) in _places(model, stored).items()
    }
    ours: dict[Owner, list[Any]] = {}
    for weight in model.weights:
        ours.setdefault(owners[id(weight)], []).append(weight)
    position = {id(weight): index for index, weight in reversed([*enumerate(kept)])}
    wanted = [
        Wanted(owner, tuple(tuple(weight.shape) for weight in weights), position.get(id(weights[0])))
        for owner, weights in ours.items()
    ]
    reading = find_by_names(
        wanted, stored, _counted(model) if stored.has_names else {name for owner in ours for name in owner}
    )
    pairs: list[_Pair] = []
    problems: list[str] = []
    for one in wanted:
        if one.at is not None:
            name, arrays, weights = "/".join(one.owner), reading.found[one.owner], ours[one.owner]
            if len(arrays) != len(weights):
                problems.append(f"layer {name!r} holds {len(arrays)} arrays, and {len(weights)} are needed")
            problems += _exchanged(arrays, weights)
            pairs.extend((name, weight, array) for weight, array in zip(weights, arrays, strict=False))
    if problems:
        raise of_another(stored.path, problems)
    return pairs, reading.root, left_over(reading.found.values(), stored)


def _refuse_other_shapes(model: keras.Model, pairs: Sequence[_Pair], path: Path, options: str) -> None:
    wrong = [(name, tuple(weight.shape), array) for name, weight, array in pairs if array.shape != tuple(weight.shape)]
    if not wrong:
        return
    problems = [f"{one.name!r} has the shape {one.shape}, {name!r} needs {shape}" for name, shape, one in wrong]
    sides = [(side, other) for _, shape, one in wrong for side, other in zip_longest(shape, one.shape) if side != other]
    channels, theirs = sides[0]
    if len(sides) == len(wrong) and len(set(sides)) == 1 and channels == model.inputs[0].shape[-1] and theirs:
        raise OtherWidth(theirs, of_another(path, problems))
    fix = f"the network is built with {options}: write the options that the file was trained with"
    raise of_another(path, problems, fix if options else "")


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
