"""Call one function in a fresh Python process without an accelerator: what it imports or breaks ends with that process."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import torso.errors as errors
from torso.files.atomic import scratch_directory
from torso.files.disk_errors import disk_error, temporary_file_errors
from torso.plugins.calling import one_line

# The path of this process comes first: modules beside the script, or in the working directory, must not shadow others.
_START: Final = (
    "import sys; sys.path[:] = eval(sys.argv[1]); from torso.export import isolated; isolated.answer(sys.argv[2])"
)
_QUIET_CPU: Final = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


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
        try:
            answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            how = f"ended with {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
            hint = ", as the system does when memory is full" if code == -signal.SIGKILL else ""
            printed = (folder / "log").read_text(encoding="utf-8", errors="replace").strip()
            last = printed.rsplit("\n", 1)[-1][:300]
            fact = f"its process {how}{hint}{': ' if last else ''}{last}"
            answer = {"error": "ElsewhereError", "fact": fact, "traceback": printed}
        if "error" in answer:
            raise _as_error(answer)
        with np.load(folder / "arrays.npz") as arrays:  # by number: a name may be any text
            return {name: arrays[f"arr_{number}"] for number, name in enumerate(answer["names"])}


def _run(folder: Path) -> int:
    """Run the other process, and return its exit code."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    words = [sys.executable, "-c", _START, repr(path), str(folder)]
    cause = "it does not say where Python is"
    if sys.executable and not getattr(sys, "frozen", False):
        try:
            with (folder / "log").open("wb") as log:  # not a pipe: a grandchild may hold that open
                env = {**os.environ, **_QUIET_CPU}
                process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                return process.wait()
            finally:  # not subprocess.run: interrupted by Ctrl-C, that does not wait for the end of the process
                process.kill()
                process.wait()
        except OSError as error:
            cause = error.strerror or str(error)
    raise errors.OptionError(
        f"sys.executable is {sys.executable!r}, and no other Python process can be started with that",
        notes=[("cause", cause), ("fix", "set sys.executable to a Python that has the same packages")],
    )


def _as_error(answer: Mapping[str, Any]) -> Exception:
    kinds = {"MemoryError": MemoryError, "ElsewhereError": ElsewhereError}
    if answer["error"] in kinds:
        error: Exception = kinds[answer["error"]](answer["fact"])
    else:
        error = getattr(errors, answer["error"])(answer["fact"], notes=[(label, text) for label, text in answer["notes"]])
    error.__cause__ = ElsewhereError(f"in another process\n{answer['traceback'].rstrip()}")
    return error


# What follows runs in the other process.


def answer(folder: str) -> None:
    """Do what ``order.json`` says, and write ``answer.json`` and ``arrays.npz``."""
    place = Path(folder)
    order = json.loads((place / "order.json").read_text(encoding="utf-8"))
    try:
        arguments: list[Any] = [Path(path) for path in order["paths"]]
        if order["images"]:
            arguments.append(np.load(place / "images.npy"))
        returned = _function(order)(*arguments)
        arrays = _as_arrays(returned) if order["images"] else {}
        np.savez(place / "arrays.npz", *arrays.values())
        found: dict[str, Any] = {"names": list(arrays)}
    except Exception as error:  # noqa: BLE001  # all of them are answers
        found = _described(error)
    (place / "answer.json").write_text(json.dumps(found), encoding="utf-8")


def _function(order: Mapping[str, Any]) -> Any:
    module, file = order["module"], order["file"]
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        spec = importlib.util.spec_from_file_location(module, file) if file and error.name == module else None
        if spec is None or spec.loader is None:
            raise
        found = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return getattr(found, order["function"])


def _as_arrays(returned: object) -> dict[str, np.ndarray]:
    if not isinstance(returned, Mapping):
        raise TypeError(f"it returns no arrays by their names, but a {type(returned).__name__}")
    arrays = {str(name): np.asarray(values) for name, values in returned.items()}
    for name, values in arrays.items():
        if values.dtype.name == "bfloat16":  # numpy does not load it again
            arrays[name] = values.astype("float32")
        elif values.dtype.kind not in "biuf":
            raise TypeError(f"it returns {name!r} as {values.dtype}, which are no numbers")
    return arrays


def _described(error: Exception) -> dict[str, Any]:
    """An error as JSON: as one of torso's own, as a MemoryError, or in one line."""
    text, lines = one_line(error), "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if not isinstance(error, errors.TorsoError):
        # Libraries turn the system's errors into others, and keep its words: shutil, h5py and TensorFlow do.
        number = next((one for one in _DISK if getattr(error, "errno", None) == one or os.strerror(one) in text), None)
        if number is None:
            memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
            return {"error": "MemoryError" if memory else "ElsewhereError", "fact": text, "traceback": lines}
        error = disk_error("the files could not be written", OSError(number, os.strerror(number)))
    if isinstance(error, errors.ManyErrors):
        error = errors.TorsoError(str(error))
    kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)  # a plugin may derive one
    notes = [(str(label), str(value)) for label, value in error.notes]
    return {"error": kind, "fact": error.fact, "notes": notes, "traceback": lines}
