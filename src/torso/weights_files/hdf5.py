"""Read HDF5: groups, and arrays of numbers that are in the file itself."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any, BinaryIO, Final

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o

from torso.errors import IntegrityError
from torso.weights_files.stored import Owner, StoredArray, StoredLayer, StoredWeights, damage_reported, damaged

MOST_PACKED: Final = 1100  # how many times smaller than its content packed data may be: deflate reaches 1,032, for zeros
SMALLEST_CACHE: Final = 1 << 18  # bytes that HDF5 may keep of the structure of a file; by default up to 32 MB
DEEPEST: Final = 100  # groups within groups; at Python's limit h5py would not release its lock, and the process could hang
HEAP: Final = b"GCOL\1\0\0\0"  # how a heap of texts begins
ALIGNMENT: Final = 64  # memory that starts at a multiple of it is not copied (EIGEN_MAX_ALIGN_BYTES in TensorFlow)

_IGNORED = frozenset({b"optimizer", b"seed_generator"})


@contextmanager
def open_hdf5(stream: BinaryIO, path: Path) -> Iterator[StoredWeights]:
    """List what an open file, or the part of one that is HDF5, holds; h5py raises errors of many kinds if it is damaged."""
    with h5py.File(_WithoutLoops(stream), "r") as file:
        cache = file.id.get_mdc_config()  # HDF5 may forget what it has parsed: every group and array is visited once
        cache.set_initial_size, cache.initial_size = True, SMALLEST_CACHE
        cache.min_size = cache.max_size = SMALLEST_CACHE
        file.id.set_mdc_config(cache)
        reader = _Reader(stream, path)
        root = file["/"].id
        if root.links.exists(b"model_weights"):  # a whole model, saved in the older format
            root = reader.group(root, b"model_weights")
        if h5a.exists(root, b"layer_names") or h5a.exists(root, b"layer_names0"):
            yield StoredWeights(path, tuple(reader.layers(root)), {})
        else:
            yield StoredWeights(path, None, reader.arrays(root))


def _aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array of fresh memory that TensorFlow can take over as it is."""
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(kind).reshape(shape)


class _WithoutLoops:
    """An open file for HDF5, which reads a heap of texts without end, deaf to Ctrl-C, where a page of it is zeroed."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.read, self.seek, self.tell = stream, stream.read, stream.seek, stream.tell  # as h5py asks for

    def readinto(self, buffer: memoryview) -> int:
        taken: int = self._stream.readinto(buffer)
        if bytes(buffer[:8]) == HEAP:
            self.seek(self.tell() - taken)
            heap = self.read(int.from_bytes(buffer[8:16], "little"))
            place = 16
            while place + 16 <= len(heap):  # an object: its number (2 bytes, 0 for free space), its size (at 8), its bytes
                size = int.from_bytes(heap[place + 8 : place + 16], "little")
                step = 16 + (size + 7) // 8 * 8 if any(heap[place : place + 2]) else size
                if not 16 <= step <= len(heap) - place:
                    raise ValueError("its list of names breaks off")
                place += step
        return taken


def _below(layer: str, path: list[str]) -> Owner:
    """The names of a weight's layers: those below the outer layer, without scopes that it was built in."""
    return (layer, *path[len(path) - path[::-1].index(layer) :]) if layer in path else (layer, *path)


