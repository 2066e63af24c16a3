"""Progress on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from shutil import get_terminal_size

from torso.cli.result import UsageError
from torso.cli.text import is_interactive, printable, write


def step(text: str) -> None:
    """Report the current step; on a terminal the next one replaces it."""
    clear()
    if is_interactive(sys.stderr):
        sys.stderr.write(printable(text)[: get_terminal_size().columns - 1])  # a line that wraps cannot be cleared
        sys.stderr.flush()
    else:
        write(printable(text), sys.stderr)


def steps_of(name: str) -> Callable[[str], None]:
    """A function that reports steps of one of several backbones."""
    return lambda text: step(f"{name}: {text}")


def say(text: str) -> None:
    """Report a line that stays."""
    clear()
    write(printable(text), sys.stderr)


def clear() -> None:
    """Remove the current step from a terminal."""
    if is_interactive(sys.stderr):
        sys.stderr.write("\r\033[2K")
        sys.stderr.flush()


def start_tensorflow() -> None:
    """Import TensorFlow and find its devices, without its log lines unless TF_CPP_MIN_LOG_LEVEL asks for them."""
    step("starting TensorFlow")
    wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1")
    try:
        # The level alone is not enough: TensorFlow logs several lines before it reads the variable.
        with open(os.devnull, "w") as nowhere, diverted(2, to=2 if wanted else nowhere.fileno()):
            import_module("torso.modeling")  # refuses another backend
            import keras

            keras.ops.zeros(())
    except ImportError as error:
        notes = [("cause", str(error).split("\n")[0]), ("fix", "pip install --force-reinstall tensorflow")]
        raise UsageError("TensorFlow cannot be imported", notes=notes) from error


@contextmanager
def diverted(number: int, *, to: int) -> Iterator[None]:
    """Send what is written to one file descriptor to another: C libraries and other processes write there directly."""
    original = os.dup(number)
    os.dup2(to, number)
    try:
        yield
    finally:
        for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
            stream.flush()
        os.dup2(original, number)
        os.close(original)
