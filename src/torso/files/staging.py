"""What is written is staged beside its place and published by one rename.

What stood there before stays until then, and a failure leaves it untouched.
"""

from __future__ import annotations

import ctypes
import os
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
from torso.files.trouble import disk_error

_A_DAY: Final = 24 * 60 * 60


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
    refuse_existing(place, force=force, ours=ours, kind=kind)
    made = _make_parents(place)
    stage = None
    published = False
    try:
        stage = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent))
        stage.chmod(0o777 & ~_umask())
        yield stage
        _sync_tree(stage)
        _publish(stage, place)
        published = True
    except OSError as error:
        if isinstance(error, (DiskError, OutputExistsError)):
            raise
        raise disk_error(f"{str(place)!r} could not be written", error) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        if not published:
            for folder in made:
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
    refuse_existing_file(place, force=force)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", suffix=".partial", dir=place.parent) as folder:
            stage = Path(folder, f"stage{place.suffix}")
            yield stage
            _sync_tree(Path(folder))
            if force:
                os.replace(stage, place)
            else:
                os.link(stage, place)  # unlike a rename, it never replaces what came to stand there meanwhile
    except FileExistsError as error:
        raise OutputExistsError(f"{str(place)!r} exists already") from error
    except OSError as error:
        if isinstance(error, (DiskError, OutputExistsError)):
            raise
        raise disk_error(f"{str(place)!r} could not be written", error) from error


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A temporary directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="torso-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


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
    """Remove what writers of a file left that were killed, once nothing in it has changed for a day."""
    for folder in place.parent.glob(f".{escape(place.name)}.*.partial"):
        with suppress(OSError):
            latest = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
            if latest < time.time() - _A_DAY:
                shutil.rmtree(folder, ignore_errors=True)


def _make_parents(place: Path) -> list[Path]:
    """Make the folders above a place; returns those that are new, the innermost first."""
    new = [folder for folder in place.absolute().parents if not folder.exists()]
    try:
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(f"{str(place.parent)!r} could not be made", error) from error
    return new


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    try:
        folder.rmdir()
    except OSError:
        return


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _publish(stage: Path, place: Path) -> None:
    """Put the staged directory in its place; an earlier one goes to where the stage was, in the same instant."""
    if not place.exists():
        os.rename(stage, place)
    elif not _exchange(stage, place):
        aside = stage.with_suffix(".old")
        os.rename(place, aside)
        try:
            os.rename(stage, place)
        except OSError:
            os.rename(aside, place)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    handle = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step where the system can: Linux, on most file systems."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    current_folder, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    return bool(rename(current_folder, os.fsencode(one), current_folder, os.fsencode(other), exchange) == 0)