class _Reader:
    """Reads one file, and refuses what is no plain array."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._later = damage_reported(path)  # what is put off has the same errors as if it were done at once
        self._size = stream.seek(0, os.SEEK_END)

    def group(self, parent: Any, name: bytes) -> Any:
        """A group by a path of hard links."""
        found = self._at(parent, name)
        if not isinstance(found, h5g.GroupID):
            raise self._refused(name, "is not a group")
        return found

    def layers(self, root: Any) -> Iterator[StoredLayer]:
        """The layers of the older format, in order."""
        for name in self._names(root, b"layer_names"):
            group = self.group(root, name)
            names = self._names(group, b"weight_names")
            owners = [_below(name.decode(), one.decode().split("/")[:-1]) for one in names]
            full = [one if name in one else name + b"/" + one for one in names]
            yield StoredLayer(name.decode(), tuple(map(self._array, (self._at(group, one) for one in names), full, owners)))

    def _at(self, group: Any, name: bytes) -> Any:
        for part in [part for part in name.split(b"/") if part not in (b"", b".")] or [name]:
            if not isinstance(group, h5g.GroupID):
                raise self._refused(name, "is not in a group")
            group = self._child(group, part)
        return group

    def arrays(self, root: Any) -> Mapping[str, StoredArray]:
        """The arrays of the format of Keras 3, by their paths."""
        return dict(self._walk(root, ""))

    def _walk(self, group: Any, prefix: str, owner: Owner = ()) -> Iterator[tuple[str, StoredArray]]:
        for name in filter(lambda name: name not in _IGNORED, group):
            child, path = self._child(group, name), prefix + name.decode()
            if path.count("/") > DEEPEST:
                raise self._refused(path.encode(), "is nested too deeply")
            if isinstance(child, h5g.GroupID):
                yield from self._walk(child, f"{path}/", owner + self._name_of(child))
            else:
                yield path, self._array(child, path.encode(), owner)

    def _name_of(self, group: Any) -> Owner:
        """The name of the layer that a group is of, if it is of one and the file tells it."""
        own = self._child(group, b"vars") if group.links.exists(b"vars") else group
        return (self._strings(own, b"name")[0].decode(),) if own is not group and h5a.exists(own, b"name") else ()

    def _child(self, group: Any, name: bytes) -> Any:
        if group.links.get_info(name).type != h5l.TYPE_HARD:
            raise self._refused(name, "is a link to somewhere else")
        return h5o.open(group, name)

    def _array(self, dataset: Any, name: bytes, owner: Owner = ()) -> StoredArray:
        if not isinstance(dataset, h5d.DatasetID):
            raise self._refused(name, "is not an array")
        kind, shape = dataset.dtype, tuple(dataset.shape or ())
        if kind.kind not in "fiub" or kind.names or kind.metadata or dataset.shape is None:
            raise self._refused(name, f"holds {kind}, and weights are real numbers")
        offset = dataset.get_offset()
        self._require_inside(dataset, name, offset, math.prod(shape) * kind.itemsize)
        # Values that are not packed are read from the offset alone: an open dataset costs 20 kB.
        packed = dataset if offset is None else None
        read = self._later(partial(self._read, packed, offset, name, shape, kind))
        return StoredArray(name.decode(), shape, kind.newbyteorder("="), read, owner)

    def _require_inside(self, dataset: Any, name: bytes, offset: int | None, size: int) -> None:
        """Refuse an array whose values are in a different file, or fewer than it says."""
        if offset is not None:
            fits = offset + size <= self._size
        else:
            made = dataset.get_create_plist()
            if made.get_layout() == h5d.VIRTUAL or made.get_external_count():
                raise self._refused(name, "has its values in a different file")
            stored = 0 if made.get_layout() == h5d.CONTIGUOUS else dataset.get_storage_size()
            fits = size <= stored * (MOST_PACKED if made.get_nfilters() else 1)
        if not fits:
            raise self._refused(name, f"should have {size} bytes, and the file does not hold them")

    def _read(
        self, packed: Any, offset: int | None, name: bytes, shape: tuple[int, ...], kind: np.dtype[Any]
    ) -> np.ndarray[Any, Any]:
        values = _aligned(shape, kind)
        if offset is None and values.size:
            packed.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
            return values.astype(kind.newbyteorder("="), copy=False)
        self._stream.seek(offset or 0)
        left = values.reshape(-1).view(np.uint8).data
        while left:
            taken = self._stream.readinto(left)  # type: ignore[attr-defined]  # of every open file, and of ours
            if not taken:
                raise self._refused(name, "ends before its last value")
            left = left[taken:]
        return values.astype(kind.newbyteorder("="), copy=False)

    def _names(self, group: Any, attribute: bytes) -> list[bytes]:
        if h5a.exists(group, attribute):
            return self._strings(group, attribute)
        # Long lists are split over several attributes: one holds 64 kB at most.
        parts = takewhile(partial(h5a.exists, group), (attribute + str(part).encode() for part in count()))
        return [name for part in parts for name in self._strings(group, part)]

    def _strings(self, group: Any, name: bytes) -> list[bytes]:
        values = np.ravel(h5py.Group(group).attrs[name.decode()]).tolist()
        if not all(isinstance(value, (bytes, str)) for value in values):
            raise self._refused(name, "is not a list of names")
        return [value if isinstance(value, bytes) else value.encode() for value in values]

    def _refused(self, name: bytes, why: str) -> IntegrityError:
        return damaged(self._path, f"{name.decode(errors='replace')!r} {why}")
