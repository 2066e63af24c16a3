"""What a disk refuses, in the user's words, and asking it before there is much to lose."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torso.errors import DiskError, Note, TorsoError


def absolute(place: Path) -> Path:
    """The place as a path from the root, whatever becomes the working directory.

    Raises:
        DiskError: It depends on the working directory, and that is gone.
    """
    try:
        return place.absolute()
    except OSError as error:
        raise DiskError(
            f"there is no telling where {str(place)!r} is",
            notes=[("cause", "the working directory is gone"), ("fix", "change to another folder, or name a whole path")],
        ) from error


def require_space(place: Path, size: int) -> None:
    """Refuse early what the disk cannot hold.

    Args:
        place: Where something is to be written; the nearest parent that exists counts.
        size: Bytes wanted.

    Raises:
        DiskError: There is less than that.
    """
    spot = absolute(place)
    try:
        disk = shutil.disk_usage(next(folder for folder in (spot, *spot.parents) if os.path.exists(folder)))
    except OSError:  # what else is wrong with it shows when it is written
        return
    if disk.free < size and (disk.free or disk.total):  # some network disks say nothing of their size
        raise DiskError(
            f"{str(place)!r} needs {size / 1e6:.1f} MB, and its disk has {disk.free / 1e6:.1f} MB left",
            notes=[("fix", "free some space, or name a folder on another disk")],
        )


def require_writable(place: Path) -> None:
    """Refuse early what could not be written.

    Args:
        place: Where something is to be written; the nearest parent that exists counts.

    Raises:
        DiskError: That is no folder, or one that this user may not write in.
    """
    parent = next(folder for folder in absolute(place).parents if os.path.lexists(folder))
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        cause = f"{str(parent)!r} {'cannot be written' if parent.is_dir() else 'is not a folder'}"
        raise DiskError(f"nothing can be written in {str(place.parent)!r}", notes=[("cause", cause)])


@contextmanager
def temporary_file_errors() -> Iterator[None]:
    """Say of temporary files that cannot be written where they go, for the user has not named that place.

    Raises:
        DiskError: One could not be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, TorsoError):
            raise
        raise no_temporary_file(error) from error


def no_temporary_file(error: OSError) -> DiskError:
    """What a failure to write a temporary file means to the user."""
    try:
        fact = f"a temporary file could not be written in {tempfile.gettempdir()!r}"
    except OSError as nowhere:
        fact, error = "a temporary file could not be written", nowhere
    notes: list[Note] = [("cause", error.strerror or str(error))]
    return DiskError(fact, notes=[*notes, ("fix", "free some space there, or set TMPDIR to another folder")])


def disk_error(fact: str, error: OSError) -> DiskError:
    """What an operating system's error means to the user."""
    fixes = {
        errno.ENOSPC: "free some space, or name a folder on another disk",
        errno.EDQUOT: "free some space within your quota, or name a folder on another disk",
        errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
        errno.EACCES: "grant write access, or name another folder",
        errno.EPERM: "grant write access, or name another folder",
        errno.EROFS: "name a folder on a disk that can be written",
        errno.EXDEV: "name another folder: this one is part of another disk, or of a layer of a container's image",
        errno.EBUSY: "name another folder: this one is in use, as a mount is",
    }
    fix = fixes.get(error.errno or 0)
    cause = error.strerror or str(error)
    return DiskError(fact, notes=[("cause", cause), *([("fix", fix)] if fix else [])])
