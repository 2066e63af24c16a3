"""What a function in another process returns or raises comes back, however that process ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images

import torso
from torso.export import isolated
from torso.export.isolated import ElsewhereError, call

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
PIXELS = images((4, 4, 3))
Ask = Callable[..., dict[str, np.ndarray]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Call a function with this body, of a module that is a file and nothing more, in a fresh process."""

    def ask(body: str, *, given: np.ndarray | None = PIXELS, before: str = "") -> dict[str, np.ndarray]:
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        file = tmp_path / "odd_one.py"
        act = "body(folder)" if given is None else "lambda images: body(folder, images)"
        start = f"import os, shutil, sys\n{before}\ndef body(folder, images=None):\n{lines}"
        file.write_text(f"{start}\ndef act(folder):\n    return {act}")
        monkeypatch.setitem(sys.modules, "odd_one", SimpleNamespace(__file__=str(file)))  # type: ignore[misc]
        return call("odd_one:act", tmp_path, images=given)

    return ask


@pytest.fixture
def here(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The same, with both sides in this process: what they write and read is the same, and it takes no second."""

    def run(folder: Path) -> int:
        sys.modules.pop("odd_one", None)
        isolated.answer(str(folder))
        return 0

    monkeypatch.setattr(isolated, "_run", run)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the file's folder is added to it, and must not stay
    return ask


def raised(ask: Ask, body: str, kind: type[BaseException], **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        ask(body, **{"given": None, **arguments})
    assert type(caught.value) is kind
    return str(caught.value)


# In another process


def test_arrays_come_back_by_name_in_order_and_bit_by_bit(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path, None, *sys.path])  # Python skips what is no text
    body = (
        "print('{\"names\": []}')\nos.write(1, b'more')\nos.close(1)\nos.chdir('/')\n"  # what is printed is no answer
        "return {'z/1': images, 2: images[:, ::-1], 'é': images > 100, 'file': images.mean()}"
    )
    given = ask(body)
    assert list(given) == ["z/1", "2", "é", "file"]
    assert_same_and_meaningful(given["z/1"], PIXELS)
    assert_same_and_meaningful(given["2"], PIXELS[:, ::-1])
    assert (given["é"] == (PIXELS > 100)).all()
    assert (given["file"].shape, given["file"]) == ((), PIXELS.mean())


def test_an_error_comes_back_and_the_process_is_another_one_on_the_cpu(ask: Ask) -> None:
    body = "raise torso.OptionError(f\"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}\")"
    process, devices = raised(ask, body, torso.OptionError, before="import torso").split()
    assert (process != str(os.getpid()), devices) == (True, "-1")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('one\\ntwo', flush=True); os._exit(3)", "ended with 3: two"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9, as the system does when memory is full"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_an_error_that_says_how(ask: Ask, body: str, said: str) -> None:
    assert raised(ask, body, ElsewhereError) == f"its process {said}"


def test_an_interrupted_wait_leaves_no_process_and_no_file(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))

    def interrupt(number: int, frame: object) -> None:  # as Ctrl-C does, or a time limit; for this process alone
        if list(tmp_path.glob("process-*")):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask("import time\n(folder / f'process-{os.getpid()}').touch()\ntime.sleep(60)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    (process,) = tmp_path.glob("process-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(process.name.partition("-")[2]), 0)
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("frozen", [True, False])
def test_a_program_that_cannot_start_python_says_so(ask: Ask, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    monkeypatch.setattr(isolated.subprocess, "Popen", lambda *words, **options: pytest.fail("it was started"))
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(sys, "executable", "/bin/app" if frozen else "")
    said = f"an export needs a Python to run, and sys.executable is {sys.executable!r}"
    assert raised(ask, "pass", torso.OptionError) == said


# What is returned and raised


def test_numbers_come_back_as_float32_and_nothing_without_images(here: Ask, tmp_path: Path) -> None:
    given = here("import ml_dtypes\nreturn {'a': images.astype(ml_dtypes.bfloat16)}")
    assert_same_and_meaningful(given["a"], np.asarray(keras.ops.cast(keras.ops.cast(PIXELS, "bfloat16"), "float32")))
    assert here("(folder / 'mark').write_text('done')\nreturn 3", given=None) == {}
    assert (tmp_path / "mark").read_text() == "done"


def test_an_error_of_torso_comes_back_with_its_class_its_notes_and_its_traceback(here: Ask) -> None:
    before = "from torso.errors import *\nclass Wrong(IntegrityError):\n    pass"
    with pytest.raises(torso.IntegrityError) as caught:
        here("raise Wrong('not these', notes=[('known', folder), ('fix', 'é\\udc80')])", before=before)
    assert (type(caught.value), caught.value.fact) == (torso.IntegrityError, "not these")
    assert caught.value.notes[1:] == (("fix", "é\udc80"),)
    assert str(caught.value.__cause__).startswith("in another process\nTraceback (most recent call last):\n")
    assert "Wrong: not these" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise OSError(28, 'No space left on device')", "OSError: [Errno 28] No space left on device"),
        ("raise DiskError('so it is')", "DiskError: so it is"),  # one that only bears the name
        ("raise torso.ManyErrors([torso.CutError('a'), torso.CutError('b')])", "ManyErrors: a"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("return None", "AttributeError: 'NoneType' object has no attribute 'items'"),
        ("return {'a': 'text'}", "ValueError: could not convert string to float: 'text'"),
    ],
)
def test_any_other_error_comes_back_in_one_line(here: Ask, body: str, said: str) -> None:
    before = "import torso\nclass DiskError(Exception):\n    pass"
    assert raised(here, body, ElsewhereError, given=PIXELS, before=before) == said
    assert raised(here, "raise MemoryError", MemoryError) == "MemoryError"
    with pytest.raises(ElsewhereError, match=r"^AttributeError: module 'json' has no attribute 'act'$"):
        call("json:act")


def test_temporary_files_that_cannot_be_written_are_told_with_their_folder(
    here: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(isolated.pickle, "dumps", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    said = raised(here, "pass", torso.DiskError, given=PIXELS)
    assert said.startswith(f"a temporary file could not be written in {str(tmp_path / 'scratch')!r}\n  cause: No space left")
    assert list((tmp_path / "scratch").iterdir()) == []


SAVE = """
import os, sys, tempfile, threading
mode, tiny, place = sys.argv[1:]
if mode == "removed":
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)
import torso

