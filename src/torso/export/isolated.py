"""Call one function in a fresh Python process without an accelerator: what it imports or breaks ends with that process."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

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


def call(reference: str, *paths: Path, images: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Call ``package.module:function`` with paths, and with images if any; returns its arrays by name.

    Its TorsoError or MemoryError is raised here too; any other, or the end of its process, is an ElsewhereError.
    """
    module, _, function = reference.partition(":")
    order = {
        "module": module,
        "file": getattr(sys.modules.get(module), "__file__", None),  # for a plugin that is a single file
        "function": function,
        "paths": [str(path.absolute()) for path in paths],
        "images": images is not None,
    }
    with scratch_directory() as folder:
        with temporary_file_errors():
            (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
            if images is not None:
                np.save(folder / "images.npy", images)
        code = _run(folder)
        if not (folder / "answer.json").exists():
            printed = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()
            raise _error("ElsewhereError", _ending(code, printed), printed)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if "error" in answer:
            raise _error(*answer["error"])
        with np.load(folder / "arrays.npz") as arrays:  # by number: a name may be any text
            return {name: arrays[f"arr_{number}"] for number, name in enumerate(answer["names"])}


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


def _error(kind: str, fact: str, printed: str, notes: Sequence[errors.Note] = ()) -> Exception:
    """An error of the other process; what that printed, or its traceback, is the cause."""
    if hasattr(errors, kind):
        error: Exception = getattr(errors, kind)(fact, notes=[(label, text) for label, text in notes])
    else:
        error = MemoryError(fact) if kind == "MemoryError" else ElsewhereError(fact)
    error.__cause__ = ElsewhereError(f"in another process\n{printed.rstrip()}")
    return error


# What follows runs in the other process.


def answer(folder: str) -> None:
    """Do what ``order.json`` says, and write ``answer.json`` and ``arrays.npz``."""
    place = Path(folder)
    order = json.loads((place / "order.json").read_text(encoding="utf-8"))
    try:
        if importlib.util.find_spec(order["module"]) is None and order["file"]:
            run_file(Path(order["file"]), order["module"])
        function = getattr(importlib.import_module(order["module"]), order["function"])
        arguments: list[Any] = [Path(path) for path in order["paths"]]
        if order["images"]:
            arguments.append(np.load(place / "images.npy"))
        returned = function(*arguments)
        # numpy does not load bfloat16 again
        arrays = {str(name): np.asarray(values, "float32") for name, values in returned.items()} if order["images"] else {}
        np.savez(place / "arrays.npz", *arrays.values())
        found: dict[str, Any] = {"names": list(arrays)}
    except Exception as error:  # noqa: BLE001  # all of them are answers
        found = _described(error)
    (place / "answer.json").write_text(json.dumps(found), encoding="utf-8")


def _described(error: Exception) -> dict[str, Any]:
    """The arguments of ``_error``: one of torso's own, a MemoryError, or any other in one line."""
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, errors.TorsoError) and not isinstance(error, errors.ManyErrors):
        kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)  # a plugin may derive
        return {"error": [kind, error.fact, lines, [(str(label), str(value)) for label, value in error.notes]]}
    return {"error": ["MemoryError" if isinstance(error, MemoryError) else "ElsewhereError", one_line(error), lines]}
