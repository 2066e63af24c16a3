"""What a command returns, its exit codes, and exceptions turned into errors with an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from torso.errors import DiskError, Note, TorsoError

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "success",
    1: "differences found",
    2: "invalid argument or spec, or the output already exists",
    3: "partial success: some backbones were built, others failed",
    4: "a plugin failed, or two offer the same name",
    5: "disk or network error",
    6: "out of memory",
    7: "integrity check failed",
    70: "internal error: please report it",
    130: "interrupted",
    143: "terminated",
}
DIFFERENT: Final = 1
PARTIAL: Final = 3
CLOSED_PIPE: Final = 141  # as a shell reports it of any program whose reader has closed the pipe


class UsageError(TorsoError):
    """The command line is wrong: correct it."""

    exit_code = 2


class OutOfMemoryError(TorsoError):
    """The machine is too small: ask for less at once."""

    exit_code = 6


class DefectError(TorsoError):
    """Something that torso does not expect: report it."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command returns."""

    document: Mapping[str, Any]  # for --json; Any: JSON
    text: str = ""
    errors: tuple[TorsoError, ...] = ()
    partial: bool = False  # something was done in spite of the errors
    exit_code_if_done: int = 0

    @property
    def exit_code(self) -> int:
        """The highest code of the errors, or the one for partial success."""
        if self.errors and self.partial:
            return PARTIAL
        return max((error.exit_code for error in self.errors), default=self.exit_code_if_done)

    def as_json(self) -> Mapping[str, Any]:
        """The one document of ``--json``, with the errors if there are any."""
        return {**self.document, "errors": [_as_json(error) for error in self.errors]} if self.errors else self.document


def errors_of(error: Exception) -> tuple[TorsoError, ...]:
    """An exception as errors of torso."""
    if _is_memory(error):
        fix = "use smaller images, an earlier cut or a smaller architecture, or build one backbone at a time"
        found: TorsoError = OutOfMemoryError("out of memory", notes=[("fix", fix)])
    elif isinstance(error, TorsoError):
        return error.parts()
    elif isinstance(error, click.ClickException):
        return (_usage(error),)
    elif isinstance(error, OSError):
        found = DiskError(f"system error: {error}")
    else:
        name = f"{type(error).__name__}: {error}".split("\n")[0].rstrip(": ")
        notes = [("fix", "please report it, with the command and the traceback that --debug prints")]
        found = DefectError(f"internal error: {name}", notes=notes)
    found.__cause__ = error
    return (found,)


def _is_memory(error: BaseException | None) -> bool:
    seen: list[BaseException] = []  # causes can form a circle
    # TensorFlow's ResourceExhaustedError means a full disk, too: then a DiskError is on the way to it.
    while error is not None and error not in seen and not isinstance(error, DiskError):
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        seen.append(error)
        error = error.__cause__
    return False


def _usage(error: click.ClickException) -> TorsoError:
    """What click found wrong, in the form of torso's errors."""
    notes: list[Note] = []
    if isinstance(error, click.NoSuchOption):
        fact = f"no such option {error.option_name!r}"
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
    return {
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
        "fact": error.fact,
        "place": error.place and asdict(error.place),
        "notes": [{"label": label, "text": text} for label, text in error.notes],
    }
