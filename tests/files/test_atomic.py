from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from torso.artifact.manifest_file import read_document
from torso.errors import DiskError, OptionError, OutputExistsError
from torso.files import atomic
from torso.files.atomic import (
    move_aside,
    put_back_old,
    refuse_existing,
    scratch_directory,
    staged_directory,
    staged_file,
)
from torso.files.disk_errors import require_space


def ours(folder: Path) -> bool:
    return (folder / "mark").is_file()


def write(stage: Path, text: str) -> None:
    (stage / "mark").write_text(text)


def fail(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


FULL = "could not be written\n  cause: No space left on device\n  fix: free some space, or choose a folder on another disk"


def test_what_is_moved_aside_takes_the_place_of_what_was_before(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "w").write_text(text)
        assert move_aside(tmp_path / "w") == tmp_path / "w.rejected"
    move_aside(tmp_path / "w")  # as another process has done just now
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("w.rejected", "two")]
    (tmp_path / "w").mkdir()
    with pytest.raises(DiskError, match="could not be moved aside\n  cause: Not a directory"):
        move_aside(tmp_path / "w")


def test_leftovers_of_killed_writers_are_removed_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = time.time() - 25 * 3600
    old, live, other = (f".{name}.{number:016x}.partial" for number, name in enumerate(("w[1].h5", "w[1].h5", "w1.h5")))
    scratch, mine = "torso-scratch-abc", "torso-mine"
    for name in (old, live, other, scratch, mine):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage").write_text("half")
        if name != live:
            os.utime(tmp_path / name / "stage", (long_ago, long_ago))
        os.utime(tmp_path / name, (long_ago, long_ago))
    with staged_file(tmp_path / "w[1].h5", force=False) as stage:
        stage.touch()
    (tmp_path / "w[1].h5").unlink()
    assert {path.name for path in tmp_path.iterdir()} == {live, other, scratch, mine}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_directory() as folder:
        assert {path.name for path in tmp_path.iterdir()} == {live, other, folder.name, mine}


def test_a_read_puts_back_what_a_killed_replacement_moved_aside(tmp_path: Path) -> None:
    for text in ("early", "late"):
        folder = tmp_path / f".there.{len(text):016x}.old"
        folder.mkdir()
        write(folder, text)
        time.sleep(0.02)  # more than one tick of the clock that stamps files
    with pytest.raises(OptionError, match="holds no saved backbone"):
        read_document(tmp_path / "there")
    assert (tmp_path / "there" / "mark").read_text() == "late"
    put_back_old(tmp_path / "there")
    put_back_old(tmp_path / "other")
    assert len(os.listdir(tmp_path)) == 2


