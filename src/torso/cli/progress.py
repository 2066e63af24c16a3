"""Long work, told as it goes on: one line that changes where a person looks on, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from torso.cli.result import UsageError
from torso.cli.text import is_lively, printable, write

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Tells on stderr what is being done."""

    def __init__(self) -> None:
        self._stream: TextIO = sys.stderr
        with suppress(OSError, ValueError):  # where it stands on no file, nobody can be hushed
            # a way of its own to stderr, which stays open while others are hushed
            number = os.dup(sys.stderr.fileno())
            self._stream = open(number, "w", encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if is_lively(self._stream):
            from rich.console import Console
            from rich.status import Status

            self._status = Status("", console=Console(file=self._stream))
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()
        if self._stream is not sys.stderr:
            self._stream.close()

    def step(self, text: str) -> None:
        """What is being done now."""
        if self._status is None:
            self.say(text)
        else:
            from rich.text import Text

            self._status.update(Text(printable(text)))

    def steps_of(self, name: str) -> Callable[[str], None]:
        """Tells what is being done with one of several."""
        return lambda text: self.step(f"{name}: {text}")

    def say(self, text: str) -> None:
        """What stays on the screen."""
        if self._status is None:
            write(printable(text), self._stream)
        else:
            self._status.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def hush(self) -> Iterator[None]:
        """Hold back what others write on stderr, C++ libraries too; it is shown after all if they fail."""
        if self._stream is sys.stderr:
            yield
            return
        number = sys.stderr.fileno()
        with TemporaryFile() as held:
            sys.stderr.flush()
            os.dup2(held.fileno(), number)
            try:
                yield
            except Exception:
                held.seek(0)
                self._stream.write(held.read().decode(errors="backslashreplace"))
                raise
            finally:
                sys.stderr.flush()
                os.dup2(self._stream.fileno(), number)


def start_tensorflow(progress: Progress) -> None:
    """Import it and have it look for its devices, without the lines it logs about that, unless the user set their level."""
    progress.step("starting TensorFlow")
    given = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1")  # the levels that ask for more than errors
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # not enough: some lines are logged before it is read
    try:
        with nullcontext() if given else progress.hush():
            import keras

            keras.ops.zeros(())
    except ImportError as error:
        notes = [("cause", str(error).split("\n")[0]), ("fix", "install it anew: pip install --force-reinstall tensorflow")]
        raise UsageError("TensorFlow cannot be imported", notes=notes) from error
