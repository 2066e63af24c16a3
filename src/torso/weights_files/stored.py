"""What a weights file holds, before any of it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from torso.files.hashing import Identity


@dataclass(frozen=True)
class StoredArray:
    """One array in an open file.

    Attributes:
        name: As errors call it: ``conv1_conv/kernel:0``, or ``layers/conv2d/vars/0``.
        shape: Its shape.
        dtype: Its type, in the byte order of this machine.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _read: Callable[[], np.ndarray[Any, Any]]

    def read(self) -> np.ndarray[Any, Any]:
        """A fresh array of that shape and type, while the file is open.

        Raises:
            IntegrityError: The file is damaged there.
        """
        return self._read()


class StoredLayer:
    """One layer in an open file of the older format.

    Attributes:
        name: What it was called when the file was written.
    """

    def __init__(self, name: str, find: Callable[[], tuple[StoredArray, ...]]) -> None:
        self.name = name
        self._find = find

    @cached_property
    def arrays(self) -> tuple[StoredArray, ...]:
        """Its arrays in order; looked up when they are first asked for.

        Raises:
            IntegrityError: The file is damaged there, or holds something else than arrays.
        """
        return self._find()


@dataclass(frozen=True)
class StoredWeights:
    """An open weights file.

    Attributes:
        path: The file.
        layers: In the older format, all layers in order, those without arrays too; None in that of Keras 3.
        arrays: In the format of Keras 3, every array by its path, but those of optimizers and of random generators, which
            no features depend on; empty in the older one.
        identity: Which file it is, of which bytes.
    """

    path: Path
    layers: tuple[StoredLayer, ...] | None
    arrays: Mapping[str, StoredArray]
    identity: Identity = ()
