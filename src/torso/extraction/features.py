"""What an extraction has written, to be read."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from torso.errors import OptionError, UnknownNameError, did_you_mean, known
from torso.extraction.extraction_file import read_extraction
from torso.extraction.shard import COLUMNS, name_of, read_part
from torso.extraction.source import paths_of
from torso.files.folder import Folder

if TYPE_CHECKING:
    import tensorflow as tf


class Arrays(NamedTuple):
    """The features of the pictures that could be read."""

    features: np.ndarray  # (N, channels), or (N, height, width, channels) where nothing is pooled
    labels: np.ndarray  # N; None where a picture has none
    paths: list[str]
    failed: int  # pictures that were left out


class Features:
    """The features that :func:`torso.extract` has written, read from their folder.

    Args:
        folder: Where they are: a folder, or an address as ``s3://bucket/features``.
        partial: Take an extraction that is not finished, too.

    Raises:
        OptionError: There is no extraction, or it is not finished.
        IntegrityError: A part is damaged; raised where it is read.
    """

    def __init__(self, folder: str | os.PathLike[str], *, partial: bool = False) -> None:
        self._folder = Folder(folder)
        self._record = read_extraction(self._folder)
        there, all_parts = self._folder.names(), self._record.shards
        self._shards = [shard for shard in range(all_parts) if name_of(shard) in there]
        if len(self._shards) < all_parts and not partial:
            fact = f"{self._folder.address!r} has {len(self._shards)} of {all_parts} parts: it is not finished"
            fix = "run the same torso extract again; or Features(…, partial=True) reads what is there"
            raise OptionError(fact, notes=[("fix", fix)])

    def __repr__(self) -> str:
        parts = f"{len(self._shards)} of {self._record.shards} parts"
        return f"<Features {self._folder.address!r}: {', '.join(self.names)}, {self._record.pictures} pictures, {parts}>"

    @property
    def manifest(self) -> dict[str, Any]:
        """How they were computed, as the JSON that ``extraction.json`` has; the backbone's manifest is in it."""
        return self._record.to_json()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(one["name"] for one in self._record.features)

    def table(self) -> pa.Table:
        """All as one Arrow table, a row for each picture: ``path, label, sha256, error`` and a column for each feature."""
        return pa.concat_tables(self._parts())

    def arrays(self, name: str | None = None) -> Arrays:
        """The features of one name, labels and paths of all pictures that could be read; the name may be left out if one."""
        name = self._checked(name)
        parts = [*self._parts([*COLUMNS, name])]
        table = pa.concat_tables(parts)
        good = table["error"].is_null()
        kept = table.filter(good)
        labels = np.array([_text(one) for one in kept["label"].to_pylist()])
        return Arrays(_values(kept[name]), labels, paths_of(kept), len(table) - len(kept))

    def dataset(self, batch: int = 32, name: str | None = None) -> tf.data.Dataset:
        """Batches of features and labels, read part by part; labels as numbers, in the order of ``labels``."""
        import tensorflow as tf

        name = self._checked(name)
        numbers = {label: number for number, label in enumerate(self.labels)}

        def rows() -> Any:
            for part in self._parts([*COLUMNS, name]):
                kept = part.filter(part["error"].is_null())
                yield _values(kept[name]), np.array([numbers[_text(one)] for one in kept["label"].to_pylist()], "int64")

        shape = next(one["shape"] for one in self._record.features if one["name"] == name)
        signature = tf.TensorSpec((None, *shape), self._record.options.dtype), tf.TensorSpec((None,), tf.int64)
        good = sum(part["error"].null_count for part in self._parts([*COLUMNS]))
        dataset = tf.data.Dataset.from_generator(rows, output_signature=signature).unbatch()
        return dataset.apply(tf.data.experimental.assert_cardinality(good)).batch(batch)  # Keras warns where it is unknown

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """The different labels, sorted."""
        found = {_text(one) for part in self._parts([*COLUMNS]) for one in part["label"].unique().to_pylist()}
        return tuple(sorted(found, key=lambda label: (label is None, label)))

    def failed(self) -> list[tuple[str, str]]:
        """Path and error of each picture that could not be read."""
        parts = (part.filter(part["error"].is_valid()) for part in self._parts([*COLUMNS]))
        return [pair for part in parts for pair in zip(paths_of(part), part["error"].to_pylist(), strict=True)]

    def _parts(self, columns: list[str] | None = None) -> Any:
        for shard in self._shards:
            part = read_part(self._folder, self._record, shard)
            yield part.select(columns) if columns else part

    def _checked(self, name: str | None) -> str:
        if name is None and len(self.names) == 1:
            return self.names[0]
        if name not in self.names:
            what = f"no feature {name!r}" if name else f"there are {len(self.names)} features: name one"
            raise UnknownNameError(what, notes=[*did_you_mean(name or "", self.names), known(self.names)])
        return name


def _values(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk, or of several of extension types
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.FixedShapeTensorType):
        values: np.ndarray = array.to_numpy_ndarray()
        return values
    flat: np.ndarray = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(array), array.type.list_size)


def _text(label: Any) -> Any:
    return os.fsdecode(label) if isinstance(label, bytes) else label
