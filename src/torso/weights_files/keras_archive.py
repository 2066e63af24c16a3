"""Find the weights in a ``.keras`` archive."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from torso.errors import IntegrityError
from torso.files.atomic import scratch_directory
from torso.weights_files.stored import MOST_PACKED

WEIGHTS: Final = "model.weights.h5"
_CHUNK = 1 << 20


@contextmanager
def weights_inside(stream: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Yield the weights in an archive as a file, after their checksum was compared.

    Keras stores them uncompressed: then they are read in place. Otherwise they are unpacked into a temporary file first.
    """
    try:
        with ZipFile(stream) as archive:
            if WEIGHTS not in archive.namelist():
                raise _refused(path, f"it has no {WEIGHTS}")
            member = archive.getinfo(WEIGHTS)
            if member.file_size > max(member.compress_size, 1) * MOST_PACKED:
                raise _refused(path, f"{WEIGHTS} should have {member.file_size} bytes, and the archive does not hold them")
            if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise _refused(path, f"{WEIGHTS} is compressed in a way that torso does not read")
            if member.compress_type == ZIP_STORED:
                window = _Window(stream, _start(stream, member), member.file_size)
                _require_checksum(window, member, path)
                yield window  # type: ignore[misc]  # reads and seeks as a file does
                return
            with scratch_directory() as folder, (folder / WEIGHTS).open("w+b") as unpacked:
                with archive.open(member) as packed:
                    shutil.copyfileobj(packed, unpacked)  # no more than the size that the archive names
                unpacked.seek(0)
                _require_checksum(unpacked, member, path)
                yield unpacked
    except (BadZipFile, NotImplementedError, struct.error, zlib.error) as error:
        raise _refused(path, str(error)) from error


def _start(stream: BinaryIO, member: ZipInfo) -> int:
    """Where the bytes of a member begin: after its own header, whose fields may differ from those of the list."""
    stream.seek(member.header_offset)
    header = stream.read(30)
    name, extra = struct.unpack_from("<HH", header, 26)
    return member.header_offset + 30 + int(name) + int(extra)


def _require_checksum(stream: BinaryIO | _Window, member: ZipInfo, path: Path) -> None:
    # zipfile checks it only where a member is read from start to end (CPython issue 88339)
    checksum, size = 0, 0
    while chunk := stream.read(_CHUNK):
        checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    stream.seek(0)
    if checksum != member.CRC or size != member.file_size:
        raise _refused(path, f"the checksum of {WEIGHTS} is wrong")


def _refused(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"the archive {str(path)!r} is damaged, or not as Keras writes them: {why}",
        notes=[("fix", "download it again from a source that you trust")],
    )


class _Window(io.RawIOBase):
    """A part of an open file, as a file."""

    # Not ZipFile.open(): h5py reads 16 times slower through it (0.48 against 0.03 s for 35 MB), and unchecked.

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        room = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._stream.seek(self._start + self._at)
        count = int(self._stream.readinto(room))  # type: ignore[attr-defined]  # of every open file
        self._at += count
        return count
