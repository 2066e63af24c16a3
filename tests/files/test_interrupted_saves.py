"""Whoever is killed while saving, or meets a disk that fails, leaves the old one whole or the new one, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from torso.artifact.lock import Lock
from torso.artifact.manifest import digest_of
from torso.errors import DiskError, OutputExistsError, PluginError
from torso.export.record import is_export, write_record
from torso.files import atomic as staging
from torso.files.atomic import scratch_directory, staged_directory, staged_file
from torso.files.disk_errors import require_space, require_writable

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"

LABORATORY = r'''
"""Does what it is told in a fork of itself, and there has something happen at the k-th operation that changes a disk."""

import importlib, io, json, os, resource, signal, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

plugins, heavy, began = sys.argv[1], sys.argv[2] == "heavy", time.monotonic()
from torso.files.atomic import staged_directory, staged_file
from torso.files import atomic as staging

if heavy:  # imported once; TensorFlow computes in the forks alone, for it does not survive one
    import torso
    from torso.cli import main
    from torso.modeling import building
    from torso.export import isolated as delegating
    from torso.export import errand
    from torso.export import write as exporting



def in_this_process(reference, *paths, images=None):
    module, _, function = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(*paths, *([] if images is None else [images]))
    except Exception as error:
        raise delegating._as_error(json.loads(json.dumps(errand.told(error))))


class Fault:
    def __init__(self, at, kind, lasts):
        self.at, self.kind, self.lasts, self.count, self.off = at, kind, lasts, 0, False

    def step(self, name):
        if self.off:
            return
        self.count += 1
        if self.count == self.at or (self.lasts and self.count > self.at and not name.startswith(("os.remove", "os.rmdir"))):
            say(at=name)
            if self.kind == "kill":
                os.kill(os.getpid(), 9)
            raise MemoryError if self.kind == "memory" else OSError(self.kind, os.strerror(self.kind))

    def hear(self, event, arguments):
        if event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.truncate"):
            self.step(event)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            if "__autograph_generated" not in str(arguments[0]):  # TensorFlow's own, and caught there
                self.step("open")

    def watch(self):
        def watched(name, function):
            def step(*arguments):
                self.step(name)
                return function(*arguments)
            return step

        os.fsync = watched("fsync", os.fsync)
        staging._exchange = watched("exchange", staging._exchange)
        sys.addaudithook(self.hear)


def say(**facts):
    os.write(tongue, json.dumps(facts).encode() + b"\n")


def perform(fault, action, place, width=4, swaps=True, limit=None, real=False, moment=None, **more):
    place = Path(place)
    if not swaps:
        staging._exchange = lambda one, other: False
    if action in ("folder", "file"):
        fault.watch()
        if action == "file":
            with staged_file(place, force=True) as stage:
                stage.write_text(str(width))
            return
        with staged_directory(place, force=True, ours=lambda folder: (folder / "b").is_file()) as stage:
            for name in "ab":
                (stage / name).write_text(str(width))
        return
    if not real:  # what the fresh processes do, done here
        exporting.call = in_this_process
    if action in ("lock", "build"):
        words = ["--plugins-dir", plugins, action, more["spec"], *(["-o", str(place.parent)] if action == "build" else [])]
        fault.watch()
        start(moment)
        command(fault, [*words, "--force"])
        return
    registry = torso.Registry.load(plugins_dirs=[plugins])
    if action == "verify":
        say(holds=torso.verify(place).holds, name=torso.load(place).name)
        return
    backbone = torso.create_backbone("TinyNet", name="edge", weights="none", options={"width": width}, registry=registry)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    fault.watch()
    start(moment)
    if action == "save":
        backbone.save(place, force=True)
    else:
        backbone.export(place, to="saved_model", force=True, registry=registry)


def start(moment):
    """Begin to count the time; as good as killed once that is over."""
    global began
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, moment or 0)


def command(fault, words):
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words, "torso")
    except SystemExit as end:
        fault.off = True
        errors = err.getvalue()
        say(code=end.code or 0, errors=errors[errors.find("error: "):] if "error: " in errors else "", all=errors)


def work(order):
    os.setpgid(0, 0)
    os.dup2(2, 1)
    fault = Fault(order.pop("at", None), order.pop("fault", None), order.pop("lasts", False))
    try:
        perform(fault, **order)
    except BaseException as error:
        fault.off = True
        say(kind=type(error).__name__, text=str(error), trace=traceback.format_exc())
    fault.off = True
    say(operations=fault.count, seconds=time.monotonic() - began)


for line in sys.stdin:
    hearing, tongue = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(hearing)
        try:
            work(json.loads(line))
        finally:
            os._exit(0)
    os.close(tongue)
    facts = {}
    with open(hearing) as stream:
        for said in stream:
            facts.update(json.loads(said))
    facts["status"] = os.waitpid(pid, 0)[1]
    print(json.dumps(facts), flush=True)
'''


class Laboratory:
    """The process that has everything imported, and forks for each order."""

    def __init__(self, weight: str) -> None:
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", LABORATORY, str(TINY), weight],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def do(self, action: str, place: Path, **order: Any) -> dict[str, Any]:
        """What came of it; ``status`` is the signal for who was killed, and 0 otherwise."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"action": action, "place": str(place), **order}) + "\n")
        self.process.stdin.flush()
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts

    def end(self) -> None:
        self.process.communicate("")


