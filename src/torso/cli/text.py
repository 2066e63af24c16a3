"""Results as text: tables, lists of facts, numbers in few characters, and a stream that takes them.

Tables are written here and not by rich: its import would add a third to the time of ``torso list``, and it takes seconds
over ten thousand rows.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TextIO

PAGE: Final = 80
"""Columns where nobody says how many there are."""

_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_RULE: Final = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_PLAIN: Final = str.maketrans({_TIMES: "x", _RULE: "-", "…": "..."})
_GAP: Final = "  "
_LEAST_ROOM: Final = 20  # for a text that is broken over lines


def columns_of(stream: TextIO) -> int | None:
    """The width of the page: what ``COLUMNS`` says, else that of the terminal; None for a file or a pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return max(int(given), 20)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return max(columns, 20) if columns else None  # 0: the terminal does not know


def page_of(stream: TextIO) -> int:
    """The width to lay a text out for."""
    return columns_of(stream) or PAGE


def is_lively(stream: TextIO) -> bool:
    """Whether a person looks at the stream through a terminal that can do more than print."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def bold(text: str, stream: TextIO) -> str:
    """The text in bold, where the stream is a terminal and ``NO_COLOR`` is not set."""
    return f"\033[1m{text}\033[0m" if is_lively(stream) and not os.environ.get("NO_COLOR") else text


def write(text: str, stream: TextIO) -> None:
    """Write lines, with plainer characters where the stream's encoding lacks some."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    # line by line: where Python does not buffer (PYTHONUNBUFFERED), it does not notice that only half of a text fitted
    stream.writelines(f"{line}\n" for line in text.split("\n"))
    stream.flush()


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def table(titles: Mapping[str, str], rows: Iterable[Sequence[str]], stream: TextIO, *, page: int | None) -> str:
    """Rows under titles; where they are wider than the page, texts in the last column go on below, or every row is a
    paragraph.

    Args:
        titles: Title of each column, and ``"<"`` or ``">"`` for the side that its cells keep to.
        rows: One text for each column; empty for nothing to say.
        stream: Where it will be written.
        page: How wide the page is; None for as wide as it takes.
    """
    cells = [[printable(cell).replace("\n", "\\n") for cell in row] for row in rows]
    widths = [max(map(_cells, column)) for column in zip(titles, *cells, strict=True)]
    sides = list(titles.values())
    filled = [[cell or "-" for cell in row] for row in cells]
    if page is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > page:
        room = page - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
        if room < _LEAST_ROOM or sides[-1] != "<":
            return "\n".join(_paragraph(list(titles), row, stream, page) for row in cells)
        filled = [line for row in filled for line in _broken(row, room)]
        widths[-1] = room

    def line(row: Sequence[str]) -> str:
        padded = (
            " " * (most - _cells(cell)) + cell if side == ">" else cell + " " * (most - _cells(cell))
            for cell, most, side in zip(row, widths, sides, strict=True)
        )
        return _GAP.join(padded).rstrip()

    rule = _GAP.join(_RULE * most for most in widths)
    return "\n".join([bold(line(list(titles)), stream), rule, *map(line, filled)])


def _paragraph(titles: Sequence[str], row: Sequence[str], stream: TextIO, page: int) -> str:
    words = ", ".join(f"{title} {cell}" for title, cell in zip(titles[1:], row[1:], strict=True) if cell)
    return f"{bold(row[0], stream)}\n{wrapped(words, page, '  ')}"


def _broken(row: Sequence[str], room: int) -> Iterator[list[str]]:
    first, *others = wrapped(row[-1], room).split("\n")
    yield [*row[:-1], first]
    for part in others:
        yield [""] * (len(row) - 1) + [part]


def facts(pairs: Iterable[tuple[str, str]], stream: TextIO, *, indent: str = "") -> str:
    """Labelled texts, the labels in a column; an empty label goes on with what is above it."""
    page = page_of(stream)
    pairs = [(label, printable(text)) for label, text in pairs]
    margin = max((len(label) for label, _ in pairs), default=0) + len(_GAP)
    if page < margin + 40:  # too narrow for two columns
        return "\n".join(wrapped(f"{label}: {text}" if label else text, page, indent, hang="  ") for label, text in pairs)
    lines = []
    for label, text in pairs:
        below = wrapped(text, page, indent + " " * margin)
        lines.append(f"{indent}{label:{margin}}{below.lstrip()}")
    return "\n".join(lines)


def wrapped(text: str, page: int, indent: str = "", *, hang: str = "") -> str:
    """A paragraph, broken at spaces only: names and addresses stay whole."""
    return textwrap.fill(
        text,
        page,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def short(number: int | None) -> str:
    """A count in few characters: ``23.6M``; empty where it is unknown."""
    if number is None:
        return ""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size * 0.9995:
            return f"{number / size:.{0 if number >= size * 99.95 else 1}f}{letter}"
    return str(number)


def size_of(number: int) -> str:
    """A number of bytes in few characters: ``94.2 MB``."""
    counted = short(number)
    return f"{counted[:-1]} {counted[-1]}B" if counted[-1:].isalpha() else f"{counted} B"


def times(sides: Iterable[int | None]) -> str:
    """A shape with signs of multiplication in it, and ``any`` for a side of any length."""
    return _TIMES.join("any" if side is None else str(side) for side in sides)


def counted(number: int, noun: str) -> str:
    """``1 backbone``, ``2 backbones``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if max(text, default="") < "\u0300":  # before the first character that is not one column wide
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
