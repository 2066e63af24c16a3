"""Fill a model from a weights file: every weight from exactly one array, read back equal.

Two formats of HDF5 are read: that of Keras 3 (``.weights.h5``), with a group for each layer, and the older one (``.h5``),
a list of layers in order, in which Keras publishes its pretrained weights. The architecture is never read from a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from torso.errors import IntegrityError, Note, OptionError, TorsoError
from torso.files import scratch_directory

Pair = tuple[str, Any, Any]
"""What an error calls it, a Keras variable, and the h5py dataset that it takes its value from."""


def fill(model: keras.Model, path: Path) -> int:
    """Give every weight of a model its value from a file.

    Args:
        model: The model that the file was written from, or its equal: headless where the file is. After an error its
            values are of no use.
        path: ``.weights.h5`` or ``.h5``; its hash is checked already where one was given.

    Returns:
        How many arrays were read: as many as the model has weights.

    Raises:
        OptionError: The file is of another format.
        IntegrityError: The file is damaged, or was written from another model.
    """
    if not path.name.endswith((".h5", ".hdf5")):
        raise OptionError(f"weights cannot be read from a file like {path.name!r}", notes=[("known", ".weights.h5, .h5")])
    try:
        with h5py.File(path, "r") as opened:
            file = opened.get("model_weights", opened)  # in a whole model that was saved the older way
            if "layer_names" in file.attrs or "layer_names0" in file.attrs:
                return _fill_listed(model, file, path)
            return _fill_grouped(model, file, path)
    except TorsoError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:  # of h5py, on odd content
        raise IntegrityError(
            f"the weights file {str(path)!r} is damaged: it cannot be read as HDF5",
            notes=[("cause", str(error).split("\n")[0]), ("fix", "copy or download it again")],
        ) from error


def _fill_listed(model: keras.Model, file: h5py.File, path: Path) -> int:
    """The older format: the layers that have weights, in the order of the model's layers."""
    stored = [
        (layer, [file[layer][name] for name in _names(file[layer], "weight_names")]) for layer in _names(file, "layer_names")
    ]
    stored = [(layer, arrays) for layer, arrays in stored if arrays]
    wanted = [(layer.name, layer.trainable_weights + layer.non_trainable_weights) for layer in model.layers]
    wanted = [(layer, weights) for layer, weights in wanted if weights]
    if len(stored) != len(wanted):
        raise _of_another(path, [("cause", f"{len(stored)} layers with weights in the file, {len(wanted)} in the model")])
    problems = []
    pairs: list[Pair] = []
    for (theirs, arrays), (ours, weights) in zip(stored, wanted, strict=True):
        shapes = [tuple(array.shape) for array in arrays]
        expected = [tuple(weight.shape) for weight in weights]
        if shapes != expected:
            problems.append(f"layer {theirs!r} holds {_shapes(shapes)}, {ours!r} needs {_shapes(expected)}")
        pairs.extend((ours, weight, array) for weight, array in zip(weights, arrays, strict=False))
    if problems:
        raise _of_another(path, _causes(problems))
    _assign(model, pairs, path)
    return len(pairs)


def _fill_grouped(model: keras.Model, file: h5py.File, path: Path) -> int:
    """The format of Keras 3: Keras itself says where each value belongs, by what it writes of this very model."""
    with scratch_directory() as folder:
        template = folder / "template.weights.h5"
        model.save_weights(template)
        with h5py.File(template, "r") as expected:
            wanted = _arrays(expected)
            stored = _arrays(file)
            problems = [f"{name} is missing" for name in wanted if name not in stored]
            problems += [f"{name} has no place in the model" for name in stored if name not in wanted]
            problems += [
                f"{name} has shape {array.shape}, the model needs {wanted[name].shape}"
                for name, array in stored.items()
                if name in wanted and array.shape != wanted[name].shape
            ]
            if problems:
                raise _of_another(path, _causes(problems))
        named = folder / "values.weights.h5"  # Keras chooses its reader by the name, whatever is in the file
        named.symlink_to(path.resolve())
        model.load_weights(named)
        model.save_weights(template)
        with h5py.File(template, "r") as filled:
            _require_equal(((name, array, stored[name]) for name, array in _arrays(filled).items()), path)
    return len(stored)


def _assign(model: keras.Model, pairs: Sequence[Pair], path: Path) -> None:
    for _, weight, array in pairs:
        weight.assign(array[()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with what it derived from its values, not with them
    _require_equal(((name, np.asarray(weight), array) for name, weight, array in pairs), path)


def _require_equal(pairs: Iterator[Pair], path: Path) -> None:
    for name, ours, theirs in pairs:
        values = theirs[()].astype(ours.dtype)
        if not np.isfinite(values).all():
            raise IntegrityError(f"the weights file {str(path)!r} holds values of {name!r} that are not finite")
        if not np.array_equal(ours[()], values):
            raise IntegrityError(f"the value of {name!r} is not the one in {str(path)!r} after loading")


def _arrays(group: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """All arrays below a group by their path, but those of optimizers and random generators: no features depend on them."""
    found: dict[str, Any] = {}
    for name, item in group.items():
        if name in ("optimizer", "seed_generator"):
            continue
        if isinstance(item, h5py.Dataset):
            found[prefix + name] = item
        else:
            found |= _arrays(item, f"{prefix}{name}/")
    return found


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names that may be stored in several parts, as an attribute of HDF5 holds 64 kB at most."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def _of_another(path: Path, notes: Sequence[Note]) -> IntegrityError:
    return IntegrityError(
        f"the weights file {str(path)!r} was written from another model",
        notes=[*notes, ("fix", "name the architecture and the options that the file was trained with")],
    )


def _causes(problems: Sequence[str]) -> list[Note]:
    shown = [("cause", problem) for problem in problems[:3]]
    rest = len(problems) - len(shown)
    return [*shown, ("cause", f"… and {rest} more of this kind")] if rest else shown


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "nothing"
