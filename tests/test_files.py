from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import torso.files
from torso.errors import DiskError, OutputExistsError
from torso.files import hash_of, refuse_existing, require_space, staged_directory, staged_file


def ours(folder: Path) -> bool:
    return (folder / "mark").is_file()


def write(stage: Path, text: str) -> None:
    (stage / "mark").write_text(text)


def test_hash_of_is_what_sha256sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"torso" * 500_000)
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert hash_of(path) == printed


def test_hash_of_says_which_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught:
        hash_of(tmp_path / "none")
    assert str(caught.value) == f"'{tmp_path}/none' cannot be read\n  cause: No such file or directory"


def test_staged_directory_appears_whole_with_its_parents(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    with staged_directory(place, force=False, ours=ours) as stage:
        write(stage, "new")
        assert not place.exists()
    assert (place / "mark").read_text() == "new"
    assert os.listdir(place.parent) == ["b"]


def test_staged_directory_leaves_nothing_behind_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(TypeError), staged_directory(tmp_path / "a" / "b", force=False, ours=ours) as stage:
        write(stage, 0)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_staged_directory_refuses_what_exists(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.mkdir()
    write(place, "old")
    with pytest.raises(OutputExistsError) as caught, staged_directory(place, force=False, ours=ours):
        pass
    assert str(caught.value) == (
        f"'{place}' exists already\n  fix: name another folder, or replace it with --force (Python: force=True)"
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
        monkeypatch.setattr(torso.files, "_exchange", lambda one, other: False)
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
    assert torso.files._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "mark").read_text() == "b"


@pytest.mark.parametrize("call", ["mkdtemp", "rename", "fsync"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_failing_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, exists: bool
) -> None:
    place = tmp_path / "a"
    if exists:
        place.mkdir()
        write(place, "old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torso.files, "_exchange", lambda one, other: False)
        patch.setattr(torso.files.tempfile if call == "mkdtemp" else os, call, fail)
        with pytest.raises(DiskError) as caught, staged_directory(place, force=True, ours=ours) as stage:
            write(stage, "new")
    assert str(caught.value) == (
        f"'{place}' could not be written\n"
        "  cause: No space left on device\n"
        "  fix: free some space, or name a folder on another disk"
    )
    assert os.listdir(tmp_path) == (["a"] if exists else [])
    assert not exists or (place / "mark").read_text() == "old"


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(DiskError, match=r"could not be made\n  cause: File exists"),
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


def test_staged_file_replaces_only_with_force_and_never_what_is_no_file(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"
    place.write_text("old")
    with pytest.raises(OutputExistsError) as caught, staged_file(place, force=False):
        raise AssertionError("nothing is to be done")
    assert str(caught.value) == f"'{place}' exists already\n  fix: name another file, or replace it with --force"
    with staged_file(place, force=True) as stage:
        stage.write_text("new")
    assert place.read_text() == "new"
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    with pytest.raises(OutputExistsError, match=r"fix: name another file$"), staged_file(folder, force=True):
        raise AssertionError("nothing is to be done")


@pytest.mark.parametrize("target", ["photo.svg", "nowhere"])
def test_staged_file_never_replaces_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "photo.svg").write_text("dear")
    place = tmp_path / "picture.svg"
    place.symlink_to(target)
    with pytest.raises(OutputExistsError, match=r"fix: name another file$"), staged_file(place, force=True):
        raise AssertionError("nothing is to be done")
    assert os.readlink(place) == target


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_staged_file_leaves_what_stood_there_when_the_disk_fails(tmp_path: Path, call: str) -> None:
    place = tmp_path / "picture.svg"
    place.write_text("old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(DiskError) as caught, staged_file(place, force=True) as stage:
            stage.write_text("new")
    assert str(caught.value) == (
        f"'{place}' could not be written\n"
        "  cause: No space left on device\n"
        "  fix: free some space, or name a folder on another disk"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("picture.svg", "old")]


def test_staged_file_does_not_replace_what_came_to_stand_there_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"

    def write_both(stage: Path) -> None:
        stage.write_text("new")
        place.write_text("another's")

    with pytest.raises(OutputExistsError), staged_file(place, force=False) as stage:
        write_both(stage)
    assert place.read_text() == "another's"


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
