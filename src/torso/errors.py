"""Every error that torso raises on purpose: one class per reaction of the reader.

An error is data first (fact, place, notes); its text is rendered from them, so that the command line, ``--json`` and a
traceback all say the same. What goes wrong inside a floor is raised without a place; the floor that knows the place (the
spec's line and column) adds it with :meth:`TorsoError.at`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Note = tuple[str, str]
"""A labelled line below the fact: ``("did you mean", "'ResNet50'")``."""


@dataclass(frozen=True)
class Place:
    """Where in the user's words something stands.

    Attributes:
        path: ``$``-path of the value, as in ``$.backbones.edge.truncate``.
        file: The spec file as the user named it, or None for Python arguments.
        line: First line is 1; 0 where there is no text.
        column: First column is 1; 0 where there is no text.
    """

    path: str = "$"
    file: str | None = None
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.file is None:
            return self.path
        spot = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{spot}, {self.path}"


class TorsoError(Exception):
    """What every error of torso is; catch this to catch them all.

    Attributes:
        fact: One sentence that quotes the user's own words.
        place: Where those words stand, or None.
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
        """The single errors that this one stands for."""
        return (self,)

    def __str__(self) -> str:
        head = self.fact if self.place is None else f"{self.fact} (at {self.place})"
        return "\n".join([head, *(f"  {label}: {text}" for label, text in self.notes)])


class SpecError(TorsoError, ValueError):
    """The text or the shape of a spec is wrong: edit it there."""

    exit_code = 2


class UnknownNameError(TorsoError, LookupError):
    """A name that nothing here has: choose one that is known."""

    # LookupError, not KeyError: the text of a KeyError is escaped.
    exit_code = 2


class OptionError(TorsoError, ValueError):
    """A value that is not legal where it stands: choose a legal one."""

    exit_code = 2


class CutError(TorsoError, ValueError):
    """A cut that the graph does not allow: choose another node."""

    exit_code = 2


class OutputExistsError(TorsoError, FileExistsError):
    """Something stands where the result would go: name another place, or force."""

    exit_code = 2


class ClashError(TorsoError):
    """One name, several plugins: qualify it, or block one of them."""

    exit_code = 4


class PluginError(TorsoError):
    """A plugin failed: mend, update or block it."""

    exit_code = 4


class DiskError(TorsoError, OSError):
    """A disk or a connection did not give or take the bytes: free space, grant access, or try again."""

    exit_code = 5


class IntegrityError(TorsoError, ValueError):
    """A file is not what it should be: get it again, or correct what was said of it."""

    exit_code = 7


class PixelWarning(UserWarning):
    """Images that do not look like RGB pixels of 0 to 255: look at how they were read."""


class ManyErrors(TorsoError):
    """All that is wrong with one spec, at once."""

    def __init__(self, errors: Sequence[TorsoError]) -> None:
        self.errors = tuple(part for error in errors for part in error.parts())
        super().__init__(f"{len(self.errors)} errors")

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # the gravest of them decides
        return max(error.exit_code for error in self.errors)

    def parts(self) -> tuple[TorsoError, ...]:
        return self.errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def raise_all(errors: Sequence[TorsoError]) -> None:
    """Raise what was collected: nothing, the one error itself, or all of them together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ManyErrors(errors)


def nearest(word: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """The known names that a mistyped word may have meant, nearest first; letter case does not count."""
    from difflib import get_close_matches  # only wanted once something went wrong

    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
    return tuple(by_folded[name] for name in get_close_matches(word.casefold(), by_folded, n=most, cutoff=0.6))


def did_you_mean(word: str, known: Iterable[str]) -> tuple[Note, ...]:
    """The note that suggests the nearest known names, or no note where none is near."""
    near = nearest(word, known)
    return (("did you mean", ", ".join(map(repr, near))),) if near else ()


def known(names: Iterable[str], *, most: int = 12) -> Note:
    """The note that lists what there is, cut short where it is long."""
    everything = list(names)
    shown = ", ".join(everything[:most]) or "none"
    rest = len(everything) - most
    return ("known", f"{shown}, … and {rest} more" if rest > 0 else shown)
