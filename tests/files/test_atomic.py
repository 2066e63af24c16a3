from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from torso.errors import DiskError, OutputExistsError
from torso.files import atomic as staging, hashing
from torso.files.atomic import (
    move_aside,
    put_back_old,
    refuse_existing,
    remove_leftovers,
    scratch_directory,
    staged_directory,
    staged_file,
)
from torso.files.disk_errors import require_space
from torso.files.hashing import copy_file, hash_of, hash_of_open, open_file


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


class Reads:
    """A stream that counts how often it is read from."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.count = stream, 0

    def read(self, size: int) -> bytes:
        self.count += 1
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def reads(path: Path, algorithm: str = "sha256") -> int:
    """How often a file is read from to know its hash, which is held against Python's own."""
    with open_file(path) as stream:
        stream.seek(1)
        counted = Reads(stream)
        found = hash_of_open(cast("BinaryIO", counted), path, algorithm)
        assert stream.tell() == 0
    assert found == hashlib.new(algorithm, path.read_bytes()).hexdigest()
    return counted.count


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an hour later than the files of this test."""
    now = time.time_ns
    monkeypatch.setattr(hashing.time, "time_ns", lambda: now() + 3600 * 10**9)


def test_a_file_is_hashed_once_in_a_process(tmp_path: Path, later: None) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"values")
    assert [reads(path), reads(path), reads(path, "md5"), reads(path, "md5"), reads(path)] == [2, 0, 2, 0, 0]
    path.rename(tmp_path / "moved")  # changes the time of the last change, of which nobody knows what it was
    assert reads(tmp_path / "moved") == 2


def test_what_changed_just_now_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"values")
    assert [reads(path), reads(path)] == [2, 2]
    path.write_bytes(b"VALUES")
    assert reads(path) == 2


def test_two_files_of_one_instant_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fstat = os.fstat

    def coarse(number: int) -> SimpleNamespace:
        facts = fstat(number)
        kept = {name: getattr(facts, name) for name in ("st_mode", "st_dev", "st_ino", "st_size")}
        return SimpleNamespace(**kept, st_mtime_ns=0, st_ctime_ns=0)

    for name in "ab":
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(hashing.os, "fstat", coarse)
    assert [reads(tmp_path / name) for name in "abab"] == [2, 2, 0, 0]


def test_a_file_that_changes_is_hashed_again(tmp_path: Path, later: None) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"values")
    facts = path.stat()
    reads(path)
    time.sleep(0.02)  # more than one tick of the clock that stamps files
    path.write_bytes(b"VALUES")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as an archive does that is unpacked
    assert reads(path) == 2
    other = tmp_path / "other"
    other.write_bytes(b"others")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    assert reads(path) == 2


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(tmp_path: Path, later: None) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"values")

    class Changing(Reads):
        def read(self, size: int) -> bytes:
            data = self.stream.read(size)
            if data:
                time.sleep(0.02)
                path.write_bytes(b"VALUES")
            return data

    with open_file(path) as stream:
        hash_of_open(cast("BinaryIO", Changing(stream)), path)
    assert reads(path) == 2


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    cause = "Too many levels of symbolic links" if kind == "loop" else "it is a directory, a pipe or a device, not a file"
    with pytest.raises(DiskError, match=f"'{path}' cannot be read\n  cause: {cause}"):
        hash_of(path)


def test_copy_file_says_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"torso" * 500_000)
    found = copy_file(tmp_path / "a", tmp_path / "b", ["sha256", "md5"])
    assert found == {name: hash_of(tmp_path / "b", name) for name in ("sha256", "md5")}
    assert (tmp_path / "b").read_bytes() == b"torso" * 500_000
    with pytest.raises(FileExistsError):
        copy_file(tmp_path / "a", tmp_path / "b")


def test_what_is_set_aside_takes_the_place_of_what_was_before(tmp_path: Path) -> None:
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
    remove_leftovers(tmp_path / "w[1].h5")
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
    put_back_old(tmp_path / "there")
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
        monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
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
    assert staging._exchange(tmp_path / "a", tmp_path / "b")
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

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "_exchange", lambda one, other: False)
        patch.setattr(os, call, fail)
        with pytest.raises(DiskError) as caught, staged_directory(place, force=True, ours=ours) as stage:
            write(stage, "new")
    assert str(caught.value) == (
        f"'{place}' could not be written\n"
        "  cause: No space left on device\n"
        "  fix: free some space, or choose a folder on another disk"
    )
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


def test_staged_file_replaces_only_with_force_and_never_what_is_no_file(tmp_path: Path) -> None:
    place = tmp_path / "picture.svg"
    place.write_text("old")
    with pytest.raises(OutputExistsError) as caught, staged_file(place, force=False):
        raise AssertionError("nothing is to be done")
    assert str(caught.value) == f"'{place}' already exists\n  fix: choose another file name, or replace it with --force"
    with staged_file(place, force=True) as stage:
        stage.write_text("new")
    assert place.read_text() == "new"
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    with pytest.raises(OutputExistsError, match=r"fix: choose another file name$"), staged_file(folder, force=True):
        raise AssertionError("nothing is to be done")


@pytest.mark.parametrize("target", ["photo.svg", "nowhere"])
def test_staged_file_never_replaces_a_link(tmp_path: Path, target: str) -> None:
    (tmp_path / "photo.svg").write_text("dear")
    place = tmp_path / "picture.svg"
    place.symlink_to(target)
    with pytest.raises(OutputExistsError, match=r"fix: choose another file name$"), staged_file(place, force=True):
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
        "  fix: free some space, or choose a folder on another disk"
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
