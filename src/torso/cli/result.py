"""What a command returns, the exit codes, and errors of torso for all other exceptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from torso.errors import DiskError, TorsoError

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "success",
    1: "differences found",
    2: "invalid argument or spec, or the output already exists",
    3: "partial success: some backbones or pictures failed",
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
    errors: Sequence[TorsoError] = ()
    code: int | None = None  # None: the highest of the errors, or success


def errors_of(error: BaseException) -> tuple[TorsoError, ...]:
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
    message, notes = error.format_message().rstrip("."), []
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        message = f"no such option {error.option_name!r}"
        notes.append(("did you mean", ", ".join(map(repr, error.possibilities))))
    context = getattr(error, "ctx", None)
    if context is not None:
        notes.append(("see", f"{context.command_path} --help"))
    return UsageError(message[:1].lower() + message[1:], notes=notes)
