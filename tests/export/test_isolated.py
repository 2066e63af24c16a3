"""What is done in a fresh process comes back as it was given or raised, however that process ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images

import torso
from torso.export import isolated as delegating
from torso.export.isolated import ElsewhereError, call

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
PIXELS = images((4, 4, 3))


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, np.ndarray]]:
    """Call a function with this body, of a module that is a file and nothing more, in a fresh process."""

    def ask(body: str, *, given: np.ndarray | None = PIXELS, before: str = "") -> dict[str, np.ndarray]:
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        file = tmp_path / "odd_one.py"
        file.write_text(f"import os, sys\n{before}\ndef act(folder, images=None):\n{lines}")
        monkeypatch.setitem(sys.modules, "odd_one", SimpleNamespace(__file__=str(file)))  # type: ignore[misc]
        return call("odd_one:act", tmp_path, images=given)

    return ask


def raised(ask: Callable[..., Any], body: str, kind: type[BaseException], **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        ask(body, **{"given": None, **arguments})
    assert type(caught.value) is kind
    return str(caught.value)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """As Ctrl-C does, or a time limit; for this process alone."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


# What is given


def test_arrays_come_back_by_name_in_order_and_bit_by_bit(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    given = ask("return {'z/1': images, 2: images[:, ::-1].astype('float64'), 'é': images > 100, 'n': images.mean()}")
    assert list(given) == ["z/1", "2", "é", "n"]
    assert_same_and_meaningful(given["z/1"], PIXELS)
    assert_same_and_meaningful(given["2"], PIXELS[:, ::-1].astype("float64"))
    assert (given["é"] == (PIXELS > 100)).all()
    assert (given["n"].shape, given["n"]) == ((), PIXELS.mean())


def test_bfloat16_comes_back_as_float32(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    given = ask("import ml_dtypes\nreturn {'a': images.astype(ml_dtypes.bfloat16)}")
    assert_same_and_meaningful(given["a"], np.asarray(keras.ops.cast(keras.ops.cast(PIXELS, "bfloat16"), "float32")))


def test_nothing_comes_back_where_no_images_are_given(ask: Callable[..., Any], tmp_path: Path) -> None:
    assert ask("(folder / 'mark').write_text('done')\nreturn 3", given=None) == {}
    assert (tmp_path / "mark").read_text() == "done"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("None", "TypeError: it gives no arrays by their names, but a NoneType"),
        ("[images]", "TypeError: it gives no arrays by their names, but a list"),
        ("{'a': 'text'}", "TypeError: it gives 'a' as <U4, which are no numbers"),
        ("{'a': images * 1j}", "TypeError: it gives 'a' as complex64, which are no numbers"),
        ("{'a': {}}", "ValueError: Object arrays cannot be saved when allow_pickle=False"),
        ("{'a': [[1], [1, 2]]}", "ValueError: setting an array element with a sequence."),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(ask: Callable[..., Any], given: str, said: str) -> None:
    assert raised(ask, f"return {given}", ElsewhereError, given=PIXELS).startswith(said)


def test_what_a_function_prints_or_leaves_open_is_no_answer(ask: Callable[..., Any]) -> None:
    body = "print('{\"names\": []}')\nos.write(1, b'more')\nos.close(1)\nreturn {'a': images}"
    assert list(ask(body)) == ["a"]


# What is raised


def test_an_error_of_torso_comes_back_with_its_class_its_notes_and_its_traceback(ask: Callable[..., Any]) -> None:
    body = "raise torso.OptionError('not these', notes=[('known', folder), ('fix', 'é\\udc80')])"
    with pytest.raises(torso.OptionError) as caught:
        ask(body, before="import torso")
    assert (type(caught.value), caught.value.fact) == (torso.OptionError, "not these")
    assert [label for label, _ in caught.value.notes] == ["known", "fix"]
    assert caught.value.notes[1] == ("fix", "é\udc80")
    assert str(caught.value.__cause__).startswith("in another process\nTraceback (most recent call last):\n")
    assert "OptionError('not these'" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["IntegrityError", "DiskError", "PluginError", "SpecError", "CutError", "TorsoError"])
def test_each_kind_of_torsos_errors_comes_back_as_itself(ask: Callable[..., Any], name: str) -> None:
    assert (
        raised(ask, f"raise torso.errors.{name}('so it is')", getattr(torso.errors, name), before="import torso.errors")
        == "so it is"
    )


def test_a_plugins_own_kind_of_an_error_of_torso_comes_back_as_that(ask: Callable[..., Any]) -> None:
    before = "import torso\nclass Wrong(torso.IntegrityError):\n    pass"
    assert raised(ask, "raise Wrong('so it is', notes=[('fix', 'that')])", torso.IntegrityError, before=before) == (
        "so it is\n  fix: that"
    )


def test_a_class_that_only_bears_the_name_of_one_of_torsos_is_not_taken_for_it(ask: Callable[..., Any]) -> None:
    before = "class DiskError(Exception):\n    pass"
    assert raised(ask, "raise DiskError('so it is')", ElsewhereError, before=before) == "DiskError: so it is"


def test_several_errors_come_back_as_several(ask: Callable[..., Any]) -> None:
    body = "raise ManyErrors([OptionError('one', notes=[('fix', 'this')]), IntegrityError('other')])"
    with pytest.raises(torso.ManyErrors) as caught:
        ask(body, before="from torso.errors import *")
    assert [(type(one), str(one)) for one in caught.value.errors] == [
        (torso.OptionError, "one\n  fix: this"),
        (torso.IntegrityError, "other"),
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_disk_that_is_full_or_fails_there_is_an_error_of_the_disk(ask: Callable[..., Any], number: int) -> None:
    said = raised(ask, f"raise OSError({number}, 'in other words')", torso.DiskError)
    assert said.split("\n")[:2] == ["the files could not be written", f"  cause: {os.strerror(number)}"]


@pytest.mark.parametrize(
    "error",
    [
        "shutil.Error([('a', 'b', \"[Errno 28] No space left on device: 'a' -> 'b'\"), ('c', 'd', 'e')])",
        "RuntimeError(\"Can't write data (errno = 28, error message = 'No space left on device')\")",
        "ResourceExhaustedError('/tmp/x; No space left on device [Op:SaveV2]')",
    ],
    ids=["shutil", "HDF5", "TensorFlow"],
)
def test_a_full_disk_is_known_by_what_libraries_make_of_it(ask: Callable[..., Any], error: str) -> None:
    before = "import shutil\nclass ResourceExhaustedError(Exception):\n    pass"
    assert raised(ask, f"raise {error}", torso.DiskError, before=before) == (
        "the files could not be written\n"
        "  cause: No space left on device\n"
        "  fix: free some space, or choose a folder on another disk"
    )


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_what_copying_a_folder_failed_of_is_known(ask: Callable[..., Any], number: int) -> None:
    why = OSError(number, os.strerror(number), "a")
    said = raised(ask, f"raise shutil.Error([('a', 'b', {str(why)!r})])", torso.DiskError, before="import shutil")
    assert said.startswith(f"the files could not be written\n  cause: {os.strerror(number)}")


@pytest.mark.parametrize(
    "body", ["raise MemoryError", "raise ResourceExhaustedError('OOM')", "import numpy\nnumpy.empty(10**15)"]
)
def test_a_full_memory_there_is_a_full_memory_here(ask: Callable[..., Any], body: str) -> None:
    before = "class ResourceExhaustedError(Exception):\n    pass"
    raised(ask, body, MemoryError, before=before)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise KeyError", "KeyError"),
        ("raise Exception('bare')", "bare"),
        (
            "raise FileNotFoundError(2, 'No such file or directory', 'x')",
            "FileNotFoundError: [Errno 2] No such file or directory: 'x'",
        ),
        ("raise OSError('odd', object())", "OSError: [Errno odd] <object object"),
        ("raise Mute", "Mute"),
        ("raise Odd('words')", "Odd: words"),
        ("return other.thing", "NameError: name 'other' is not defined"),
    ],
)
def test_any_other_error_comes_back_in_one_line(ask: Callable[..., Any], body: str, said: str) -> None:
    before = (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\n"
        "class Odd(Exception):\n    notes = [3, ('a', 'b', 'c'), 'ab']\n    errors = 7\n    errno = object()\n"
    )
    assert raised(ask, body, ElsewhereError, before=before).startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit('last words')", "its process ended with 1: last words"),
        ("sys.exit(0)", "its process ended with 0"),
        ("print('one\\ntwo', flush=True); os._exit(3)", "its process ended with 3: two"),
        ("os.kill(os.getpid(), 9)", "its process was ended by SIGKILL, as the system does where memory is full"),
        ("os.kill(os.getpid(), 11)", "its process was ended by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "its process was ended by signal 40"),
        ("raise KeyboardInterrupt", "its process was ended by SIGINT: KeyboardInterrupt"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_an_error_that_says_how(
    ask: Callable[..., Any], body: str, said: str
) -> None:
    assert raised(ask, body, ElsewhereError) == said


def test_a_module_that_lacks_the_function_or_another_module_says_which(ask: Callable[..., Any]) -> None:
    assert raised(ask, "pass", ElsewhereError, before="nothing()") == "NameError: name 'nothing' is not defined"
    assert raised(ask, "pass", ElsewhereError, before="import no_such_module") == (
        "ModuleNotFoundError: No module named 'no_such_module'"
    )
    with pytest.raises(ElsewhereError, match=r"^AttributeError: module 'json' has no attribute 'act'$"):
        call("json:act")


def test_temporary_files_that_cannot_be_written_are_told_of_with_where_they_go(
    ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    said = (
        f"a temporary file could not be written in {str(tmp_path / 'scratch')!r}\n"
        "  cause: No space left on device\n"
        "  fix: free some space there, or set TMPDIR to another folder"
    )
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(delegating.np, "save", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    assert raised(ask, "pass", torso.DiskError, given=PIXELS) == said
    occupied = "from pathlib import Path\n(Path(sys.argv[1]) / 'answer.json').mkdir()"  # so that no answer can be written
    assert raised(ask, occupied, torso.DiskError, given=None) == said
    assert list((tmp_path / "scratch").iterdir()) == []


def test_whoever_interrupts_the_wait_leaves_no_process_and_no_file(
    ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    body = "import time\n(folder / 'process').write_text(str(os.getpid()))\ntime.sleep(60)"
    with pytest.raises(KeyboardInterrupt), interrupted_after(1.5):
        ask(body)
    assert not is_there(int((tmp_path / "process").read_text()))
    assert list((tmp_path / "scratch").iterdir()) == []


# How the process is started


@pytest.mark.parametrize(
    ("flags", "switches"),
    [
        ({}, []),
        ({"isolated": 1, "ignore_environment": 1, "no_user_site": 1}, ["-I", "-E", "-s"]),
        ({"ignore_environment": 1}, ["-E"]),
        ({"no_site": 1}, ["-S"]),
    ],
)
def test_the_process_heeds_the_environment_as_much_as_this_one(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, int], switches: list[str]
) -> None:
    none = {"isolated": 0, "ignore_environment": 0, "no_user_site": 0, "no_site": 0}
    monkeypatch.setattr(delegating.sys, "flags", SimpleNamespace(**{**none, **flags}))
    assert delegating.fresh_python() == [sys.executable, *switches]


def test_a_search_path_with_what_is_no_text_is_passed_on_without_it(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path, None, *sys.path])
    assert list(ask("return {'a': images}")) == ["a"]


@pytest.mark.parametrize("executable", ["", None])
def test_a_program_that_has_python_inside_is_told_to_name_one(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    said = (
        f"sys.executable is {executable!r}, and no other Python process can be started with that\n"
        "  cause: it does not say where Python is\n"
        "  fix: set sys.executable to a Python that has the same packages"
    )
    assert raised(ask, "pass", torso.OptionError) == said


def test_a_python_that_is_not_there_is_named(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert raised(ask, "pass", torso.OptionError).split("\n")[:2] == [
        "sys.executable is '/no/such/python', and no other Python process can be started with that",
        "  cause: No such file or directory",
    ]


def test_a_frozen_program_is_never_started_again(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(delegating.subprocess, "Popen", lambda *words, **options: pytest.fail("it was started"))
    assert "no other Python process can be started" in raised(ask, "pass", torso.OptionError)


def test_no_memory_for_a_process_is_a_full_memory(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(delegating.subprocess, "Popen", full)
    raised(ask, "pass", MemoryError)


SAVE = """
import os, sys, tempfile
from pathlib import Path
mode, tiny, place = sys.argv[1:]
if mode == "removed":
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)
import torso
if mode == "paths":
    import keras  # which TensorFlow comes with, that does not survive it
    sys.path.insert(0, Path(tiny))

def save():
    backbone = torso.create_backbone("TinyNet", name="edge", weights="none", registry=registry())
    backbone.save(place)
    if mode == "interactive":
        backbone.export(place + "-saved", to="saved_model", registry=registry())

def registry():
    return torso.Registry.load(plugins_dirs=[tiny])

def main():
    if mode == "exit":
        import atexit
        atexit.register(save)
    elif mode in ("spawn", "fork"):
        import multiprocessing
        process = multiprocessing.get_context(mode).Process(target=save)
        process.start()
        process.join()
        assert process.exitcode == 0
    elif mode == "threads":
        import concurrent.futures
        backbone = torso.create_backbone("TinyNet", name="edge", weights="none", registry=registry())
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(backbone.save, place, force=True) for _ in range(24)]:
                done.result()
    else:
        save()

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    ["removed", "paths", "exit", "spawn", "fork", "threads", "closed", "isolated", "no environment", "no TMPDIR",
     "interactive", "talkative"],
)  # fmt: skip
def test_a_backbone_is_saved_wherever_python_runs(tmp_path: Path, mode: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "json.py").write_text("raise RuntimeError('another json')")
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "sitecustomize.py").write_text("print('a Python that talks')")
    (tmp_path / "save.py").write_text(SAVE)
    switches = {"isolated": ["-I"], "no environment": ["-E"], "interactive": ["-i"]}.get(mode, [])
    paths = {"isolated": "odd", "no environment": "odd", "talkative": "talk"}
    environment = {**os.environ, "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": f":{tmp_path / 'no'}::"}
    if mode in paths:
        environment["PYTHONPATH"] = str(tmp_path / paths[mode])
    if mode == "no TMPDIR":
        environment["TMPDIR"] = str(tmp_path / "no")
    words = [sys.executable, *switches, str(tmp_path / "save.py"), mode, str(TINY), str(tmp_path / "edge")]
    if mode == "closed":
        words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, input="")
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr[-2000:]
    assert torso.verify(tmp_path / "edge").holds
    assert (tmp_path / "edge-saved").exists() == (mode == "interactive")
    assert not list(tmp_path.glob(".*"))
