"""Long work, told as it goes on: one line that changes where a person looks on, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from torso.cli.text import is_lively, printable, write

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Tells on a stream what is being done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
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

    def step(self, text: str) -> None:
        """What is being done now."""
        if self._status is None:
            self.say(text)
        else:
            from rich.text import Text

            self._status.update(Text(printable(text)))

    def say(self, text: str) -> None:
        """What stays on the screen."""
        if self._status is None:
            write(printable(text), self._stream)
        else:
            self._status.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
