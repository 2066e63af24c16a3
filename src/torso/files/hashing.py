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

from torso.files.trouble import disk_error

_CHUNK: Final = 1 << 20
_SETTLED: Final = 2 * 10**9  # nanoseconds; the coarsest clock of a file system, FAT's, ticks every two seconds

_Key = tuple[int, int, int, int, int, str]
_known: dict[_Key, str] = {}  # hashes of this process, by all that changes when the bytes do


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
        key = _key(stream, algorithm)  # of before: what changes meanwhile gets another one
        if key not in _known:
            stream.seek(0)
            digest = hashlib.new(algorithm, usedforsecurity=False)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
            if time.time_ns() - max(key[3:5]) < _SETTLED:
                return digest.hexdigest()
            _known[key] = digest.hexdigest()
        return _known[key]
    except OSError as error:
        raise disk_error(f"{str(path)!r} cannot be read", error) from error
    finally:
        stream.seek(0)


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


def _key(stream: BinaryIO, algorithm: str) -> _Key:
    facts = os.fstat(stream.fileno())
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, algorithm
