"""What an extraction has written, to be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.compute import list_flatten

from torso.errors import OptionError, UnknownNameError, did_you_mean, known
from torso.extraction.extraction_file import read_extraction
from torso.extraction.shard import name_of, read_part
from torso.extraction.source import texts_of
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
        partial: Take an extraction that is not finished, too, if it has a part.

    Raises:
        OptionError: There is no extraction, or it is not finished.
        IntegrityError: A part is damaged; raised where it is read.
    """

    def __init__(self, folder: str | os.PathLike[str], *, partial: bool = False) -> None:
        self._folder = Folder(folder)
        self._record = read_extraction(self._folder)
        there, all_parts = self._folder.names(), self._record.shards
        self._shards = [shard for shard in range(all_parts) if name_of(shard) in there]
        if len(self._shards) < all_parts and not (partial and self._shards):
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
        return tuple(self._shapes)

    def table(self) -> pa.Table:
        """All as one Arrow table, a row for each picture: ``path, label, sha256, error`` and a column for each feature."""
        return pa.concat_tables(self._parts())

    def arrays(self, name: str | None = None) -> Arrays:
        """The features of one name, labels and paths of all pictures that could be read; the name may be left out if one."""
        name = self._checked(name)
        table = pa.concat_tables(self._parts(["path", "label", "error", name]))
        kept = table.filter(table["error"].is_null())
        values, labels = self._values(kept, name), np.array(texts_of(kept["label"]))
        return Arrays(values, labels, texts_of(kept["path"]), len(table) - len(kept))

    def dataset(self, batch_size: int = 32, name: str | None = None) -> tf.data.Dataset:
        """Batches of features and labels, read part by part; labels as numbers, in the order of ``labels``."""
        import tensorflow as tf

        name = self._checked(name)
        numbers = {label: number for number, label in enumerate(self.labels)}

        def rows() -> Any:
            for part in self._parts(["label", "error", name]):
                kept = part.filter(part["error"].is_null())
                yield self._values(kept, name), np.array([numbers[label] for label in texts_of(kept["label"])], "int64")

        features = tf.TensorSpec((None, *self._shapes[name]), self._record.options.dtype)
        signature, good = (features, tf.TensorSpec((None,), tf.int64)), self._rows["error"].null_count
        dataset = tf.data.Dataset.from_generator(rows, output_signature=signature).unbatch()
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(good))  # Keras warns where it is unknown
        return dataset.batch(batch_size)

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """The different labels, sorted."""
        return tuple(sorted({*texts_of(self._rows["label"])}, key=lambda label: (label is None, label)))

    def failed(self) -> list[tuple[str, str]]:
        """Path and error of each picture that could not be read."""
        failed = self._rows.filter(self._rows["error"].is_valid())
        return [*zip(texts_of(failed["path"]), failed["error"].to_pylist(), strict=True)]

    def _parts(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        return (read_part(self._folder, self._record, shard, columns) for shard in self._shards)

    @cached_property
    def _rows(self) -> pa.Table:
        """Path, label and error of each picture."""
        return pa.concat_tables(self._parts(["path", "label", "error"]))

    @property
    def _shapes(self) -> dict[str, list[int]]:
        return {one["name"]: one["shape"] for one in self._record.features}

    def _values(self, table: pa.Table, name: str) -> np.ndarray:
        column = table[name]
        if isinstance(column.type, pa.FixedShapeTensorType):
            column = column.cast(column.type.storage_type)
        return np.asarray(list_flatten(column)).reshape(len(column), *self._shapes[name])

    def _checked(self, name: str | None) -> str:
        if name is None and len(self.names) == 1:
            return self.names[0]
        if name not in self.names:
            what = f"no feature {name!r}" if name is not None else f"there are {len(self.names)} features: name one"
            raise UnknownNameError(what, notes=[*did_you_mean(str(name or ""), self.names), known(self.names)])
        return name
