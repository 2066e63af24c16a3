"""Open and hash regular files. A file that does not change is hashed once in a process."""

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from torso.files.disk_errors import disk_errors

_CHUNK: Final = 1 << 20
_SETTLED: Final = 2 * 10**9  # nanoseconds: the coarsest clock of a file system, FAT's, ticks every two seconds

# Device, inode, bytes, mtime and ctime in nanoseconds: it changes when the bytes of a file do.
Identity = tuple[int, ...]
_known: dict[tuple[Identity, str], str] = {}  # hashes of this process


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read; an OSError for anything else, without waiting for the writer of a pipe."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(number).st_mode):
        return open(number, "rb")  # closed by the caller
    os.close(number)
    raise OSError(errno.EINVAL, "it is a directory, a pipe or a device, not a file")


def hash_of(path: Path, algorithm: str = "sha256") -> str:
    """The file's hash in hex; a DiskError if it cannot be read."""
    with disk_errors(f"{str(path)!r} cannot be read"), open_file(path) as stream:
        return hash_of_open(stream, path, algorithm)


def hash_of_open(stream: BinaryIO, path: Path, algorithm: str = "sha256") -> str:
    """The hash in hex of a whole open file, which is then at its start; a DiskError that names ``path`` if it fails."""
    key = identity_of(stream), algorithm  # taken before reading: what changes meanwhile gets another key
    found = _known.get(key)
    with disk_errors(f"{str(path)!r} cannot be read"):
        stream.seek(0)
        if found is None:
            import hashlib  # loads OpenSSL, which `torso list` does not need

            digest = hashlib.new(algorithm, usedforsecurity=False)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
            found = digest.hexdigest()
            if time.time_ns() - max(key[0][3:]) > _SETTLED:  # else it could change again within the same tick
                _known[key] = found
            stream.seek(0)
    return found


def hash_of_same(path: Path, identity: Identity) -> str | None:
    """The SHA-256 of the file that was read under this identity; None if it has changed or is gone."""
    with suppress(OSError), open_file(path) as stream:
        found = hash_of_open(stream, path) if identity_of(stream) == identity else None
        return found if identity_of(stream) == identity else None  # it may change while it is hashed
    return None


def identity_of(stream: BinaryIO) -> Identity:
    facts = os.fstat(stream.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