def save():
    registry = torso.Registry.load(plugins_dirs=[tiny])
    backbone = torso.create_backbone("TinyNet", name="edge", weights="none", registry=registry)
    backbone.save(place)
    if mode in ("removed", "interactive"):
        backbone.export(place + "-saved", to="saved_model", registry=registry)
    threads = [threading.Thread(target=backbone.save, args=(place,), kwargs={"force": True}) for _ in range(8)]
    for act in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            act(thread)

if __name__ == "__main__":
    if mode == "exit":
        import atexit
        import keras  # while Python can still import it
        atexit.register(save)
    elif mode == "fork":
        import multiprocessing
        process = multiprocessing.get_context(mode).Process(target=save)
        process.start()
        process.join()
        assert process.exitcode == 0
    else:
        save()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["removed", "exit", "fork", "closed", "no TMPDIR", "interactive"])
def test_a_backbone_is_saved_and_exported_wherever_python_runs(tmp_path: Path, mode: str) -> None:
    (tmp_path / "save.py").write_text(SAVE)
    environment = {**os.environ, "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if mode == "no TMPDIR":
        environment["TMPDIR"] = str(tmp_path / "no")
    switches = ["-i"] if mode == "interactive" else []
    words = [sys.executable, *switches, str(tmp_path / "save.py"), mode, str(TINY), str(tmp_path / "edge")]
    if mode == "closed":
        words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, input="")
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr[-2000:]
    assert torso.verify(tmp_path / "edge").holds
    assert (tmp_path / "edge-saved").exists() == (mode in ("removed", "interactive"))
    assert not list(tmp_path.glob(".*"))
