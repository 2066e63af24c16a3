"""What a weights file holds, before any of it is read, and the error of one that is damaged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from torso.errors import IntegrityError, TorsoError
from torso.files.hashing import Identity

OTHER_MODEL = "was written from a different model"
Owner = tuple[str, ...]  # the names of a layer and of those that it is in, outermost first


@dataclass(frozen=True)
class StoredArray:
    """One array in an open file."""

    name: str  # as errors call it: conv1_conv/kernel:0, or layers/conv2d/vars/0
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # in the byte order of this machine
    read: Callable[[], np.ndarray[Any, Any]]  # a fresh array, while the file is open; IntegrityError where it is damaged
    owner: Owner = ()  # the layer that it is a weight of; empty if the file does not tell it, as before Keras 3.8


@dataclass(frozen=True)
class StoredLayer:
    """One layer in an open file of the older format, by the name that it had when the file was written."""

    name: str
    arrays: tuple[StoredArray, ...]  # in order


@dataclass(frozen=True)
class StoredWeights:
    """An open weights file: ``layers`` in the older format, ``arrays`` in the format of Keras 3."""

    path: Path
    layers: tuple[StoredLayer, ...] | None  # all in order, also those without arrays; None in the format of Keras 3
    arrays: Mapping[str, StoredArray]  # by path, without those of optimizers and random generators
    identity: Identity = ()
    config: Mapping[str, Any] | None = None  # in a .keras archive, the configuration of its network

    @cached_property
    def has_names(self) -> bool:
        return self.layers is not None or any(array.owner for array in self.arrays.values())

    @cached_property
    def by_owner(self) -> Mapping[Owner, tuple[StoredArray, ...]]:
        """The arrays of each layer in order; by place if the file does not have the layers' names."""
        found: dict[Owner, tuple[StoredArray, ...]] = {}
        newer = sorted(self.arrays.values(), key=lambda array: (len(array.name), array.name))  # vars/2 before vars/10
        for array in (*(array for layer in self.layers or () for array in layer.arrays), *newer):
            owner = array.owner or owner_by_place(array.name)
            found[owner] = (*found.get(owner, ()), array)
        return found


def owner_by_place(place: str) -> Owner:
    """The groups that an array is in, for want of names: ``functional/conv2d_1``."""
    return tuple(group for group in f"/{place}".partition("/vars/")[0].split("/") if group not in ("", "layers"))


def of_another(path: Path, problems: Sequence[str], fix: str = "", fact: str = OTHER_MODEL) -> IntegrityError:
    more = [f"… and {len(problems) - 3} more of this kind"] if len(problems) > 3 else []
    notes = [*(("cause", problem) for problem in (*problems[:3], *more)), *([("fix", fix)] if fix else [])]
    return IntegrityError(f"the weights file {str(path)!r} {fact}", notes=notes)


def damaged(path: Path, cause: str) -> IntegrityError:
    notes = [("cause", cause), ("fix", "copy or download it again")]
    return IntegrityError(f"the weights file {str(path)!r} is damaged, or not as Keras writes them", notes=notes)


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn whatever h5py and zipfile raise on odd content into an error that names the file."""
    try:
        yield
    except TorsoError:
        raise
    except Exception as error:  # of whatever kind
        raise damaged(path, str(error).split("\n")[0]) from error