@pytest.fixture(scope="module")
def light() -> Iterator[Laboratory]:
    """Without TensorFlow."""
    laboratory = Laboratory("light")
    yield laboratory
    laboratory.end()


@pytest.fixture(scope="module")
def heavy() -> Iterator[Laboratory]:
    laboratory = Laboratory("heavy")
    yield laboratory
    laboratory.end()


def contents(place: Path) -> dict[str, bytes]:
    """All that stands at a place, by its names."""
    if place.is_file():
        return {"": place.read_bytes()}
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def left_beside(place: Path) -> list[str]:
    """What is in the folder of a place that was not put there by a test; each has the name of a leftover."""
    names = [path.name for path in place.parent.iterdir() if path != place and path.suffix != ".yaml"]
    assert all(re.fullmatch(rf"\.{re.escape(place.name)}\.[0-9a-f]{{16}}\.(partial|old)", name) for name in names)
    return names


def age(place: Path) -> None:
    """Make leftovers two days old."""
    long_ago = time.time() - 48 * 3600
    for name in left_beside(place):
        for path in (place.parent / name, *(place.parent / name).rglob("*")):
            os.utime(path, (long_ago, long_ago))


def spec(place: Path, width: int) -> str:
    """A spec of one network; the width tells which."""
    path = place.with_name("nets.yaml")
    path.write_text(
        f"version: 1\nbackbones: {{edge: {{architecture: TinyNet, weights: none, options: {{width: {width}}}}}}}\n"
    )
    return str(path)


def width_of(laboratory: Laboratory, action: str, place: Path) -> int:
    """Which one stands there, once it is sure that it is whole."""
    width: int
    if action == "lock":
        width = Lock.read(place).entries["edge"]["plan"]["options"]["width"]
    elif action == "export":
        assert is_export(place)
        record = json.loads((place / "export.json").read_text())
        assert record["digest"] == digest_of(record)
        for name, facts in record["files"].items():
            assert facts["sha256"] == hashlib.sha256((place / name).read_bytes()).hexdigest()
        width = record["outputs"][0]["channels"]
    else:
        found = laboratory.do("verify", place)
        assert (found["holds"], found["name"]) == (True, "edge")
        width = json.loads((place / "manifest.json").read_text())["plan"]["options"]["width"]
    return width


PLACES = {"save": "edge", "build": "edge", "export": "edge", "lock": "nets.lock.json"}


# A stage and nothing more


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("action", ["folder", "file"])
def test_a_writer_that_is_killed_at_any_operation_leaves_the_old_or_the_new_one(
    light: Laboratory, tmp_path: Path, action: str, swaps: bool
) -> None:
    place = tmp_path / "there"
    light.do(action, place, width=0)
    names = contents(place).keys()
    seen, aside, at = set(), 0, 0
    while True:
        at, before = at + 1, contents(place)
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


def test_what_killed_writers_left_is_removed_by_a_later_one_once_it_is_a_day_old(light: Laboratory, tmp_path: Path) -> None:
    place = tmp_path / "there"
    light.do("folder", place)
    for at in (3, 6):
        assert light.do("folder", place, at=at, fault="kill")["status"] == signal.SIGKILL
    left = left_beside(place)
    assert len(left) == 2
    light.do("folder", place)
    assert left_beside(place) == left
    age(place)
    light.do("folder", place)
    assert left_beside(place) == []


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("action", ["folder", "file"])
def test_an_operation_that_fails_is_one_error_with_the_place_and_leaves_all_as_it_was(
    light: Laboratory, tmp_path: Path, action: str, swaps: bool, fault: int
) -> None:
    place = tmp_path / "there"
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
        # it stood in its place by then: what is left of the old one could not be removed, or the folder not be synced
        assert found["at"] in ("os.remove", "os.rmdir", "fsync")
        for name in left_beside(place):
            shutil.rmtree(place.parent / name)
    assert errors >= 5


