"""A writer that is killed, or meets a disk that fails, leaves the old result whole or the new one, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from laboratory import Laboratory
from saved import TINY, contents

from torso.artifact.documents import digest_of
from torso.artifact.lock import Lock
from torso.errors import DiskError, OutputExistsError
from torso.export.record import is_export
from torso.files import atomic
from torso.files.atomic import scratch_directory, staged_directory, staged_file
from torso.files.disk_errors import require_space


@pytest.fixture(scope="module")
def light():
    """Without TensorFlow."""
    laboratory = Laboratory(TINY)
    yield laboratory
    laboratory.end()


@pytest.fixture(scope="module")
def heavy():
    laboratory = Laboratory(TINY, heavy=True)
    yield laboratory
    laboratory.end()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "there"


def left_beside(place):
    """What is beside a place and was not put there by a test; each has the name of a leftover."""
    names = [path.name for path in place.parent.iterdir() if path != place and path.suffix != ".yaml"]
    assert all(re.fullmatch(rf"\.{re.escape(place.name)}\.[0-9a-f]{{16}}\.(partial|old)", name) for name in names)
    return names


def age(place):
    """Make leftovers two days old."""
    long_ago = time.time() - 48 * 3600
    for name in left_beside(place):
        for path in (place.parent / name, *(place.parent / name).rglob("*")):
            os.utime(path, (long_ago, long_ago))


def ours(folder):
    return (folder / "mark").is_file()


def fill(stage, text):
    stage.mkdir(exist_ok=True)
    (stage / "mark").write_text(text)


# A stage and nothing more


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("action", ["folder", "file"])
def test_a_writer_killed_at_any_operation_leaves_the_old_or_the_new_one(light, place, action, swaps):
    light.do(action, place, width=0)
    names = contents(place).keys()
    seen, aside = set(), 0
    for at in count(1):
        before = contents(place)
        found = light.do(action, place, width=at, swaps=swaps, at=at, fault="kill")
        if found["status"] == 0:
            break
        assert found["status"] == signal.SIGKILL
        seen.add(found["at"])
        if not place.exists():  # of the two that cannot be swapped in one step, the old one was moved aside
            assert (action, swaps, found["at"]) == ("folder", False, "os.rename")
            assert light.do(action, place, width=at, at=2, fault="kill")["at"] == "os.mkdir"
            assert contents(place) == before  # the next writer puts it back before it does anything else
            aside += 1
        assert contents(place) in (before, dict.fromkeys(names, str(at).encode()))
    assert contents(place) == dict.fromkeys(names, str(at).encode())
    publishing = {"exchange", "os.remove"} if action == "folder" else {"os.rename"}
    assert {"os.mkdir", "open", "fsync", "os.rmdir", *publishing} <= seen
    assert aside == (action == "folder" and not swaps)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("action", ["folder", "file"])
def test_an_operation_that_fails_is_one_error_and_leaves_all_as_it_was(light, place, action, swaps, fault):
    light.do(action, place, width=0)
    errors = 0
    for at in count(1):
        before = contents(place)
        found = light.do(action, place, width=at, swaps=swaps, at=at, fault=fault)
        if "kind" in found:
            errors += 1
            assert found["kind"] == "DiskError"
            assert found["text"].split("\n")[:2] == [f"'{place}' could not be written", f"  cause: {os.strerror(fault)}"]
            assert contents(place) == before
            assert left_beside(place) == []
            continue
        assert set(contents(place).values()) == {str(at).encode()}
        if "at" not in found:
            break
        # it was published by then: the rest of the old one could not be removed, or the folder not be synced
        assert found["at"] in ("os.remove", "os.rmdir", "fsync")
        for name in left_beside(place):
            shutil.rmtree(place.parent / name)
    assert errors >= 4


@pytest.mark.parametrize("swaps", [True, False])
def test_a_disk_that_fails_for_good_while_publishing_loses_neither_of_the_two(light, place, swaps):
    light.do("folder", place, width=0)
    for at in count(1):
        found = light.do("folder", place, width=at, swaps=swaps, at=at, fault=errno.EIO, lasts=True)
        if "at" not in found:
            break
        before = contents(place)
        light.do("folder", place, width=-1, at=2, fault="kill")  # puts back what was moved aside
        whole = contents(place)
        assert set(whole) == {"a", "b"}
        assert len(set(whole.values())) == 1
        assert before in ({}, whole)


@pytest.mark.parametrize(("force", "mark"), [(False, "mark"), (True, "photo"), (True, "mark")])
@pytest.mark.parametrize("late", [False, True])
def test_what_another_writer_put_there_meanwhile_is_replaced_with_force_only(place, monkeypatch, force, mark, late):
    rename = os.rename

    def come(*paths):
        if not place.exists():
            place.mkdir()
            (place / mark).write_text("another's")
        if paths:
            rename(*paths)

    replaced = force and mark == "mark"  # "photo": not a folder that torso wrote
    refused = nullcontext() if replaced else pytest.raises(OutputExistsError, match="already exists")
    with refused, staged_directory(place, force=force, ours=ours) as stage:
        fill(stage, "new")
        if late:  # after the last look
            monkeypatch.setattr(os, "rename", come)
        else:
            come()
    assert contents(place) == ({"mark": b"new"} if replaced else {mark: b"another's"})
    assert left_beside(place) == []


def test_the_working_directory_may_change_meanwhile(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with staged_directory(Path("there"), force=False, ours=ours) as folder, staged_file(Path("file"), force=False) as file:
        fill(folder, "new")
        file.write_text("new")
        os.chdir(tmp_path / "other")
    assert contents(tmp_path) == {"one/there/mark": b"new", "one/file": b"new"}


def test_all_is_on_the_disk_before_it_is_published_and_its_name_after_that(tmp_path, place, monkeypatch):
    fsync, synced = os.fsync, {}

    def note(handle):
        synced[os.fstat(handle).st_ino] = place.exists()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    with staged_directory(place, force=False, ours=ours) as stage:
        fill(stage, "new")
        fill(stage / "inner", "new")
    within = {path.stat().st_ino: False for path in (place, *place.rglob("*"))}
    assert synced == {**within, tmp_path.stat().st_ino: True}
    synced.clear()
    with staged_file(tmp_path / "file", force=False) as stage:
        stage.write_text("new")
    assert (tmp_path / "file").stat().st_ino in synced


def test_a_folder_has_the_modes_that_the_user_wants_and_the_mask_is_left_alone(tmp_path, monkeypatch):
    """The mask is the whole process's: to read it is to change it, and another thread may write a file at that moment."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("it is changed"))
            with staged_directory(tmp_path / "there", force=False, ours=ours) as stage:
                fill(stage, "new")
            with staged_file(tmp_path / "file", force=False) as stage:
                stage.write_text("new")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "there/mark", "file")}
    assert modes == {"there": 0o750, "there/mark": 0o640, "file": 0o640}


