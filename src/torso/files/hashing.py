"""Reading files: regular ones only, each hashed once in a process."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from torso.files.disk_errors import disk_error

_CHUNK: Final = 1 << 20
_SETTLED: Final = 2 * 10**9  # nanoseconds; the coarsest clock of a file system, FAT's, ticks every two seconds

Identity = tuple[int, ...]
"""All that changes when the bytes of a file do, or when another file stands in its place."""

_known: dict[tuple[Identity, str], str] = {}  # hashes of this process


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read, and nothing else: a pipe or a device is refused at once, and not waited for.

    Raises:
        OSError: It is not there, is of another kind, or cannot be opened.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(number).st_mode):
        return open(number, "rb")  # closed by the caller
    os.close(number)
    raise OSError(errno.EINVAL, "it is a directory, a pipe or a device, not a file")


def hash_of(path: Path, algorithm: str = "sha256") -> str:
    """The file's hash in hex.

    Raises:
        DiskError: The file cannot be read.
    """
    try:
        with open_file(path) as stream:
            return hash_of_open(stream, path, algorithm)
    except OSError as error:
        raise disk_error(f"{str(path)!r} cannot be read", error) from error


def hash_of_open(stream: BinaryIO, path: Path, algorithm: str = "sha256") -> str:
    """The hash in hex of a whole file that is open; it then stands at its start.

    A file that has not changed since this process hashed it is not read again. What changed less than two seconds before
    is never remembered: it could change again without a trace.

    Args:
        stream: The file, open in binary mode.
        path: What errors call it.
        algorithm: As :mod:`hashlib` calls it.

    Raises:
        DiskError: The file cannot be read.
    """
    try:
        key = identity_of(stream), algorithm  # of before: what changes meanwhile gets another one
        if key not in _known:
            stream.seek(0)
            digest = hashlib.new(algorithm, usedforsecurity=False)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
            if time.time_ns() - max(key[0][3:]) < _SETTLED:
                return digest.hexdigest()
            _known[key] = digest.hexdigest()
        return _known[key]
    except OSError as error:
        raise disk_error(f"{str(path)!r} cannot be read", error) from error
    finally:
        stream.seek(0)


def hash_of_same(path: Path, identity: Identity) -> str | None:
    """The SHA-256 of the very file that was read under this identity; None where that is not there any more as it was."""
    try:
        with open_file(path) as stream:
            found = hash_of_open(stream, path) if identity_of(stream) == identity else None
            return found if identity_of(stream) == identity else None
    except OSError:
        return None


def copy_file(source: Path, target: Path, algorithms: Iterable[str] = ("sha256",)) -> dict[str, str]:
    """Copy a regular file to where none is yet; returns the hashes of the bytes that were written, in hex.

    Raises:
        OSError: It cannot be read or written.
    """
    with open_file(source) as stream:
        return copy_open(stream, target, algorithms)


def copy_open(stream: BinaryIO, target: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """The same for a file that is open, from its start."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    stream.seek(0)
    with target.open("xb") as copy:
        while chunk := stream.read(_CHUNK):
            copy.write(chunk)
            for digest in digests.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def identity_of(stream: BinaryIO) -> Identity:
    """Device, number and bytes of an open file, and when it was modified and changed, in nanoseconds since 1970."""
    facts = os.fstat(stream.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
