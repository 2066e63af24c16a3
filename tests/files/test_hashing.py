from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from torso.errors import DiskError
from torso.files import hashing
from torso.files.hashing import copy_file, hash_of, hash_of_open, open_file


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


def test_a_file_is_hashed_once_in_a_process_unless_it_changed_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "data", time.time_ns
    path.write_bytes(b"values")
    assert [reads(path), reads(path)] == [2, 2]
    monkeypatch.setattr(hashing.time, "time_ns", lambda: now() + 3600 * 10**9)
    assert [reads(path), reads(path), reads(path, "md5"), reads(path, "md5"), reads(path)] == [2, 0, 2, 0, 0]
    path.rename(tmp_path / "moved")  # this changes the ctime
    assert reads(tmp_path / "moved") == 2


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
