"""Have a function called in a fresh process without an accelerator, and bring back what it gives or raises."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

import torso.errors as errors
from torso.export import errand
from torso.files.atomic import scratch_directory
from torso.files.disk_errors import disk_error, no_temporary_file, temporary_file_errors

_SWITCHES: Final = {"isolated": "-I", "ignore_environment": "-E", "no_user_site": "-s", "no_site": "-S"}


class ElsewhereError(Exception):
    """What another process raised; the cause is its traceback."""


def call(reference: str, *paths: Path, images: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Call ``package.module:function`` with paths, and with images where there are any.

    Returns:
        The arrays that it gives, by name, where it is given images; nothing otherwise.

    Raises:
        TorsoError: It raised that; or no process can be started.
        DiskError: A disk was full there, or failed.
        MemoryError: The memory was full there.
        ElsewhereError: It raised something else, or its process was ended.
    """
    module, _, function = reference.partition(":")
    order = {
        "path": search_path(),
        "module": module,
        "file": getattr(sys.modules.get(module), "__file__", None),
        "function": function,
        "paths": [str(path.absolute()) for path in paths],
        "images": images is not None,
    }
    with scratch_directory() as folder:
        with temporary_file_errors():
            (folder / "errand.json").write_text(json.dumps(order), encoding="utf-8")
            if images is not None:
                np.save(folder / "images.npy", images)
            log = (folder / "log").open("w+b")
        with log:
            answer = _answer(folder, log)
        if "error" in answer:
            raise _as_error(answer["error"])
        return {name: np.load(folder / f"{number}.npy") for number, name in enumerate(answer["names"])}


def fresh_python() -> list[str]:
    """The command that starts another Python like this one, which heeds the environment as much or as little.

    Raises:
        OptionError: Nobody knows where Python is: this is another program that has it inside.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise _no_python("it does not say where Python is")
    return [sys.executable, *(switch for flag, switch in _SWITCHES.items() if getattr(sys.flags, flag))]


@contextmanager
def started() -> Iterator[None]:
    """Say of a process that does not start why that is.

    Raises:
        OptionError: There is no such program.
        MemoryError: There is no memory for another process.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError("there is none for another process") from error
        raise _no_python(error.strerror or str(error)) from error


def _no_python(cause: str) -> errors.OptionError:
    return errors.OptionError(
        f"sys.executable is {sys.executable!r}, and no other Python process can be started with that",
        notes=[("cause", cause), ("fix", "set sys.executable to a Python that has the same packages")],
    )


def fresh_environment() -> dict[str, str]:
    """The variables of a process that computes on the CPU and keeps quiet."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


def fresh_folder() -> str | None:
    """Where a process starts: here, unless that is gone, for Python then does not always start."""
    try:
        os.getcwd()
    except OSError:
        return os.sep
    return None


def search_path() -> list[str]:
    """Where this process looks for modules; Python skips what is no text."""
    return [entry for entry in sys.path if isinstance(entry, str)]


def how_it_ended(code: int) -> str:
    """What the return code of a process says."""
    if code >= 0:
        return f"ended with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}{', as the system does where memory is full' if name == 'SIGKILL' else ''}"


def _answer(folder: Path, log: IO[bytes]) -> Mapping[str, Any]:
    command = [*fresh_python(), errand.__file__, str(folder)]
    with started():
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=fresh_folder(), env=fresh_environment()
        )
    try:
        code = process.wait()
    finally:
        process.kill()  # where the wait was interrupted
        process.wait()
    try:
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        return answer
    except (OSError, ValueError):
        if code == os.EX_IOERR:
            raise no_temporary_file(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from None
    fact = f"its process {how_it_ended(code)}{last_words(log)}"
    log.seek(0)
    said = log.read().decode(errors="replace")
    return {"error": {"kind": "Exception", "kinds": [], "fact": fact, "number": None, "traceback": said}}


def last_words(log: IO[bytes]) -> str:
    """The last line that a process has written, behind a colon; empty where it has written none."""
    log.seek(0)
    line = log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1][:300]
    return f": {line}" if line else ""


def _as_error(told: Mapping[str, Any]) -> Exception:
    """The error of the other process, as one of this."""
    error = _of_its_kind(told)
    error.__cause__ = ElsewhereError(f"in another process\n{told['traceback'].rstrip()}")
    return error


def _of_its_kind(told: Mapping[str, Any]) -> Exception:
    own = [name.rpartition(".")[2] for name in told["kinds"] if name.startswith(f"{errors.__name__}.")]
    if own == [] and told["number"] in errand.DISK:
        return disk_error("the files could not be written", OSError(told["number"], os.strerror(told["number"])))
    if own == [] and ("builtins.MemoryError" in told["kinds"] or told["kind"] == "ResourceExhaustedError"):
        return MemoryError(told["fact"])
    if own == []:
        said = told["fact"].strip().split("\n")[0]
        return ElsewhereError(said if told["kind"] == "Exception" else f"{told['kind']}: {said}".rstrip(": "))
    if own[0] == "ManyErrors":
        return errors.ManyErrors([part for part in map(_of_its_kind, told["parts"]) if isinstance(part, errors.TorsoError)])
    error: Exception = getattr(errors, own[0])(told["fact"], notes=[(label, text) for label, text in told["notes"]])
    return error
