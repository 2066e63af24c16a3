"""What a disk refuses, in the user's words, and asking it before there is much to lose."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from torso.errors import DiskError


def require_space(place: Path, size: int) -> None:
    """Refuse early what the disk cannot hold.

    Args:
        place: Where something is to be written; the nearest parent that exists counts.
        size: Bytes wanted.

    Raises:
        DiskError: There is less than that.
    """
    parent = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < size:
        raise DiskError(
            f"{str(place)!r} needs {size / 1e6:.1f} MB, and its disk has {free / 1e6:.1f} MB left",
            notes=[("fix", "free some space, or name a folder on another disk")],
        )


def require_writable(place: Path) -> None:
    """Refuse early what could not be written.

    Args:
        place: Where something is to be written; the nearest parent that exists counts.

    Raises:
        DiskError: That is no folder, or one that this user may not write in.
    """
    parent = next(folder for folder in place.absolute().parents if os.path.lexists(folder))
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        cause = f"{str(parent)!r} {'cannot be written' if parent.is_dir() else 'is not a folder'}"
        raise DiskError(f"nothing can be written in {str(place.parent)!r}", notes=[("cause", cause)])


def disk_error(fact: str, error: OSError) -> DiskError:
    """What an operating system's error means to the user."""
    fixes = {
        errno.ENOSPC: "free some space, or name a folder on another disk",
        errno.EDQUOT: "free some space within your quota, or name a folder on another disk",
        errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
        errno.EACCES: "grant write access, or name another folder",
        errno.EPERM: "grant write access, or name another folder",
        errno.EROFS: "name a folder on a disk that can be written",
    }
    fix = fixes.get(error.errno or 0)
    cause = error.strerror or str(error)
    return DiskError(fact, notes=[("cause", cause), *([("fix", fix)] if fix else [])])
