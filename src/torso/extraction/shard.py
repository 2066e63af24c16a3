"""One shard: some rows of the listing and their features in one Parquet file, the same bytes whoever computes it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from torso.api import load
from torso.errors import IntegrityError, TorsoError
from torso.extraction.extraction_file import Extraction
from torso.extraction.source import Source
from torso.files.atomic import scratch_directory
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
        strict: Raise the first error of a picture, and write nothing.
        threads: Of the reader and the runtime; None for their own choice.
    """

    source: Source
    out: Folder
    extraction: Extraction
    backbone: Backbone
    strict: bool = False
    threads: int | None = None
    runtime: Runtime | None = field(default=None, repr=False)

    def __call__(self, shard: int) -> Done:
        if self.runtime is None:
            self.runtime = self.extraction.options.open(self.backbone, self.threads)
        rows = self.extraction.rows(shard)
        listing = self.listing.slice(rows.start, len(rows))
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
                values = np.array(features[name], self.extraction.options.dtype)
                if not np.isfinite(values).all():
                    fact = f"feature {name!r} has values that are NaN or infinite as {values.dtype}"
                    raise IntegrityError(fact, notes=[("fix", "float32, which holds larger numbers; or check the weights")])
                values[bad] = np.nan
                arrays[name].append(values)
            errors += [_told(error) for error in batch.errors]
            hashes += batch.sha256
        columns = {"path": listing["path"], "label": listing["label"]}
        columns |= {"sha256": pa.array(hashes, pa.string()), "error": pa.array(errors, pa.string())}
        columns |= {name: _column(np.concatenate(arrays[name])) for name in names}
        told = json.dumps({"extraction": self.extraction.key, "shard": shard}).encode()
        self.out.publish(name_of(shard), as_parquet(pa.table(columns, metadata={_KEY: told})))
        return Done(len(listing), sum(map(bool, errors)))

    @cached_property
    def listing(self) -> pa.Table:
        return read_listing(self.out, self.extraction)

    def __getstate__(self) -> dict[str, Any]:
        """The state, with the files of the saved backbone instead of the backbone."""
        with scratch_directory() as folder:
            saved = self.backbone.save(folder / "backbone")
            files = {path.name: path.read_bytes() for path in saved.iterdir()}
        state = vars(self) | {"runtime": None, "backbone": files}
        state.pop("listing", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        with scratch_directory() as folder:
            for name, data in state["backbone"].items():
                (folder / name).write_bytes(data)
            vars(self).update(state | {"backbone": load(folder)})


def name_of(shard: int) -> str:
    return f"part-{shard:05}.parquet"


def as_parquet(table: pa.Table) -> bytes:
    """The bytes of a file: texts by dictionary, numbers as they are; with a checksum of each page."""
    stream = io.BytesIO()
    texts = [one.name for one in table.schema if pa.types.is_string(one.type) or pa.types.is_binary(one.type)]
    options = {"compression": "zstd", "use_dictionary": texts, "write_statistics": False, "write_page_checksum": True}
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def read_listing(out: Folder, record: Extraction) -> pa.Table:
    """Read the listing; an IntegrityError where it is missing or damaged."""
    data = out.read(LISTING) if LISTING in out.names() else b""
    if hashlib.sha256(data).hexdigest() != record.listing:
        fix = "extract anew, into another folder"
        raise IntegrityError(f"{LISTING!r} of {out.address!r} is missing or damaged", notes=[("fix", fix)])
    return pq.read_table(io.BytesIO(data))


def read_part(out: Folder, record: Extraction, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read all or some columns of a shard; an IntegrityError where they are damaged, or of another extraction."""
    name = f"{name_of(shard)!r} of {out.address!r}"
    try:
        with out.open(name_of(shard)) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            schema, rows = file.schema_arrow, file.metadata.num_rows
            told = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
            table = file.read(columns)
    except FileNotFoundError as error:
        raise IntegrityError(f"{name} is missing") from error
    except (OSError, ValueError, pa.ArrowException) as error:  # ArrowInvalid is a ValueError
        raise IntegrityError(f"{name} is damaged", notes=[("cause", str(error).split("\n")[0])]) from error
    if told != {"extraction": record.key, "shard": shard}:
        raise IntegrityError(f"{name} is of another extraction")
    types = [pa.string()] * 2 + [_type(one["shape"], record.options.dtype) for one in record.features]
    names = [*COLUMNS, *(one["name"] for one in record.features)]
    # The checksums are of the pages: names and types are beside them.
    if schema.names != names or schema.types[2:] != types or rows != len(record.rows(shard)):
        raise IntegrityError(f"{name} is damaged", notes=[("cause", "its columns are not those of the extraction")])
    return table


def _type(shape: Sequence[int], dtype: str) -> pa.DataType:
    """Vectors are lists of fixed size, and maps are tensors of fixed shape."""
    number = pa.from_numpy_dtype(dtype)
    return pa.list_(number, shape[0]) if len(shape) == 1 else pa.fixed_shape_tensor(number, shape)


def _column(values: np.ndarray) -> pa.Array:
    vectors = pa.FixedSizeListArray.from_arrays(values.reshape(-1), int(np.prod(values.shape[1:])))
    kind = _type(values.shape[1:], values.dtype.name)
    return vectors if values.ndim == 2 else pa.ExtensionArray.from_storage(kind, vectors)


def _told(error: TorsoError | None) -> str | None:
    """An error in one line."""
    return "; ".join([error.fact, *(text for label, text in error.notes if label == "cause")]) if error else None
