"""The reader of HDF5: groups, and arrays of numbers that lie in the file itself."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5z

from torso.errors import IntegrityError
from torso.weights_files.damage import reported
from torso.weights_files.stored import StoredArray, StoredLayer, StoredWeights

T = TypeVar("T")

DEEPEST: Final = 64
"""Groups within groups; Keras writes three for each model within a model."""

MOST_PACKED: Final = 1100
"""How many times smaller than its values a compressed array may be: deflate reaches 1,032, for zeros."""

LONGEST_NAME: Final = 4096
"""Bytes of one name in an attribute; Keras joins the names of layers and scopes."""

SMALLEST_CACHE: Final = 1 << 18
"""Bytes that HDF5 may keep of the structure of a file; it takes up to 32 MB where nothing is said."""

ALIGNMENT: Final = 64
"""Bytes: memory that starts at a multiple of it is not copied (EIGEN_MAX_ALIGN_BYTES of TensorFlow's builds)."""

_FILTERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32})
_IGNORED = frozenset({"optimizer", "seed_generator"})


@contextmanager
def open_hdf5(stream: BinaryIO, path: Path) -> Iterator[StoredWeights]:
    """List what a file holds.

    Args:
        stream: The open file, or the part of one that is HDF5.
        path: What errors call it.

    Raises:
        IntegrityError: It holds something else than arrays of numbers, or links to something outside.
        OSError: It is damaged; h5py raises other errors too.
    """
    with _opened(stream) as file:
        _keep_little(file)
        reader = _Reader(stream, path)
        root = file.id
        if h5l_exists(root, b"model_weights"):  # a whole model that was saved in the older way
            root = reader.group(root, b"model_weights")
        if h5a.exists(root, b"layer_names") or h5a.exists(root, b"layer_names0"):
            yield StoredWeights(path, tuple(reader.layers(root)), {})
        else:
            yield StoredWeights(path, None, reader.arrays(root))


def _opened(stream: BinaryIO) -> h5py.File:
    """The open file, by a name that leads to it and to no other where the system has one: HDF5 reads faster by itself."""
    with suppress(OSError, ValueError):  # it has no number, or the process has it open in another way
        name = f"/dev/fd/{stream.fileno()}"
        if os.path.samestat(os.stat(name), os.fstat(stream.fileno())):
            return h5py.File(name, "r", locking=False)
    return h5py.File(stream, "r")


def _keep_little(file: h5py.File) -> None:
    """Let HDF5 forget what it has parsed: every group and array is looked at once."""
    cache = file.id.get_mdc_config()
    cache.set_initial_size, cache.initial_size = True, SMALLEST_CACHE
    cache.min_size = cache.max_size = SMALLEST_CACHE
    file.id.set_mdc_config(cache)


def h5l_exists(group: Any, name: bytes) -> bool:
    return bool(group.links.exists(name))


