"""Progress on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from shutil import get_terminal_size

from torso.cli.result import UsageError
from torso.cli.text import is_interactive, printable, write


class Progress:
    """Reports on stderr what is being done."""

    def __enter__(self) -> Progress:
        self._rewrites = is_interactive(sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        self._rewrite("")

    def step(self, text: str) -> None:
        """Report the current step; on a terminal the next one replaces it."""
        if self._rewrites:
            self._rewrite(printable(text)[: get_terminal_size().columns - 1])  # a line that wraps cannot be cleared
        else:
            write(printable(text), sys.stderr)

    def steps_of(self, name: str) -> Callable[[str], None]:
        """A function that reports steps of one of several backbones."""
        return lambda text: self.step(f"{name}: {text}")

    def say(self, text: str) -> None:
        """Report a line that stays."""
        self._rewrite("")
        write(printable(text), sys.stderr)

    def _rewrite(self, text: str) -> None:
        if self._rewrites:
            sys.stderr.write(f"\r\033[2K{text}")
            sys.stderr.flush()


def start_tensorflow(progress: Progress) -> None:
    """Import TensorFlow and find its devices, without its log lines unless TF_CPP_MIN_LOG_LEVEL asks for them."""
    progress.step("starting TensorFlow")
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
