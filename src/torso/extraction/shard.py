"""One shard: some rows of the listing and their features in one Parquet file, the same bytes whoever computes it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from torso.errors import IntegrityError, TorsoError
from torso.extraction.extraction_file import Extraction, Options
from torso.extraction.source import Source
from torso.files.folder import Folder
from torso.modeling.picture_reader import read_pictures

if TYPE_CHECKING:
    from torso.backbone import Backbone
    from torso.runtimes import Runtime

LISTING: Final = "listing.parquet"
COLUMNS: Final = ("path", "label", "sha256", "error")  # beside the features
_KEY: Final = b"torso"  # of a part's metadata


class Done(NamedTuple):
    """A shard that is finished."""

    rows: int
    failed: int


@dataclass
class Work:
    """Computes any shard, in any order and as often as one likes. It can be pickled: it opens what it needs at the first.

    Attributes:
        key: Of the extraction: its parts carry it.
        strict: Raise the first error of a picture, and write nothing.
        threads: Of the reader and the runtime; None for their own choice.
    """

    source: Source
    out: Folder
    key: str
    options: Options
    backbone: Backbone
    strict: bool = False
    threads: int | None = None
    runtime: Runtime | None = field(default=None, repr=False)

    def __call__(self, shard: int) -> Done:
        if self.runtime is None:
            self.runtime = self.options.open(self.backbone, self.threads)
        listing = rows_of(self.listing, self.options, shard)
        names = [feature.name for feature in self.backbone.features]
        arrays: dict[str, list[np.ndarray]] = {name: [] for name in names}
        errors: list[str | None] = []
        hashes: list[str | None] = []
        record = self.backbone.record
        for batch in read_pictures(
            self.source.pictures(listing), record.transform, tuple(record.plan["input_shape"]), threads=self.threads
        ):
            bad = [error is not None for error in batch.errors]
            if self.strict and any(bad):
                raise next(error for error in batch.errors if error)
            features = self.runtime(batch.values)
            for name in names:
                values = np.array(features[name], self.options.dtype)
                if not np.isfinite(values).all():
                    fact = f"feature {name!r} has values that are NaN or infinite as {self.options.dtype}"
                    raise IntegrityError(fact, notes=[("fix", "float32, which holds larger numbers; or check the weights")])
                values[bad] = np.nan
                arrays[name].append(values)
            errors += [_told(error) for error in batch.errors]
            hashes += batch.sha256
        table = listing.select(COLUMNS[:2])
        table = table.append_column("sha256", pa.array(hashes, pa.string()))
        table = table.append_column("error", pa.array(errors, pa.string()))
        for name in names:
            table = table.append_column(name, _column(np.concatenate(arrays[name])))
        told = json.dumps({"extraction": self.key, "shard": shard}).encode()
        self.out.publish(name_of(shard), as_parquet(table.replace_schema_metadata({_KEY: told})))
        return Done(len(table), sum(map(bool, errors)))

    def size_of(self, shard: int) -> int:
        """How many pictures a shard has."""
        return len(rows_of(self.listing, self.options, shard))

    @cached_property
    def listing(self) -> pa.Table:
        return pq.read_table(io.BytesIO(self.out.read(LISTING)))

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self) | {"runtime": None, "backbone": _Packed.of(self.backbone)}
        state.pop("listing", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"backbone": state["backbone"].unpacked()})


class _Packed(NamedTuple):
    """A saved backbone as bytes."""

    files: Mapping[str, bytes]

    @classmethod
    def of(cls, backbone: Backbone) -> _Packed:
        from torso.files.atomic import scratch_directory

        with scratch_directory() as folder:
            saved = backbone.save(folder / "backbone")
            return cls({path.name: path.read_bytes() for path in saved.iterdir()})

    def unpacked(self) -> Backbone:
        from torso.api import load
        from torso.files.atomic import scratch_directory

        with scratch_directory() as folder:
            for name, data in self.files.items():
                (folder / name).write_bytes(data)
            return load(folder)


def name_of(shard: int) -> str:
    return f"part-{shard:05}.parquet"


def rows_of(listing: pa.Table, options: Options, shard: int) -> pa.Table:
    return listing.slice(shard * options.shard, options.shard)


def as_parquet(table: pa.Table) -> bytes:
    """The bytes of a file: texts by dictionary, numbers as they are; with a checksum of each page."""
    stream = io.BytesIO()
    texts = [one.name for one in table.schema if pa.types.is_string(one.type) or pa.types.is_binary(one.type)]
    options = {"compression": "zstd", "use_dictionary": texts, "write_statistics": False, "write_page_checksum": True}
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def read_part(out: Folder, record: Extraction, shard: int) -> pa.Table:
    """Read a shard, and check all its bytes; an IntegrityError where it is damaged, or of another extraction."""
    name = f"{name_of(shard)!r} of {out.address!r}"
    try:
        table = pq.read_table(io.BytesIO(out.read(name_of(shard))), page_checksum_verification=True)
        told = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    except FileNotFoundError as error:
        raise IntegrityError(f"{name} is missing") from error
    except (OSError, ValueError, pa.ArrowException) as error:  # ArrowInvalid is a ValueError
        raise IntegrityError(f"{name} is damaged", notes=[("cause", str(error).split("\n")[0])]) from error
    if told != {"extraction": record.key, "shard": shard}:
        raise IntegrityError(f"{name} is of another extraction")
    rows = min(record.options.shard, record.pictures - shard * record.options.shard)
    types = [pa.string()] * 2 + [_type(one["shape"], record.options.dtype) for one in record.features]
    names = [*COLUMNS, *(one["name"] for one in record.features)]
    # The checksums are of the pages: names and types are beside them.
    if table.schema.names != names or table.schema.types[2:] != types or len(table) != rows:
        raise IntegrityError(f"{name} is damaged", notes=[("cause", "its columns are not those of the extraction")])
    return table


def _type(shape: Sequence[int], dtype: str) -> pa.DataType:
    """Vectors are lists of fixed size, and maps are tensors of fixed shape."""
    number = pa.from_numpy_dtype(dtype)
    return pa.list_(number, shape[0]) if len(shape) == 1 else pa.fixed_shape_tensor(number, shape)


def _column(values: np.ndarray) -> pa.Array:
    kind = _type(values.shape[1:], values.dtype.name)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), int(np.prod(values.shape[1:])))
    return vectors if values.ndim == 2 else pa.ExtensionArray.from_storage(kind, vectors)


def _told(error: TorsoError | None) -> str | None:
    """An error in one line."""
    return "; ".join([error.fact, *(text for label, text in error.notes if label == "cause")]) if error else None
