"""The errors that torso raises on purpose: one class for each way to react.

An error is data first (fact, place, notes). Its text is rendered from them, so that the command line, ``--json`` and a
traceback say the same. Code that does not know the place raises without one; its caller adds it with :meth:`TorsoError.at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

Note = tuple[str, str]  # a labelled line below the fact: ("did you mean", "'ResNet50'")


@dataclass(frozen=True)
class Place:
    """Where the user wrote a value."""

    path: str = "$"  # as in $.backbones.edge.truncate; of a Python argument, $.truncate
    file: str | None = None  # the spec as the user named it; None for Python arguments
    line: int = 0  # from 1; 0 where there is no text
    column: int = 0

    def __str__(self) -> str:
        """As a message ends with it: ``at a.yaml:5:14, $.truncate``, or ``argument truncate``; empty if nothing is known."""
        if self.file is not None:
            spot = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
            return f"at {spot}, {self.path}"
        if not self.path.startswith("$"):
            return f"at {self.path}"  # an option of the command line
        argument = self.path.removeprefix("$").removeprefix(".")
        return f"argument {argument}" if argument else ""


class TorsoError(Exception):
    """The base of all errors of torso.

    Attributes:
        fact: One sentence that quotes the user's own words.
        place: Where those words are, or None.
        notes: Labelled lines, in the order: did you mean, known, cause, fix.
        exit_code: What the command line ends with.
    """

    exit_code = 70

    def __init__(self, fact: str, *, place: Place | None = None, notes: Iterable[Note] = ()) -> None:
        super().__init__(fact)
        self.fact = fact
        self.place = place
        self.notes = tuple(notes)

    def at(self, place: Place | None) -> TorsoError:
        """Add the place where none is known yet, and return this same error."""
        if self.place is None:
            self.place = place
        return self

    def parts(self) -> tuple[TorsoError, ...]:
        """The single errors that this one holds."""
        return (self,)

    def __str__(self) -> str:
        place = str(self.place or "")
        head = f"{self.fact} ({place})" if place else self.fact
        return "\n".join([head, *(f"  {label}: {text}" for label, text in self.notes)])


class _WrittenWrong(TorsoError):
    exit_code = 2


class SpecError(_WrittenWrong, ValueError):
    """A spec is written wrong: edit it."""


class UnknownNameError(_WrittenWrong, LookupError):  # not a KeyError, whose text Python escapes
    """A name is not known: choose a known one."""


class OptionError(_WrittenWrong, ValueError):
    """A value is not legal: choose a legal one."""


class CutError(_WrittenWrong, ValueError):
    """The graph does not allow this cut: choose another node."""


class OutputExistsError(_WrittenWrong, FileExistsError):
    """The output exists already: choose another place, or force."""


class ClashError(TorsoError):
    """Several plugins offer one name: qualify it, or block one of them."""

    exit_code = 4


class PluginError(TorsoError):
    """A plugin failed: repair, update or block it."""

    exit_code = 4


class DiskError(TorsoError, OSError):
    """A disk or a connection failed: free space, grant access, or try again."""

    exit_code = 5


class IntegrityError(TorsoError, ValueError):
    """A file is not what it should be: get it again, or correct its hash."""

    exit_code = 7


class PixelWarning(UserWarning):
    """Images do not look like RGB pixels of 0 to 255: check how they are read."""


class FreezeWarning(UserWarning):
    """What is frozen, what trains and which rates are on do not agree: freeze or unfreeze the backbone."""


class ManyErrors(TorsoError):
    """Several errors at once."""

    def __init__(self, errors: Sequence[TorsoError]) -> None:
        self.errors = tuple(part for error in errors for part in error.parts())
        self.exit_code = max(error.exit_code for error in self.errors)  # the gravest decides
        super().__init__(f"{len(self.errors)} errors")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)  # Exception's own makes it of its text

    def parts(self) -> tuple[TorsoError, ...]:
        return self.errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def raise_all(errors: Sequence[TorsoError]) -> None:
    """Raise the errors, if any, each text once: a single one as it is, several as :class:`ManyErrors`."""
    each = [*{str(part): part for error in errors for part in error.parts()}.values()]
    if each:
        raise each[0] if len(each) == 1 else ManyErrors(each)


def collect(errors: list[TorsoError], call: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    """What a call returns; None if it raises an error of torso, which is added to the list."""
    try:
        return call(*args, **kwargs)
    except TorsoError as error:
        errors.append(error)
        return None


def nearest(word: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The known names most like a word, nearest first; letter case does not count."""
    from difflib import get_close_matches  # slow to import, and needed for errors only

    by_folded = {name.casefold(): name for name in known}
    return tuple(by_folded[name] for name in get_close_matches(word.casefold(), by_folded, n=most, cutoff=0.6))


def did_you_mean(word: str, known: Iterable[str]) -> tuple[Note, ...]:
    """A note with the nearest known names, or no note if none is near."""
    near = nearest(word, known)
    return (("did you mean", ", ".join(map(repr, near))),) if near else ()


def known(names: Iterable[str], *, most: int = 12) -> Note:
    """A note with all known names, cut short after ``most``."""
    shown = list(names)
    more = [f"… and {len(shown) - most} more"] if len(shown) > most else []
    return "known", ", ".join(shown[:most] + more) or "nothing"
