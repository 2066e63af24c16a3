"""Call one function in a fresh Python process without an accelerator: what it imports or breaks ends with that process."""

import importlib
import importlib.util
import os
import pickle
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final

import numpy as np

import torso.errors as errors
from torso.files.atomic import scratch_directory
from torso.files.disk_errors import temporary_file_errors
from torso.plugins.calling import one_line
from torso.plugins.discovery import run_file

# The path of this process comes first: modules beside the script, or in the working directory, must not shadow others.
_START: Final = (
    "import sys; sys.path[:] = eval(sys.argv[1]); from torso.export import isolated; isolated.answer(sys.argv[2])"
)
_QUIET_CPU: Final = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


class ElsewhereError(Exception):
    """An error in another process that is not torso's own; its cause holds the traceback or what was printed."""


def call(reference: str, *arguments: Path | None, images: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Call ``package.module:function``, and what it returns with the images, if any; returns its arrays by name.

    Its TorsoError or MemoryError is raised here too; any other, or the end of its process, is an ElsewhereError.
    """
    module, _, function = reference.partition(":")
    file = getattr(sys.modules.get(module), "__file__", None)  # for a plugin that is a single file
    with scratch_directory() as folder:
        with temporary_file_errors():
            order = module, file, function, [path and path.absolute() for path in arguments], images
            (folder / "order").write_bytes(pickle.dumps(order))
        code = _run(folder)
        if (folder / "answer").exists():
            arrays, error, printed = pickle.loads((folder / "answer").read_bytes())
        else:
            printed = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()
            arrays, error = {}, ElsewhereError(_ending(code, printed))
    if error is not None:
        raise error from ElsewhereError(f"in another process\n{printed.rstrip()}")
    given: dict[str, np.ndarray] = arrays
    return given


def _run(folder: Path) -> int:
    """Run the other process, and return its exit code."""
    if not sys.executable or getattr(sys, "frozen", False):  # then it may be a program that would start itself again
        raise errors.OptionError(f"an export needs a Python to run, and sys.executable is {sys.executable!r}")
    path = [entry for entry in sys.path if isinstance(entry, str)]
    words = [sys.executable, "-c", _START, repr(path), str(folder)]
    with (folder / "log").open("wb") as log:  # not a pipe: a grandchild may hold that open
        env = {**os.environ, **_QUIET_CPU}
        process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        return process.wait()
    finally:  # not subprocess.run: interrupted by Ctrl-C, that does not wait for the end of the process
        process.kill()
        process.wait()


def _ending(code: int, printed: str) -> str:
    """How a process ended that gave no answer, with the last line that it printed."""
    how = f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"
    hint = ", as the system does when memory is full" if code == -signal.SIGKILL else ""
    last = printed.split("\n")[-1][:300]
    return f"its process {how}{hint}: {last}" if last else f"its process {how}{hint}"


# What follows runs in the other process.


def answer(folder: str) -> None:
    """Do what the file ``order`` says, and write ``answer``: arrays by name, or an error with its traceback."""
    place = Path(folder)
    module, file, function, arguments, images = pickle.loads((place / "order").read_bytes())
    try:
        if importlib.util.find_spec(module) is None and file:
            run_file(Path(file), module)
        returned = getattr(importlib.import_module(module), function)(*arguments)
        # numpy does not know bfloat16
        given = {} if images is None else returned(images)
        arrays = {str(name): np.asarray(values, "float32") for name, values in given.items()}
        (place / "answer").write_bytes(pickle.dumps((arrays, None, "")))
    except Exception as error:  # noqa: BLE001  # all of them are answers
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        (place / "answer").write_bytes(pickle.dumps(({}, _plain(error), lines)))


def _plain(error: Exception) -> Exception:
    """An error that the first process knows: one of torso's own, a MemoryError, or any other in one line."""
    if isinstance(error, errors.TorsoError) and not isinstance(error, errors.ManyErrors):
        kind: type[errors.TorsoError]  # that of torso: a plugin may derive its own
        kind = next(one for one in type(error).__mro__ if one.__module__ == errors.__name__)
        return kind(error.fact, notes=[(str(label), str(text)) for label, text in error.notes])
    return MemoryError(one_line(error)) if isinstance(error, MemoryError) else ElsewhereError(one_line(error))