def test_writers_in_many_threads_leave_one_whole_result(tmp_path, place):
    def save(number):
        for turn in range(10):
            with staged_directory(place, force=True, ours=lambda folder: True) as stage:
                for name in "ab":
                    (stage / name).write_text(f"{number} {turn}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(8)))
    assert len(set(contents(place).values())) == 1
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("step", range(5))
def test_an_interrupt_between_the_steps_of_a_swap_loses_nothing(place, monkeypatch, step):
    steps = count()
    fill(place, "old")

    def interrupted(function):
        def call(*arguments):
            if next(steps) == step:
                raise KeyboardInterrupt
            function(*arguments)
            if next(steps) == step:
                raise KeyboardInterrupt

        return call

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_exchange", lambda one, other: False)
        patch.setattr(os, "rename", interrupted(os.rename))
        ended = pytest.raises(KeyboardInterrupt) if step < 4 else nullcontext()
        with ended, staged_directory(place, force=True, ours=ours) as stage:
            fill(stage, "new")
    assert contents(place) == {"mark": b"new" if step >= 3 else b"old"}
    assert left_beside(place) == []


def test_what_was_moved_aside_goes_a_day_after_that(tmp_path, place, monkeypatch):
    fill(tmp_path / f".there.{0:016x}.old", "old")
    os.utime(tmp_path / f".there.{0:016x}.old" / "mark", (0, 0))  # to move a folder leaves the times of its files
    fill(place, "")
    now = time.time()
    for hours, left in ((23, ["old"]), (25, [])):
        monkeypatch.setattr(atomic.time, "time", lambda hours=hours: now + hours * 3600)
        with staged_directory(place, force=True, ours=ours) as stage:
            fill(stage, "new")
        assert [path.read_text() for path in tmp_path.glob(".there.*.old/*")] == left


def refuse(number):
    def unable(*arguments):
        raise OSError(number, os.strerror(number))

    return unable


def test_a_disk_that_cannot_sync_folders_will_do(tmp_path, place, monkeypatch):
    is_folder = lambda handle: stat.S_ISDIR(os.fstat(handle).st_mode)  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: refuse(errno.EINVAL)() if is_folder(handle) else None)
    with staged_directory(place, force=False, ours=ours) as stage:
        fill(stage, "new")
    assert contents(tmp_path) == {"there/mark": b"new"}


def test_a_folder_that_cannot_be_moved_says_what_to_do(place, monkeypatch):
    fill(place, "old")
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", refuse(errno.EXDEV))
    said = "could not be written\n  cause: Invalid cross-device link\n  fix: choose another folder: this one is on another"
    with pytest.raises(DiskError, match=said), staged_directory(place, force=True, ours=ours) as stage:
        fill(stage, "new")
    assert contents(place) == {"mark": b"old"}


def test_a_disk_that_does_not_know_its_size_is_not_said_to_be_full(place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, free=0))
    require_space(place, 10**18)


def test_no_place_for_temporary_files_is_an_error_that_says_so(monkeypatch):
    def nowhere():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/here']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    said = r"a temporary file could not be written\n  cause: No usable temporary .*\n  fix: free some space there, or set "
    with pytest.raises(DiskError, match=said), scratch_directory():
        raise AssertionError("nothing is to be done")


