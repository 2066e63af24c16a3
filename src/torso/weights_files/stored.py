"""What a weights file holds, before any of it is read, and the error of one that is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torso.errors import IntegrityError, TorsoError
from torso.files.hashing import Identity


@dataclass(frozen=True)
class StoredArray:
    """One array in an open file."""

    name: str  # as errors call it: conv1_conv/kernel:0, or layers/conv2d/vars/0
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # in the byte order of this machine
    read: Callable[[], np.ndarray[Any, Any]]  # a fresh array, while the file is open; IntegrityError where it is damaged
    layer: str = ""  # in the format of Keras 3, the name of its layer, if the file tells it


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
