"""Errors of the operating system in the user's words, and checks of space and access before work begins."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from torso.errors import DiskError, TorsoError

_SPACE: Final = "free some space, or choose a folder on another disk"
_FIXES: Final = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "grant write access, or choose another folder",
    errno.EPERM: "grant write access, or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EXDEV: "choose another folder: this one is on another disk, or in a layer of a container image",
    errno.EBUSY: "choose another folder: this one is in use, for example as a mount point",
}


@contextmanager
def disk_errors(fact: str, fix: str | None = None) -> Iterator[None]:
    """Turn errors of the operating system in the block into DiskErrors with this fact, the cause and a fix."""
    try:
        yield
    except TorsoError:  # some are OSErrors too
        raise
    except OSError as error:
        fix = fix or _FIXES.get(error.errno or 0)
        notes = [("cause", error.strerror or str(error)), *([("fix", fix)] if fix else [])]
        raise DiskError(fact, notes=notes) from error


def temporary_file_errors() -> AbstractContextManager[None]:
    """The same about temporary files: the user chose no folder for them."""
    where = ""
    with suppress(OSError):  # there may be no such folder at all
        where = f" in {tempfile.gettempdir()!r}"
    fix = "free some space there, or set TMPDIR to another folder"
    return disk_errors(f"a temporary file could not be written{where}", fix)


def require_space(place: Path, size: int) -> None:
    """Raise a DiskError if the disk of a place has less than ``size`` bytes left."""
    spot = place.absolute()
    try:
        disk = shutil.disk_usage(next(folder for folder in (spot, *spot.parents) if os.path.exists(folder)))
    except OSError:  # what else is wrong with it shows when it is written
        return
    if disk.free < size and disk.total:  # some network disks report a size of 0
        fact = f"{str(place)!r} needs {size / 1e6:.1f} MB, and its disk has {disk.free / 1e6:.1f} MB left"
        raise DiskError(fact, notes=[("fix", _SPACE)])


def require_writable(place: Path) -> None:
    """Raise a DiskError if the nearest existing parent of a place is no folder that this user may write in."""
    parent = next(folder for folder in place.absolute().parents if os.path.lexists(folder))
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        cause = f"{str(parent)!r} {'cannot be written' if parent.is_dir() else 'is not a folder'}"
        raise DiskError(f"nothing can be written in {str(place.parent)!r}", notes=[("cause", cause)])
