from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from torso.errors import DiskError
from torso.files import hashing
from torso.files.hashing import hash_of, hash_of_open, hash_of_same, identity_of, open_file


class Counted:
    """A stream that counts how often it is read from, and can do something after each of these reads."""

    def __init__(self, stream: BinaryIO, after=lambda: None) -> None:
        self.stream, self.count, self.after = stream, 0, after

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.count += 1
        self.after()
        return data

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def reads(path: Path, algorithm: str = "sha256") -> int:
    """How often a file is read from to know its hash, which is held against Python's own."""
    with path.open("rb") as stream:
        counted = Counted(stream)
        stream.seek(1)
        assert hash_of_open(counted, path, algorithm) == hashlib.new(algorithm, path.read_bytes()).hexdigest()
        assert stream.tell() == 0
    return counted.count


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"values")
    return tmp_path / "data"


@pytest.fixture
def later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an hour later than the files of this test."""
    assert [reads(path), reads(path)] == [2, 2]  # what changed just now could change again within the same tick
    now = time.time_ns
    monkeypatch.setattr(hashing.time, "time_ns", lambda: now() + 3600 * 10**9)


@pytest.mark.usefixtures("later")
def test_a_file_is_hashed_once_in_a_process_unless_it_changed_just_now(path):
    assert [reads(path), reads(path), reads(path, "md5"), reads(path, "md5"), reads(path)] == [2, 0, 2, 0, 0]
    path.rename(path.with_name("moved"))  # this changes the ctime
    assert reads(path.with_name("moved")) == 2


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_is_hashed_again(path):
    facts = path.stat()
    with open_file(path) as stream:
        identity, before = identity_of(stream), hash_of_open(stream, path)
    assert hash_of_same(path, identity) == before
    time.sleep(0.02)  # more than one tick of the clock that stamps files
    path.write_bytes(b"VALUES")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as an archive does that is unpacked
    assert reads(path) == 2
    assert hash_of_same(path, identity) is None
    other = path.with_name("other")
    other.write_bytes(b"others")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    assert reads(path) == 2


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(path):
    time.sleep(0.02)
    with path.open("rb") as stream:
        hash_of_open(Counted(stream, after=lambda: path.write_bytes(b"VALUES")), path)
    assert reads(path) == 2


@pytest.mark.parametrize("kind", ["nothing", "folder", "pipe", "device", "loop"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "nothing":
        path.symlink_to("/dev/zero" if kind == "device" else path)
    causes = {"nothing": "No such file or directory", "loop": "Too many levels of symbolic links"}
    with pytest.raises(DiskError) as caught:
        hash_of(path)
    cause = causes.get(kind, "it is a directory, a pipe or a device, not a file")
    assert str(caught.value) == f"'{path}' cannot be read\n  cause: {cause}"
