"""Open a weights file once: hash, then format, then content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from torso.errors import IntegrityError, OptionError, TorsoError
from torso.files import hash_of_open, open_file
from torso.formats.hdf5 import open_hdf5
from torso.formats.keras_archive import weights_inside
from torso.formats.stored import StoredWeights

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
KNOWN = "the older .h5, .weights.h5 and .keras"


@contextmanager
def open_weights(path: Path, *, sha256: str | None = None, md5: str | None = None) -> Iterator[StoredWeights]:
    """Open a weights file whose content is what was promised.

    The format is told by the first bytes, not by the name: downloads and caches rename files.

    Args:
        path: A regular file, or a link to one.
        sha256: Hash in hex that it must have, where one is known.
        md5: The same, where the publisher gives no better one.

    Raises:
        OptionError: It is not there, is no regular file, or is of a format that torso does not read.
        IntegrityError: It has another hash, or is damaged.
    """
    try:
        stream = open_file(path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise OptionError(f"the weights file {str(path)!r} cannot be opened", notes=[("cause", cause)]) from error
    with stream:
        for algorithm, promised in (("sha256", sha256), ("md5", md5)):
            if promised is not None:
                _require_hash(stream, path, algorithm, promised)
        start = stream.read(8)
        stream.seek(0)
        with _reported(path):
            if start == HDF5:
                with open_hdf5(stream, path) as stored:
                    yield stored
            elif start[:4] == ZIP:
                with weights_inside(stream, path) as inside, open_hdf5(inside, path) as stored:
                    yield stored
            else:
                raise _of_no_format(path, start)


def _require_hash(stream: BinaryIO, path: Path, algorithm: str, promised: str) -> None:
    found = hash_of_open(stream, path, algorithm)
    if found != promised.lower():
        raise IntegrityError(
            f"the weights file {str(path)!r} is not the one that was meant",
            notes=[(f"{algorithm} expected", promised), (f"{algorithm} found", found)],
        )


def _of_no_format(path: Path, start: bytes) -> TorsoError:
    if not start:
        return IntegrityError(f"the weights file {str(path)!r} is empty", notes=[("fix", "copy or download it again")])
    if path.name.endswith((".h5", ".hdf5", ".keras")):
        return damaged(path, f"its first bytes are {start!r}, which no such file has")
    return OptionError(f"weights cannot be read from a file like {path.name!r}", notes=[("known", KNOWN)])


def damaged(path: Path, cause: str) -> IntegrityError:
    return IntegrityError(
        f"the weights file {str(path)!r} is damaged: it cannot be read",
        notes=[("cause", cause), ("fix", "copy or download it again")],
    )


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn whatever h5py and zipfile raise on odd content into an error that names the file."""
    try:
        yield
    except TorsoError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError, EOFError) as error:
        raise damaged(path, str(error).split("\n")[0]) from error
