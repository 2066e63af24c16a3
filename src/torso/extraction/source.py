"""Where pictures come from: a folder, a list of paths, or a Parquet file; listed once, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from torso.errors import OptionError, known
from torso.files.disk_errors import disk_errors
from torso.files.folder import Folder
from torso.files.pictures import SUFFIXES
from torso.modeling.image_transform import read_file
from torso.modeling.picture_reader import Picture

_ROW: Final = "row"  # of the Parquet file that holds the pictures


@dataclass(frozen=True)
class Source:
    """A place of pictures, and how to read them. It can be pickled.

    Attributes:
        folder: What paths are relative to.
        file: The list or the Parquet file in that folder, if it is one.
    """

    folder: Folder
    file: str | None

    @classmethod
    def of(cls, address: str | os.PathLike[str]) -> Source:
        """A folder, a ``.txt`` file with a path in each line, or a ``.parquet`` file with ``path`` or ``image``."""
        try:
            text = os.fspath(address)
        except TypeError as error:
            fact = f"the source of pictures must be a path, not a {type(address).__name__}"
            fix = "a folder, or a .txt file with a path in each line"
            raise OptionError(fact, notes=[("fix", fix)]) from error
        if text.lower().endswith((".txt", ".parquet")) and not os.path.isdir(text):
            folder, _, name = text.replace(os.sep, "/").rpartition("/")
            return cls(Folder(folder or "."), name)
        return cls(Folder(text), None)

    @property
    def name(self) -> str:
        return f"{self.folder.address}/{self.file}" if self.file else self.folder.address

    def listing(self) -> pa.Table:
        """The pictures, sorted by the bytes of their paths: ``path`` and ``label``, and ``row`` where a file holds them.

        The label is what the Parquet file says, or else the first folder of the path. It is null where there is none, and
        where the path is absolute or has ``..``. A column of paths is binary where one of them is no UTF-8. Pictures in a
        Parquet file keep their order.
        """
        with disk_errors(f"the pictures of {self.name!r} cannot be listed"):
            if self.file and self.file.lower().endswith(".parquet"):
                table = self._from_parquet()
            else:
                paths = sorted(self._from_list() if self.file else self._from_folder())
                table = pa.table({"path": _text(paths), "label": _text([*map(_first_folder, paths)])})
        if not len(table):
            notes = [] if self.file else [known(SUFFIXES)]
            raise OptionError(f"{self.name!r} has no pictures", notes=notes)
        return table

    def pictures(self, listing: pa.Table) -> Iterator[Picture]:
        """The pictures of some rows of the listing, to be read when their turn comes."""
        if _ROW in listing.column_names:
            yield from self._in_parquet(listing)
            return
        for path in texts_of(listing["path"]):
            yield Picture(repr(path), partial(self._read, path))

    def _read(self, path: str) -> bytes:
        if self.folder.remote is None:
            return read_file(os.path.join(self.folder.local, path), repr(path))
        with disk_errors(f"{path!r} cannot be read"):
            return self.folder.read(path)

    def _from_folder(self) -> Iterator[bytes]:
        if self.folder.remote is None:
            if not self.folder.local.is_dir():
                fix = "a folder of pictures, a .txt file with a path in each line, or a .parquet file"
                raise OptionError(f"{self.name!r} is no folder", notes=[("fix", fix)])
            root = os.fsencode(self.folder.local)
            for folder, folders, files in os.walk(root):
                for name in (*folders, *files):  # a folder named as a picture is a row with an error
                    if os.fsdecode(name).lower().endswith(SUFFIXES):
                        yield os.path.relpath(os.path.join(folder, name), root)
            return
        from pyarrow.fs import FileSelector, FileType

        system, path = self.folder.remote
        for info in system.get_file_info(FileSelector(path, recursive=True)):
            if info.type == FileType.File and info.path.lower().endswith(SUFFIXES):
                yield info.path[len(path) + 1 :].encode()

    def _from_list(self) -> Iterator[bytes]:
        yield from (line for line in self.folder.read(str(self.file)).splitlines() if line.strip())

    def _from_parquet(self) -> pa.Table:
        with self._parquet() as file:
            names, count = file.schema_arrow.names, file.metadata.num_rows
            found = file.read([name for name in ("path", "label") if name in names])
        if "image" not in names and "path" not in names:
            raise OptionError(f"{self.name!r} has neither a column 'path' nor 'image'", notes=[known(names)])
        path = found["path"] if "path" in names else pa.array(map(str, range(count)), pa.string())
        if path.null_count:
            raise OptionError(f"{path.null_count} rows of {self.name!r} have no path")
        if not pa.types.is_binary(path.type):
            path = path.cast(pa.string())
        listed = pa.table({"path": path, "label": found["label"] if "label" in names else pa.nulls(count, pa.string())})
        return listed.append_column(_ROW, pa.array(range(count))) if "image" in names else listed.sort_by("path")

    @contextmanager
    def _parquet(self) -> Iterator[pq.ParquetFile]:
        with self.folder.open(str(self.file)) as stream:
            try:
                file = pq.ParquetFile(stream)
            except pa.ArrowInvalid as error:
                notes = [("cause", str(error).split("\n")[0])]
                raise OptionError(f"{self.name!r} is no Parquet file", notes=notes) from error
            yield file

    def _in_parquet(self, listing: pa.Table) -> Iterator[Picture]:
        """The pictures in rows that follow one another: their row groups are read, one after the other."""
        rows, names, start = listing[_ROW].to_pylist(), iter(texts_of(listing["path"])), 0
        with self._parquet() as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                inside = range(max(rows[0], start), min(rows[-1] + 1, start + count))
                if inside:
                    images = file.read_row_group(group, ["image"])["image"].slice(inside.start - start, len(inside))
                    for image in images.to_pylist():
                        yield Picture(repr(next(names)), partial(_bytes_of, image))
                start += count


def _bytes_of(image: Any) -> bytes:
    """The bytes of a cell; Hugging Face's datasets write a structure."""
    found = image.get("bytes") if isinstance(image, dict) else image
    return found if isinstance(found, bytes) else b""


def texts_of(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column; bytes as Python has the names of files."""
    return [os.fsdecode(value) if isinstance(value, bytes) else value for value in column.to_pylist()]


def _text(values: Sequence[bytes | None]) -> pa.Array:
    """Bytes as text where all are UTF-8."""
    array = pa.array(values, pa.binary())
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return array


def _first_folder(path: bytes) -> bytes | None:
    """None where that is no folder of the source, as in ``../x/1.jpg``."""
    parts = PurePosixPath(os.fsdecode(path)).parts
    inside = len(parts) > 1 and not path.startswith(b"/") and ".." not in parts
    return os.fsencode(parts[0]) if inside else None
