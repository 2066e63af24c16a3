"""What a verb hands back, and what an exception amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from torso.errors import DiskError, Note, PluginError, TorsoError

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done",
    1: "done, and there is a difference",
    2: "an argument or a spec is wrong; or something stands where the result would go",
    3: "done in part: some backbones were built, others failed",
    4: "a plugin failed, or two offer the same name",
    5: "a disk or a connection failed",
    6: "the memory is full",
    7: "a file is not what it should be",
    70: "a defect of torso",
    130: "interrupted",
    143: "terminated",
}
DIFFERENT: Final = 1
DONE_IN_PART: Final = 3
CLOSED_PIPE: Final = 141  # what a shell reports of any program that wrote to a reader who had left


class UsageError(TorsoError):
    """The command line is wrong: correct it."""

    exit_code = 2


class OutOfMemoryError(TorsoError):
    """The machine is too small: ask for less at once."""

    exit_code = 6


class DefectError(TorsoError):
    """Something that torso does not expect: report it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a verb.

    Attributes:
        document: The result as JSON; ``errors`` is added where there are any. (``Any``: JSON.)
        text: The result for a person; empty where there is none.
        errors: What went wrong.
        partly: Something was done in spite of the errors.
        exit_code_if_done: The code where nothing is wrong.
    """

    document: Mapping[str, Any]
    text: str = ""
    errors: tuple[TorsoError, ...] = ()
    partly: bool = False
    exit_code_if_done: int = 0

    @property
    def exit_code(self) -> int:
        """What the gravest error says, unless something was done."""
        if self.errors and self.partly:
            return DONE_IN_PART
        return max((error.exit_code for error in self.errors), default=self.exit_code_if_done)

    def as_json(self) -> Mapping[str, Any]:
        """The one document of ``--json``."""
        return {**self.document, "errors": [_as_json(error) for error in self.errors]} if self.errors else self.document


def errors_of(error: Exception | SystemExit) -> tuple[TorsoError, ...]:
    """What an exception amounts to, as errors of torso."""
    if _is_memory(error):
        fix = "take smaller images, an earlier cut or a smaller architecture, or build one backbone at a time"
        return (_caused(OutOfMemoryError("the memory is full", notes=[("fix", fix)]), error),)
    if isinstance(error, TorsoError):
        return error.parts()
    if isinstance(error, click.ClickException):
        return (_usage(error),)
    if isinstance(error, SystemExit):
        return (_caused(PluginError(f"a plugin tried to end the program, with exit code {error.code}"), error),)
    if isinstance(error, OSError):
        return (_caused(DiskError(f"the system refused: {error}"), error),)
    kind = f"{type(error).__name__}: {error}".split("\n")[0]
    notes = [("fix", "please report it, with the command and the traceback that --debug prints")]
    return (_caused(DefectError(f"torso has a defect: {kind.rstrip(': ')}", notes=notes), error),)


def _is_memory(error: BaseException | None) -> bool:
    """Whether memory ran out somewhere at the root of an exception; TensorFlow has a class of its own for it."""
    seen: list[BaseException] = []  # causes may run in a circle
    while error is not None and error not in seen and not isinstance(error, DiskError):  # TensorFlow's is for disks too
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        seen.append(error)
        error = error.__cause__
    return False


def _caused(error: TorsoError, cause: BaseException) -> TorsoError:
    error.__cause__ = cause
    return error


def _usage(error: click.ClickException) -> TorsoError:
    notes: list[Note] = []
    if isinstance(error, click.NoSuchOption):
        fact = f"there is no option {error.option_name!r}"
        if error.possibilities:
            notes.append(("did you mean", ", ".join(map(repr, error.possibilities))))
    else:
        message = error.format_message().rstrip(".")
        fact = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    if context is not None:
        notes.append(("see", f"{context.command_path} --help"))
    return UsageError(fact, notes=notes)


def _as_json(error: TorsoError) -> Mapping[str, Any]:
    place = error.place
    return {
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
        "fact": error.fact,
        "place": place and {"file": place.file, "line": place.line, "column": place.column, "path": place.path},
        "notes": [{"label": label, "text": text} for label, text in error.notes],
    }
