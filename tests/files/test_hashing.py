from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from refusals import refusal

from torso.errors import DiskError
from torso.files import hashing
from torso.files.hashing import hash_of, hash_of_open, hash_of_same, identity_of, open_file


def reads(path: Path, algorithm: str = "sha256", after=lambda: None) -> int:
    """How often a file is read from to know its hash, which is held against Python's own; something may happen after it."""
    expected = hashlib.new(algorithm, path.read_bytes()).hexdigest()
    with path.open("rb") as stream:
        counted = Mock(wraps=stream, read=Mock(side_effect=lambda size: (stream.read(size), after())[0]))
        stream.seek(1)
        assert hash_of_open(counted, path, algorithm) == expected
        assert stream.tell() == 0
    return counted.read.call_count


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
    reads(path, after=lambda: path.write_bytes(b"VALUES"))
    assert reads(path) == 2


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    no_file = "it is a directory, a pipe or a device, not a file"
    for name, cause in (("nothing", "No such file or directory"), ("", no_file), ("pipe", no_file), ("device", no_file)):
        said = refusal(hash_of, tmp_path / name, kind=DiskError)
        assert said == f"{str(tmp_path / name)!r} cannot be read\n  cause: {cause}"