def test_staged_directory_appears_whole_with_its_parents(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    with staged_directory(place, force=False, ours=ours) as stage:
        write(stage, "new")
        assert not place.exists()
    assert (place / "mark").read_text() == "new"
    assert os.listdir(place.parent) == ["b"]


def test_staged_directory_leaves_nothing_behind_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged_directory(tmp_path / "a", force=False, ours=ours) as stage:
        write(stage, str(1 / 0))
    assert os.listdir(tmp_path) == []


def test_staged_directory_refuses_what_exists(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    write(place, "old")
    with pytest.raises(OutputExistsError) as caught, staged_directory(place, force=False, ours=ours):
        pass
    assert str(caught.value) == (
        f"'{place}' already exists\n  fix: choose another folder, or replace it with --force (Python: force=True)"
    )


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_force_never_replaces_what_torso_did_not_make(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "a"
    if kind == "folder":
        place.mkdir()
        (place / "photo").write_text("dear")
    elif kind == "file":
        place.write_text("dear")
    else:
        (tmp_path / "b").mkdir()
        write(tmp_path / "b", "dear")
        place.symlink_to(tmp_path / "b")
    with pytest.raises(OutputExistsError, match="it is not a backbone that torso saved"):
        refuse_existing(place, force=True, ours=ours)


@pytest.mark.parametrize("at_once", [True, False])
def test_force_replaces_an_earlier_result_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    if not at_once:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    place = tmp_path / "a"
    place.mkdir()
    write(place, "old")
    (place / "more").write_text("old")
    with staged_directory(place, force=True, ours=ours) as stage:
        write(stage, "new")
    assert os.listdir(place) == ["mark"]
    assert (place / "mark").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2 is Linux' own")
def test_exchange_swaps_two_directories_here(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, name)
    assert atomic._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "mark").read_text() == "b"


@pytest.mark.parametrize("call", ["mkdir", "rename", "fsync"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failing_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, exists: bool
) -> None:
    place = tmp_path / "a"
    if exists:
        place.mkdir()
        write(place, "old")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_exchange", lambda one, other: False)
        patch.setattr(os, call, fail)
        with pytest.raises(DiskError) as caught, staged_directory(place, force=True, ours=ours) as stage:
            write(stage, "new")
    assert str(caught.value) == f"'{place}' {FULL}"
    assert os.listdir(tmp_path) == (["a"] if exists else [])
    assert not exists or (place / "mark").read_text() == "old"


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DiskError, match=r"'.*/file/a' could not be written\n  cause: Not a directory"),
        staged_directory(tmp_path / "file" / "a", force=False, ours=ours),
    ):
        pass


def test_require_space_says_what_is_needed_and_what_is_left(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(DiskError, match=r"needs 1000000000000\.0 MB, and its disk has [0-9.]+ MB left"):
        require_space(tmp_path / "not" / "yet", 10**18)


def test_staged_file_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"
    with staged_file(place, force=False) as stage:
        assert (stage.suffix, stage.parent.parent) == (".svg", tmp_path)
        stage.write_text("new")
        assert not place.exists()
    assert place.read_text() == "new"
    assert os.listdir(tmp_path) == ["picture.svg"]


def test_staged_file_replaces_files_with_force(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"
    place.write_text("old")
    with pytest.raises(OutputExistsError) as caught, staged_file(place, force=False):
        raise AssertionError("nothing is to be done")
    assert str(caught.value) == f"'{place}' already exists\n  fix: choose another file name, or replace it with --force"
    with staged_file(place, force=True) as stage:
        stage.write_text("new")
    assert place.read_text() == "new"


@pytest.mark.parametrize("target", ["photo.svg", "nowhere", None])
def test_staged_file_never_replaces_a_link_or_a_folder(tmp_path: Path, target: str | None) -> None:
    (tmp_path / "photo.svg").write_text("dear")
    place = tmp_path / "picture.svg"
    place.mkdir() if target is None else place.symlink_to(target)
    with pytest.raises(OutputExistsError, match=r"fix: choose another file name$"), staged_file(place, force=True):
        raise AssertionError("nothing is to be done")
    assert place.is_dir() if target is None else os.readlink(place) == target


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_staged_file_leaves_what_stood_there_when_the_disk_fails(tmp_path: Path, call: str) -> None:
    place = tmp_path / "picture.svg"
    place.write_text("old")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(DiskError) as caught, staged_file(place, force=True) as stage:
            stage.write_text("new")
    assert str(caught.value) == f"'{place}' {FULL}"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("picture.svg", "old")]


@pytest.mark.parametrize("force", [False, True])
def test_staged_file_leaves_what_stood_there_when_the_writer_fails(tmp_path: Path, force: bool) -> None:
    place = tmp_path / "picture.svg"
    if force:
        place.write_text("old")

    def fail(stage: Path) -> None:
        stage.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), staged_file(place, force=force) as stage:
        fail(stage)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == ([("picture.svg", "old")] if force else [])


def test_staged_file_says_when_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught, staged_file(tmp_path / "none" / "picture.svg", force=False):
        raise AssertionError("nothing is to be done")
    assert str(caught.value) == f"'{tmp_path}/none/picture.svg' could not be written\n  cause: No such file or directory"
