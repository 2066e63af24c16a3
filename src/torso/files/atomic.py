"""Write files and folders whole or not at all: stage them beside their place, sync them to the disk, rename them.

The old file or folder stays until the rename. A killed writer leaves its stage as ``.NAME.….partial``. A later writer of
that place removes it once nothing in it has changed for a day.
"""

import errno
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from torso.errors import OutputExistsError
from torso.files.disk_errors import disk_errors, temporary_file_errors

_A_DAY: Final = 24 * 60 * 60
_SCRATCH: Final = "torso-scratch-"
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def refuse_existing(place: Path, *, force: bool, ours: Callable[[Path], bool] = Path.is_file) -> None:
    """Raise an OutputExistsError if something is at a place, unless ``ours`` knows it as an earlier result and ``force``."""
    if not os.path.lexists(place):
        return
    fact, fix = f"{str(place)!r} already exists", "choose another name, or replace it with --force (Python: force=True)"
    if place.is_symlink() or not ours(place):
        fact += ", and it is not an earlier result, or holds other files too"
        fix = "choose another name; --force replaces only earlier results"
    elif force:
        return
    raise OutputExistsError(fact, notes=[("fix", fix)])


@contextmanager
def staged_directory(place: Path, *, force: bool, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty folder to fill. If the block ends without an error, it becomes ``place``. Missing parents are made."""
    spot = place.absolute()  # the working directory may change meanwhile
    put_back_old(spot)
    refuse_existing(place, force=force, ours=ours)
    with _stage_beside(place, spot) as stage:
        stage.mkdir(parents=True)  # not mkdtemp: the folder shall have the mode that the user's umask gives
        yield stage
        _sync_tree(stage)
        _publish(stage, spot, lambda: refuse_existing(spot, force=force, ours=ours))


@contextmanager
def staged_file(place: Path, *, force: bool) -> Iterator[Path]:
    """Yield a path to write, with the same suffix. If the block ends without an error, the file becomes ``place``."""
    spot = place.absolute()
    refuse_existing(place, force=force)
    with _stage_beside(place, spot) as folder:
        folder.mkdir(0o700)
        stage = folder / f"stage{place.suffix}"
        yield stage
        _sync_tree(folder)
        refuse_existing(spot, force=force)  # something may have come there meanwhile
        os.replace(stage, spot)
        _sync(spot.parent)


@contextmanager
def _stage_beside(place: Path, spot: Path) -> Iterator[Path]:
    """Yield a free path beside a place, and remove what is left there. Errors of the operating system name the place."""
    _remove_old(spot.parent, _leftover(spot, "(partial|old)"))
    stage = spot.with_name(f".{spot.name}.{os.urandom(8).hex()}.partial")
    try:
        with disk_errors(f"{str(place)!r} could not be written"):
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Yield a temporary folder, and remove it afterwards. Folders that killed runs left are removed after a day."""
    with temporary_file_errors():
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
    _remove_old(folder.parent, re.escape(_SCRATCH) + r"\w+")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they do not exist; a DiskError if that fails."""
    with disk_errors(f"{str(folder)!r} could not be made"):
        folder.mkdir(parents=True, exist_ok=True)


def move_aside(place: Path) -> None:
    """Rename a file to ``NAME.rejected``, replacing an earlier one."""
    with disk_errors(f"{str(place)!r} could not be moved aside"), suppress(FileNotFoundError):  # another process did it
        os.replace(place, place.with_name(place.name + ".rejected"))


def put_back_old(place: Path) -> None:
    """Put back the old folder if a writer was killed between its two renames. Call it before a read or a write.

    There are two renames only where two folders cannot be exchanged in one step, as on NFS.
    """
    if os.path.lexists(place):
        return
    with suppress(OSError):  # another process did it, or the disk is read-only
        aside = _named(place.parent, _leftover(place, "old"))
        os.rename(max(aside, key=lambda path: path.lstat().st_ctime), place) if aside else None


def _leftover(place: Path, suffix: str) -> str:
    return rf"\.{re.escape(place.name)}\.[0-9a-f]{{16}}\.{suffix}"


def _named(parent: Path, name: str) -> list[Path]:
    return [path for path in parent.iterdir() if re.fullmatch(name, path.name)]


def _remove_old(parent: Path, name: str) -> None:
    """Remove the folders whose names match, if nothing in them has changed for a day: killed runs left them."""
    with suppress(OSError):
        for folder in _named(parent, name):
            # A rename changes only the ctime: it tells when an .old folder was moved aside.
            latest = [folder.lstat().st_ctime] if folder.suffix == ".old" else []
            latest += [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
            if max(latest) < time.time() - _A_DAY:
                shutil.rmtree(folder, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Write a folder and everything in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    with suppress(OSError) if path.is_dir() else nullcontext():  # some network disks cannot sync folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _publish(stage: Path, place: Path, refuse: Callable[[], None]) -> None:
    """Rename the stage to its place. An old folder there is removed, or takes the path of the stage."""
    while True:
        refuse()
        try:
            if not os.path.lexists(place):
                os.rename(stage, place)
            elif not _exchange(stage, place):
                _replace_in_two_steps(stage, place)
            break
        except OSError as error:
            if error.errno not in _TAKEN or not os.path.lexists(place):
                raise  # otherwise another writer came first: look again
    _sync(place.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, where the system can: Linux and macOS, on most file systems."""
    import ctypes  # takes 2 ms, and every command imports this module

    # renameat2(2) with RENAME_EXCHANGE, renameatx_np(2) with RENAME_SWAP: both flags are 2; the numbers are AT_FDCWD.
    name, here = {"linux": ("renameat2", -100), "darwin": ("renameatx_np", -2)}.get(sys.platform, ("", 0))
    rename = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), 2) == 0


def _replace_in_two_steps(stage: Path, place: Path) -> None:
    """Rename the old folder aside, then the new one to its place. :func:`put_back_old` repairs a kill in between."""
    old = stage.with_suffix(".old")
    try:
        os.rename(place, old)
        os.rename(stage, place)
    finally:
        if os.path.lexists(place):
            shutil.rmtree(old, ignore_errors=True)
        elif os.path.lexists(old):
            os.rename(old, place)