def _aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array of fresh memory that TensorFlow can take over as it is."""
    size = math.prod(shape) * kind.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(kind).reshape(shape)


def _parts(name: bytes) -> list[bytes]:
    return [part for part in name.split(b"/") if part not in (b"", b".")] or [name]


class _Reader:
    """Reads one file, and refuses what is no plain array."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._size = stream.seek(0, os.SEEK_END)
        self._places: set[int] = set()  # of the arrays that were found: none may be found twice

    def group(self, parent: Any, name: bytes) -> Any:
        """A group by a path of hard links."""
        *above, last = _parts(name)
        for part in above:
            parent = self._child(parent, part)
        found = self._child(parent, last)
        if not isinstance(found, h5g.GroupID):
            raise self._refused(name, "is no group")
        return found

    def layers(self, root: Any) -> Iterator[StoredLayer]:
        """The layers of the older format, in order."""
        names = self._names(root, b"layer_names")
        if len(set(names)) < len(names):
            raise self._refused(b"layer_names", "names a layer twice")
        for name in names:
            yield StoredLayer(name.decode(), partial(self._safely, self._listed, root, name))

    def _listed(self, root: Any, layer: bytes) -> tuple[StoredArray, ...]:
        group = self.group(root, layer)
        return tuple(self._named(group, layer, name) for name in self._names(group, b"weight_names"))

    def _safely(self, step: Callable[..., T], *args: Any) -> T:
        """What is looked up later is told as what is looked up at once."""
        with reported(self._path):
            return step(*args)

    def _named(self, group: Any, layer: bytes, name: bytes) -> StoredArray:
        *above, last = _parts(name)
        parent = self.group(group, b"/".join(above)) if above else group
        return self._array(self._child(parent, last), layer + b"/" + name if layer not in name else name)

    def arrays(self, root: Any) -> Mapping[str, StoredArray]:
        """The arrays of the format of Keras 3, by their paths."""
        found: dict[str, StoredArray] = {}
        self._walk(root, "", found, {h5o.get_info(root).addr}, 0)
        return found

    def _walk(self, group: Any, prefix: str, found: dict[str, StoredArray], seen: set[int], depth: int) -> None:
        if depth > DEEPEST:
            raise self._refused(prefix.encode(), f"lies deeper than {DEEPEST} groups")
        for name in group:
            if name.decode() in _IGNORED:
                continue
            child = self._child(group, name)
            path = prefix + name.decode()
            if isinstance(child, h5g.GroupID):
                address = h5o.get_info(child).addr
                if address in seen:
                    raise self._refused(path.encode(), "is the same group as another")
                seen.add(address)
                self._walk(child, f"{path}/", found, seen, depth + 1)
            else:
                found[path] = self._array(child, path.encode())

    def _child(self, group: Any, name: bytes) -> Any:
        if group.links.get_info(name).type != h5l.TYPE_HARD:
            raise self._refused(name, "is a link to somewhere else")
        return h5o.open(group, name)

    def _array(self, dataset: Any, name: bytes) -> StoredArray:
        if not isinstance(dataset, h5d.DatasetID):
            raise self._refused(name, "is no array")
        kind, shape = dataset.dtype, tuple(dataset.shape or ())
        if kind.kind not in "fiub" or kind.names or kind.metadata or dataset.shape is None:
            raise self._refused(name, f"holds {kind}, and weights are real numbers")
        self._require_inside(dataset, name, math.prod(shape) * kind.itemsize)
        # Where the values lie as they are, the offset is all that is kept: an open dataset costs 20 kB.
        offset = dataset.get_offset()
        packed = dataset if offset is None else None
        read = partial(self._safely, self._read, packed, offset, name, shape, kind)
        return StoredArray(name.decode(), shape, kind.newbyteorder("="), read)

    def _require_inside(self, dataset: Any, name: bytes, size: int) -> None:
        """Refuse an array whose values are not in this very file, or cannot be as many as it says."""
        offset = dataset.get_offset()
        place = h5o.get_info(dataset).addr if offset is None else offset
        if place in self._places and size:
            raise self._refused(name, "is the same array as another")
        self._places.add(place)
        if offset is not None:  # the values lie there as they are, one after the other
            if offset + size > self._size:
                raise self._refused(name, f"says that it has {size} bytes, and the file does not hold them")
            return
        made = dataset.get_create_plist()
        layout = made.get_layout()
        if layout == h5d.VIRTUAL or made.get_external_count():
            raise self._refused(name, "has its values in another file")
        if any(made.get_filter(index)[0] not in _FILTERS for index in range(made.get_nfilters())):
            raise self._refused(name, "is packed in a way that is not read here")
        if layout == h5d.CONTIGUOUS:
            fits = not size
        else:
            fits = size <= dataset.get_storage_size() * (MOST_PACKED if made.get_nfilters() else 1)
        if not fits:
            raise self._refused(name, f"says that it has {size} bytes, and the file does not hold them")

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
            count = self._stream.readinto(left)  # type: ignore[attr-defined]  # of every open file, and of ours
            if not count:
                raise self._refused(name, "ends before its last value")
            left = left[count:]
        return values.astype(kind.newbyteorder("="), copy=False)

    def _names(self, group: Any, attribute: bytes) -> list[bytes]:
        """A list of names, which may be stored in several parts: an attribute of HDF5 holds 64 kB at most."""
        if h5a.exists(group, attribute):
            return self._strings(group, attribute)
        names: list[bytes] = []
        part = 0
        while h5a.exists(group, attribute + str(part).encode()):
            names += self._strings(group, attribute + str(part).encode())
            part += 1
        return names

    def _strings(self, group: Any, name: bytes) -> list[bytes]:
        attribute = h5a.open(group, name)
        if len(attribute.shape) > 1 or math.prod(attribute.shape) > 1 << 20:
            raise self._refused(name, "is no list of names")
        if not math.prod(attribute.shape):
            return []
        kind = attribute.dtype
        if kind.kind not in "SO" or kind.itemsize > LONGEST_NAME:
            raise self._refused(name, "is no list of names")
        values = np.empty(attribute.shape, kind)
        attribute.read(values)
        return [value if isinstance(value, bytes) else str(value).encode() for value in values.reshape(-1).tolist()]

    def _refused(self, name: bytes, why: str) -> IntegrityError:
        return IntegrityError(
            f"the weights file {str(self._path)!r} is not as Keras writes them: {name.decode(errors='replace')!r} {why}",
            notes=[("fix", "get it again from where you trust it")],
        )
