"""Results as text: tables, labelled values, and numbers in few characters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Final, TextIO

import click

_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_RULE: Final = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_PLAIN: Final = str.maketrans({_TIMES: "x", _RULE: "-", "…": "..."})
_GAP: Final = "  "


def bold(text: str) -> str:
    """The text in bold; :func:`write` removes that again where it is not wanted."""
    return click.style(text, bold=True)


def is_interactive(stream: TextIO) -> bool:
    """Whether the stream is a terminal that understands control sequences."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def write(text: str, stream: TextIO) -> None:
    """Write lines, with plainer characters where the stream's encoding lacks some."""
    if not is_interactive(stream) or os.environ.get("NO_COLOR"):
        text = click.unstyle(text)
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    # Line by line: an unbuffered stream (PYTHONUNBUFFERED) hides that only half of a text fitted on a full disk.
    stream.writelines(f"{line}\n" for line in text.split("\n"))
    stream.flush()


def printable(text: str) -> str:
    """The text with control characters escaped: names come from files and plugins, and could control the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under titles, in aligned columns: to the right where the title begins with ``>``; ``-`` for None or no text."""
    # Our own: rich would add a quarter to the time of `torso list`, and takes 3 s for 10,000 rows.
    names = [title.removeprefix(">") for title in titles]
    cells = [["-" if cell in (None, "") else printable(str(cell)).replace("\n", "\\n") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    sides = [">" if title.startswith(">") else "<" for title in titles]
    template = _GAP.join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    rule = _GAP.join(_RULE * width for width in widths)
    return "\n".join([bold(template.format(*names).rstrip()), rule, *(template.format(*row).rstrip() for row in cells)])


def key_values(pairs: Iterable[tuple[str, str]]) -> str:
    """Labelled values, the labels in a column; an empty label continues the one above."""
    pairs = list(pairs)
    margin = 2 + max((len(label) for label, _ in pairs), default=0) + len(_GAP)
    width = max(get_terminal_size().columns, margin + 40)
    # Broken at spaces only: names and addresses stay whole, to be copied.
    wrapper = TextWrapper(width, subsequent_indent=" " * margin, break_long_words=False, break_on_hyphens=False)
    lines = []
    for label, text in pairs:
        wrapper.initial_indent = f"  {label}".ljust(margin)
        lines.append(wrapper.fill(printable(text)))
    return "\n".join(lines)


def section(title: str, body: str) -> str:
    """A bold title with a text below it."""
    return f"{bold(printable(title))}\n{body}"


def short(number: int | None) -> str:
    """A count in few characters: ``23.6M``; empty if unknown."""
    if number is None:
        return ""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size * 0.9995:  # 999,500 is 1.0M, not 1000k
            return f"{number / size:.{0 if number >= size * 99.95 else 1}f}{letter}"
    return str(number)


def format_bytes(number: int) -> str:
    """A number of bytes in few characters: ``94.2 MB``."""
    text = short(number)
    return f"{text[:-1]} {text[-1]}B" if text[-1:].isalpha() else f"{text} B"


def format_shape(sides: Iterable[int | None]) -> str:
    """A shape as people write it: ``7×7×2048``; ``any`` for an open side."""
    return _TIMES.join("any" if side is None else str(side) for side in sides)


def plural(number: int, noun: str) -> str:
    """``1 backbone``, ``2 backbones``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