@pytest.mark.parametrize("swaps", [True, False])
def test_a_disk_that_fails_for_good_while_a_folder_is_published_loses_neither_of_the_two(
    light: Laboratory, tmp_path: Path, swaps: bool
) -> None:
    place = tmp_path / "there"
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


def ours(folder: Path) -> bool:
    return (folder / "mark").is_file()


def fill(stage: Path, text: str) -> None:
    stage.mkdir(exist_ok=True)
    (stage / "mark").write_text(text)


@pytest.mark.parametrize(("force", "mark"), [(False, "mark"), (True, "photo")])
@pytest.mark.parametrize("late", [False, True])
def test_what_came_to_stand_there_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool, mark: str, late: bool
) -> None:
    place, rename = tmp_path / "there", os.rename

    def come() -> None:
        place.mkdir()
        (place / mark).write_text("another's")

    def overtaken(*paths: Path) -> None:
        if not place.exists():
            come()
        rename(*paths)

    def save(stage: Path) -> None:
        fill(stage, "new")
        if late:  # where nobody looks any more
            monkeypatch.setattr(os, "rename", overtaken)
        else:
            come()

    with pytest.raises(OutputExistsError, match="already exists"), staged_directory(place, force=force, ours=ours) as stage:
        save(stage)
    assert contents(place) == {mark: b"another's"}
    assert left_beside(place) == []


def test_whoever_is_overtaken_by_another_saver_replaces_that_with_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "there", os.rename

    def overtaken(*paths: Path) -> None:
        if not place.exists():
            fill(place, "another's")
        rename(*paths)

    monkeypatch.setattr(os, "rename", overtaken)
    with staged_directory(place, force=True, ours=ours) as stage:
        fill(stage, "new")
    assert contents(tmp_path) == {"there/mark": b"new"}


def test_a_working_directory_that_changes_meanwhile_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with staged_directory(Path("there"), force=False, ours=ours) as folder, staged_file(Path("file"), force=False) as file:
        fill(folder, "new")
        file.write_text("new")
        os.chdir(tmp_path / "other")
    assert contents(tmp_path) == {"one/there/mark": b"new", "one/file": b"new"}


def test_a_working_directory_that_is_gone_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = (
        "'there' cannot be found\n"
        "  cause: the working directory no longer exists\n"
        "  fix: change to another folder, or use an absolute path"
    )
    for refused in (
        staged_directory(Path("there"), force=False, ours=ours).__enter__,
        staged_file(Path("there"), force=False).__enter__,
        lambda: require_space(Path("there"), 1),
        lambda: require_writable(Path("there")),
    ):
        with pytest.raises(DiskError) as caught:
            refused()
        assert str(caught.value) == said
    with staged_directory(tmp_path / "there", force=False, ours=ours) as stage:
        fill(stage, "new")
    assert contents(tmp_path) == {"there/mark": b"new"}


def test_folders_above_are_removed_again_if_one_of_them_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir
    for last in ("b", "c", ".there"):

        def full(path: Path, *mode: Any, last: str = last) -> None:
            if os.path.basename(path).startswith(last):
                raise OSError(errno.ENOSPC, "No space left on device")
            mkdir(path, *mode)

        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", full)
            with pytest.raises(DiskError, match=r"could not be (made|written)\n  cause: No space left on device"):
                staged_directory(tmp_path / "a" / "b" / "c" / "there", force=False, ours=ours).__enter__()
        assert list(tmp_path.iterdir()) == []


def test_all_that_is_written_is_on_the_disk_before_it_is_published_and_its_name_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, fsync = tmp_path / "there", os.fsync
    synced: dict[int, bool] = {}

    def note(handle: int) -> None:
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


def test_a_leftover_in_whose_depth_something_changed_today_is_left(light: Laboratory, tmp_path: Path) -> None:
    place = tmp_path / "there"
    deep = tmp_path / ".there.0123456789abcdef.partial" / "variables" / "inner"
    deep.mkdir(parents=True)
    age(place)
    fill(deep, "live")
    os.utime(deep, (0, 0))
    light.do("folder", place)
    assert left_beside(place) == [".there.0123456789abcdef.partial"]


