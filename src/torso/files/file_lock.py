"""Waiting for another process that does the same work. What is right never depends on it: some disks know no locks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torso.files.disk_errors import disk_error

_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock beside a place; wait for it as long as another process does.

    Raises:
        DiskError: The folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise disk_error(f"{str(place.parent)!r} cannot be written", error) from error
    try:
        yield
    finally:
        lock.release()
