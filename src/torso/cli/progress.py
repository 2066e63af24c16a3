"""Progress on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
        with nullcontext() if wanted else _silent_stderr():
            import keras

            keras.ops.zeros(())
    except ImportError as error:
        notes = [("cause", str(error).split("\n")[0]), ("fix", "pip install --force-reinstall tensorflow")]
        raise UsageError("TensorFlow cannot be imported", notes=notes) from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    original = os.dup(2)  # C++ libraries write to the file descriptor itself
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
