"""What is written is staged beside its place and published by one rename.

What stood there before stays until then, and a failure leaves it untouched. A writer that is killed leaves its stage beside
the place, as ``.NAME.….partial``; a later one removes it, once nothing in it has changed for a day.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Final

from torso.errors import DiskError, OutputExistsError
from torso.files.disk_errors import absolute, disk_error, temporary_file_errors

_A_DAY: Final = 24 * 60 * 60
_NO_SYNC_OF_FOLDERS: Final = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EISDIR)
_EXCHANGES: Final = {"linux": ("renameat2", -100), "darwin": ("renameatx_np", -2)}  # each with its AT_FDCWD
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of renameat2(2), RENAME_SWAP of renameatx_np(2)
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_NO_LINKS_HERE: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def refuse_existing(
    place: Path, *, force: bool, ours: Callable[[Path], bool], kind: str = "a backbone that torso saved"
) -> None:
    """Refuse to write where something stands that would be lost.

    Args:
        place: Where a directory is to be published.
        force: The user agreed to replace an earlier result there.
        ours: Whether a folder is an earlier result and nothing else; what is not is never replaced.
        kind: What an earlier result is called.

    Raises:
        OutputExistsError: Something stands there, and it may not be replaced.
    """
    if not os.path.lexists(place):
        return
    replaceable = place.is_dir() and not place.is_symlink() and ours(place)
    if replaceable and force:
        return
    if replaceable:
        raise OutputExistsError(
            f"{str(place)!r} exists already",
            notes=[("fix", "name another folder, or replace it with --force (Python: force=True)")],
        )
    raise OutputExistsError(
        f"{str(place)!r} exists already, and it is not {kind}, or not that alone",
        notes=[("fix", "name another folder; torso does not replace this one, with --force neither")],
    )


@contextmanager
def staged_directory(
    place: Path, *, force: bool, ours: Callable[[Path], bool], kind: str = "a backbone that torso saved"
) -> Iterator[Path]:
    """Write a directory that appears at its place whole, or not at all.

    Args:
        place: Where it will be; its parents are made.
        force: Replace an earlier result there.
        ours: Whether a folder is an earlier result and nothing else.
        kind: What an earlier result is called.

    Yields:
        An empty directory on the same disk, to be filled.

    Raises:
        OutputExistsError: Something stands there that may not be replaced.
        DiskError: The disk refused, filled up or failed; what stood there before is untouched.
    """
    spot = absolute(place)  # whatever becomes the working directory meanwhile
    _settle(spot, ours)
    refuse_existing(place, force=force, ours=ours, kind=kind)
    remove_leftovers(spot)
    made: list[Path] = []
    stage = _beside(spot)
    published = False
    try:
        _make_parents(spot, made)
        stage.mkdir()
        yield stage
        _sync_tree(stage)
        while not published:
            refuse_existing(spot, force=force, ours=ours, kind=kind)  # what came to stand there meanwhile
            published = _publish(stage, spot)
    except OSError as error:
        if isinstance(error, (DiskError, OutputExistsError)):
            raise
        raise disk_error(f"{str(place)!r} could not be written", error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not published:
            for folder in reversed(made):
                _remove_if_empty(folder)


def refuse_existing_file(place: Path, *, force: bool) -> None:
    """Refuse to write a file where something stands that would be lost.

    Args:
        place: Where a file is to be published.
        force: The user agreed to replace a file there; anything else than a file is never replaced.

    Raises:
        OutputExistsError: Something stands there, and it may not be replaced.
    """
    if not os.path.lexists(place) or (force and place.is_file() and not place.is_symlink()):
        return
    fix = "name another file" + ("" if force else ", or replace it with --force")
    raise OutputExistsError(f"{str(place)!r} exists already", notes=[("fix", fix)])


@contextmanager
def staged_file(place: Path, *, force: bool) -> Iterator[Path]:
    """Write a file that appears at its place whole, or not at all.

    Args:
        place: Where it will be; its folder must be there.
        force: Replace a file there.

    Yields:
        A path on the same disk with the same suffix, to be written.

    Raises:
        OutputExistsError: Something stands there that may not be replaced.
        DiskError: The disk refused, filled up or failed; what stood there before is untouched.
    """
    spot = absolute(place)
    refuse_existing_file(place, force=force)
    remove_leftovers(spot)
    folder = _beside(spot)
    try:
        folder.mkdir(0o700)
        stage = folder / f"stage{place.suffix}"
        yield stage
        _sync_tree(folder)
        if force:
            os.replace(stage, spot)
        else:
            _link(stage, spot)
        with suppress(OSError):  # it is there, and whole
            _sync_folder(spot.parent)
    except FileExistsError as error:
        raise OutputExistsError(f"{str(place)!r} exists already") from error
    except OSError as error:
        if isinstance(error, (DiskError, OutputExistsError)):
            raise
        raise disk_error(f"{str(place)!r} could not be written", error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A temporary directory that is gone afterwards.

    Raises:
        DiskError: There is no place for one.
    """
    with temporary_file_errors():
        folder = Path(tempfile.mkdtemp(prefix="torso-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        DiskError: One of them could not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(f"{str(folder)!r} could not be made", error) from error


def set_aside(place: Path) -> Path:
    """Move what stands at a place to ``NAME.rejected``, where it is kept until the next that is; returns where that is.

    Raises:
        DiskError: It could not be moved.
    """
    aside = place.with_name(place.name + ".rejected")
    try:
        with suppress(FileNotFoundError):  # another process did it
            os.replace(place, aside)
    except OSError as error:
        raise disk_error(f"{str(place)!r} could not be moved aside", error) from error
    return aside


def remove_leftovers(place: Path) -> None:
    """Remove what writers left beside a place that were killed, once nothing in it has changed for a day."""
    for folder in _left_beside(place, "partial"):
        with suppress(OSError):
            latest = max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
            if latest < time.time() - _A_DAY and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def _beside(place: Path) -> Path:
    """A name for a stage that nobody else has."""
    return place.with_name(f".{place.name}.{secrets.token_hex(8)}.partial")


def _left_beside(place: Path, suffix: str) -> list[Path]:
    return list(place.parent.glob(f".{escape(place.name)}.*.{suffix}"))


def _settle(place: Path, ours: Callable[[Path], bool]) -> None:
    """Give a place back what a writer had moved aside that was killed before the new one stood there.

    It can happen where directories cannot be swapped in one step, as on NFS; see :func:`_swap`.
    """
    aside = sorted(filter(ours, _left_beside(place, "old")), key=lambda folder: folder.lstat().st_ctime)
    with suppress(OSError):  # another process did it
        if aside and not os.path.lexists(place):
            os.rename(aside.pop(), place)
        for folder in aside:  # the new one did stand there
            if folder.lstat().st_ctime < time.time() - _A_DAY:
                shutil.rmtree(folder, ignore_errors=True)


def _make_parents(place: Path, made: list[Path]) -> None:
    """Make the folders above a place, and add each that is new to the list, the outermost first."""
    try:
        for folder in reversed([folder for folder in place.parents if not folder.exists()]):
            with suppress(FileExistsError):  # another process did it
                folder.mkdir()
                made.append(folder)
        if not place.parent.is_dir():
            place.parent.mkdir()  # which says what is in the way
    except OSError as error:
        raise disk_error(f"{str(place.parent)!r} could not be made", error) from error


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    try:
        folder.rmdir()
    except OSError:
        return


def _sync_tree(folder: Path) -> None:
    """Have a folder with all that is in it on the disk, and not in the system's memory alone."""
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync_folder(path)
        elif path.is_file():
            _sync(path)
    _sync_folder(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """The same for the names in it, where the system knows how; some network disks do not."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise


def _publish(stage: Path, place: Path) -> bool:
    """Put the staged directory in its place; an earlier one is where the stage was then.

    Where that fails, all is as it was; False where something came to stand there in this instant.
    """
    exists = os.path.lexists(place)
    if not exists:
        try:
            os.rename(stage, place)
        except OSError as error:
            if error.errno in _TAKEN and os.path.lexists(place):
                return False
            raise
    elif not _exchange(stage, place):
        _swap(stage, place)
    try:
        _sync_folder(place.parent)
    except BaseException:
        if not exists:
            os.rename(place, stage)
        elif not _exchange(stage, place):
            _swap(stage, place)
        raise
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step where the system can: Linux and macOS, on most file systems."""
    name, current_folder = _EXCHANGES.get(sys.platform, ("", 0))
    rename = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if rename is None:
        return False
    return bool(rename(current_folder, os.fsencode(one), current_folder, os.fsencode(other), _EXCHANGE) == 0)


def _swap(stage: Path, place: Path) -> None:
    """Swap two directories step by step. For a writer that is killed between them, :func:`_settle` puts the old one back."""
    aside = stage.with_suffix(".old")
    try:
        os.rename(place, aside)
        os.rename(stage, place)
        os.rename(aside, stage)
    except BaseException:
        if os.path.lexists(aside):
            if os.path.lexists(place):
                os.rename(place, stage)
            os.rename(aside, place)
        raise


def _link(stage: Path, place: Path) -> None:
    """Give a file its name, unless it is taken by now."""
    try:
        os.link(stage, place)  # unlike a rename, it never replaces what came to stand there meanwhile
    except OSError as error:
        if error.errno not in _NO_LINKS_HERE:
            raise
        refuse_existing_file(place, force=False)
        os.rename(stage, place)