# Backbones, exports and locks


PLACES = {"save": "edge", "build": "edge", "export": "edge", "lock": "nets.lock.json"}


def written(laboratory, action, place, width, **order):
    """Have a network of this width written."""
    if action in ("lock", "build"):
        spec = place.with_name("nets.yaml")
        spec.write_text(
            f"version: 1\nbackbones: {{edge: {{architecture: TinyNet, weights: none, options: {{width: {width}}}}}}}\n"
        )
        order["spec"] = str(spec)
    return laboratory.do(action, place, width=width, **order)


def width_of(laboratory, action, place):
    """The width of the network that was written, once it is certain that it is whole."""
    if action == "lock":
        return Lock.read(place).entries["edge"]["plan"]["options"]["width"]
    if action == "export":
        assert is_export(place)
        record = json.loads((place / "export.json").read_text())
        assert record["digest"] == digest_of(record)
        for name, facts in record["files"].items():
            assert facts["sha256"] == hashlib.sha256((place / name).read_bytes()).hexdigest()
        return record["outputs"][0]["channels"]
    found = laboratory.do("verify", place)
    assert (found["holds"], found["name"]) == (True, "edge")
    return json.loads((place / "manifest.json").read_text())["plan"]["options"]["width"]


# At some operations in all runs, and at each of them in the slow ones
EACH = [pytest.param(action, 1, marks=pytest.mark.slow) for action in ("save", "build", "lock")]


@pytest.mark.parametrize(("action", "step"), [("save", 8), ("lock", 2), *EACH])
def test_a_saver_killed_at_an_operation_leaves_one_and_the_next_saver_writes(heavy, tmp_path, action, step):
    place = tmp_path / PLACES[action]
    written(heavy, action, place, 1)
    killed, changed = 0, 0
    for at in range(1, 60, step):
        before = contents(place)
        found = written(heavy, action, place, at + 1, at=at, fault="kill")
        if found["status"] == 0:
            break
        killed += 1
        if contents(place) != before:
            changed += 1
            assert width_of(heavy, action, place) == at + 1
    assert killed >= 3
    assert step > 1 or changed  # once the new one is published, the old one is removed
    assert left_beside(place) != []
    age(place)
    written(heavy, action, place, 64)
    assert width_of(heavy, action, place) == 64
    assert left_beside(place) == []


FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, "memory")


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_or_memory_that_fails_is_one_error_and_leaves_the_old_one(heavy, tmp_path, step):
    place = tmp_path / "edge"
    written(heavy, "build", place, 1)
    failed = 0
    for at in range(1, 60, step):
        fault = FAULTS[at // step % len(FAULTS)]
        before = contents(place)
        found = written(heavy, "build", place, at + 1, at=at, fault=fault)
        if "at" not in found:
            break
        if found["code"] == 0 or contents(place) != before:  # it was published by then
            assert width_of(heavy, "build", place) == at + 1
            for name in left_beside(place):
                shutil.rmtree(place.parent / name)
            continue
        failed += 1
        assert left_beside(place) == []
        assert (found["errors"].count("error: "), "Traceback" in found["all"]) == (1, False)
        if fault == "memory":
            assert found["code"] == 6
        else:
            said = rf"error: ('{place}'|a temporary file) could not be written.*\n  cause: {os.strerror(fault)}\n"
            assert (found["code"], bool(re.match(said, found["errors"]))) == (5, True)
    assert failed >= 2
    assert width_of(heavy, "build", place) == at + 1


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_disk_that_takes_a_part_of_the_model_is_one_error_and_leaves_the_old_one(heavy, tmp_path, share):
    place = tmp_path / "edge"
    written(heavy, "save", place, 8)
    before = contents(place)
    found = written(heavy, "save", place, 8, limit=int(share * len(before["model.keras"])))
    assert found["text"] == (
        f"'{place}' could not be written\n  cause: File too large\n  fix: raise the limit on the size of files (ulimit -f)"
    )
    assert contents(place) == before
    assert left_beside(place) == []


@pytest.mark.slow
@pytest.mark.parametrize(("action", "moments"), [("save", 100), ("build", 40), ("export", 20)])
def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_one(heavy, tmp_path, action, moments):
    """At moments that are spread evenly over as long as it takes."""
    place = tmp_path / PLACES[action]
    killed, seconds = 0, min(written(heavy, action, place, width)["seconds"] for width in (1, 2, 3))
    for number in range(1, moments + 1):
        before, width = contents(place), 3 + number % 60
        found = written(heavy, action, place, width, moment=seconds * number / moments)
        assert found["status"] in (0, signal.SIGALRM)
        killed += found["status"] != 0
        if found["status"] == 0 or contents(place) != before:
            assert width_of(heavy, action, place) == width
    assert killed > moments / 2
    written(heavy, action, place, 64)
    assert width_of(heavy, action, place) == 64