def test_a_folder_has_the_modes_that_the_user_wants_and_the_mask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the whole process: to read it is to change it, and a thread may write a file in that moment."""
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


def test_savers_in_many_threads_leave_one_whole_result(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def save(number: int) -> None:
        try:
            for turn in range(10):
                with staged_directory(tmp_path / "there", force=True, ours=lambda folder: True) as stage:
                    for name in "ab":
                        (stage / name).write_text(f"{number} {turn}")
        except Exception as error:  # noqa: BLE001  # of whatever kind
            errors.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == []
    assert len(set(contents(tmp_path / "there").values())) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


@pytest.mark.parametrize("step", range(5))
def test_an_interrupt_between_the_steps_of_a_swap_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    place, steps = tmp_path / "there", count()
    fill(place, "old")

    def interrupted(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if next(steps) == step:
                raise KeyboardInterrupt
            function(*arguments)
            if next(steps) == step:
                raise KeyboardInterrupt

        return call

    with monkeypatch.context() as patch:
        patch.setattr(staging, "_exchange", lambda one, other: False)
        patch.setattr(os, "rename", interrupted(os.rename))
        with (
            pytest.raises(KeyboardInterrupt) if step < 4 else nullcontext(),
            staged_directory(place, force=True, ours=ours) as stage,
        ):
            fill(stage, "new")
    assert contents(place) == {"mark": b"new" if step >= 3 else b"old"}
    assert left_beside(place) == []


def test_of_two_that_were_moved_aside_the_later_is_put_back_and_the_other_goes_with_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "there"
    for number, text in enumerate(("early", "late")):
        fill(tmp_path / f".there.{number:016x}.old", text)
        time.sleep(0.02)  # more than one tick of the clock that stamps files
    fill(tmp_path / ".there.mine.old", "")
    with pytest.raises(OutputExistsError):
        staged_directory(place, force=False, ours=ours).__enter__()
    assert contents(place) == {"mark": b"late"}
    now = time.time()
    for hours, left in ((23, {"early", ""}), (25, {""})):
        monkeypatch.setattr(staging.time, "time", lambda hours=hours: now + hours * 3600)
        with staged_directory(place, force=True, ours=ours) as stage:
            fill(stage, "new")
        assert {path.read_text() for path in tmp_path.glob(".there.*.old/*")} == left


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_disk_that_cannot_sync_folders_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fsync = os.fsync

    def unable(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", unable)
    with staged_directory(tmp_path / "there", force=False, ours=ours) as stage:
        fill(stage, "new")
    assert contents(tmp_path) == {"there/mark": b"new"}


def test_a_disk_without_links_takes_a_file_all_the_same_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*paths: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unable)
    with staged_file(tmp_path / "file", force=False) as stage:
        stage.write_text("new")

    def write_both(stage: Path) -> None:
        stage.write_text("new")
        (tmp_path / "other").write_text("another's")

    with pytest.raises(OutputExistsError), staged_file(tmp_path / "other", force=False) as stage:
        write_both(stage)
    assert contents(tmp_path) == {"file": b"new", "other": b"another's"}


def test_a_folder_that_cannot_be_moved_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "there", "old")

    def unable(*paths: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", unable)
    with pytest.raises(DiskError) as caught, staged_directory(tmp_path / "there", force=True, ours=ours) as stage:
        fill(stage, "new")
    assert str(caught.value) == (
        f"'{tmp_path}/there' could not be written\n"
        "  cause: Invalid cross-device link\n"
        "  fix: choose another folder: this one is on another disk, or in a layer of a container image"
    )
    assert contents(tmp_path) == {"there/mark": b"old"}


def test_a_disk_that_does_not_know_its_size_is_not_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, free=0))
    require_space(tmp_path / "there", 10**18)

    def unable(path: Path) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(shutil, "disk_usage", unable)
    require_space(tmp_path / "there", 10**18)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=9, free=0))
    with pytest.raises(DiskError, match=r"^'there' needs 1000000000000\.0 MB, and its disk has 0\.0 MB left"):
        require_space(Path("there"), 10**18)


def test_no_place_for_temporary_files_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/here']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(DiskError) as caught, scratch_directory():
        raise AssertionError("nothing is to be done")
    assert str(caught.value) == (
        "a temporary file could not be written\n"
        "  cause: No usable temporary directory found in ['/tmp', '/here']\n"
        "  fix: free some space there, or set TMPDIR to another folder"
    )


def test_a_folder_with_a_pipe_for_a_record_is_no_export_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "export.json")
    assert not is_export(tmp_path)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_what_is_no_file_of_its_own_is_not_exported(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model").write_text("values")
    if kind == "pipe":
        os.mkfifo(tmp_path / "odd")
    else:
        (tmp_path / "odd").symlink_to("model" if kind == "link" else "nowhere")
    with pytest.raises(PluginError) as caught:
        write_record({}, tmp_path)
    assert str(caught.value) == "the export has 'odd', which is no file of its own\n  fix: write plain files"


# Backbones, exports and locks


def written(laboratory: Laboratory, action: str, place: Path, width: int, **order: Any) -> dict[str, Any]:
    """Have one written that is told by its width."""
    if action in ("lock", "build"):
        order["spec"] = spec(place, width)
    return laboratory.do(action, place, width=width, **order)


def steps(*few: tuple[str, int]) -> Any:
    """At which operations: at some of them in all runs, and at each of them in the slow ones."""
    every = [pytest.param(action, 1, marks=pytest.mark.slow) for action in PLACES]
    return pytest.mark.parametrize(("action", "step"), [*few, *every])


@steps(("save", 5), ("lock", 2))
def test_whoever_is_killed_at_an_operation_leaves_the_old_or_the_new_one_and_the_next_one_writes_it(
    heavy: Laboratory, tmp_path: Path, action: str, step: int
) -> None:
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
    assert step > 1 or changed  # once the new one stands, the old one is removed
    assert width_of(heavy, action, place) == at + 1
    assert left_beside(place) != []
    age(place)
    written(heavy, action, place, 64)
    assert width_of(heavy, action, place) == 64
    assert left_beside(place) == []


FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, "memory")


@steps(("build", 4), ("lock", 3))
def test_a_disk_or_a_memory_that_fails_at_an_operation_is_one_error_and_leaves_the_old_one(
    heavy: Laboratory, tmp_path: Path, action: str, step: int
) -> None:
    place = tmp_path / PLACES[action]
    written(heavy, action, place, 1)
    failed = 0
    for at in range(1, 60, step):
        fault = FAULTS[at // step % len(FAULTS)]
        before = contents(place)
        found = written(heavy, action, place, at + 1, at=at, fault=fault)
        if "at" not in found:
            break
        if (fault == "memory" and before != contents(place)) or not {"kind", "code"} & {*found} or found.get("code") == 0:
            assert width_of(heavy, action, place) == at + 1  # it was to be removed, or a temporary file had another try
            for name in left_beside(place):
                shutil.rmtree(place.parent / name)
            continue
        failed += 1
        assert contents(place) == before
        assert left_beside(place) == []
        assert_one_error(found, fault, place)
    assert failed >= 2
    assert width_of(heavy, action, place) == at + 1


def assert_one_error(found: dict[str, Any], fault: Any, place: Path) -> None:
    """One error of the disk that names the place, or where temporary files go; or of the memory."""
    memory = fault == "memory"
    if "code" in found:
        assert found["code"] == (6 if memory else 5)
        assert found["errors"].count("error: ") == 1
        assert "Traceback" not in found["all"]
    else:
        assert found["kind"] in ("MemoryError", "PluginError") if memory else found["kind"] == "DiskError"
    if not memory:
        fact, cause = (found["text"] if "text" in found else found["errors"].removeprefix("error: ")).split("\n")[:2]
        temporary = f"a temporary file could not be written in {tempfile.gettempdir()!r}"
        exported = "the files could not be written"
        assert fact in (f"'{place}' could not be written", temporary, exported)
        assert cause == f"  cause: {os.strerror(fault)}"


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_disk_that_takes_only_a_part_of_the_model_is_one_error_and_leaves_the_old_one(
    heavy: Laboratory, tmp_path: Path, share: float
) -> None:
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
@pytest.mark.parametrize("action", ["save", "export", "build", "lock"])
def test_whoever_is_killed_at_a_moment_leaves_the_old_or_the_new_one(heavy: Laboratory, tmp_path: Path, action: str) -> None:
    """With all processes that belong to it, forty times, spread evenly over as long as it takes."""
    place = tmp_path / PLACES[action]
    moments, killed = 40, 0
    seconds = min(written(heavy, action, place, width, real=True)["seconds"] for width in (1, 2, 3))
    for number in range(1, moments + 1):
        before = contents(place)
        found = written(heavy, action, place, 3 + number, real=True, moment=seconds * number / moments)
        assert found["status"] in (0, signal.SIGALRM)
        killed += found["status"] != 0
        if found["status"] == 0 or contents(place) != before:
            assert width_of(heavy, action, place) == 3 + number
    assert killed > moments / 2
    written(heavy, action, place, 64, real=True)
    assert width_of(heavy, action, place) == 64
