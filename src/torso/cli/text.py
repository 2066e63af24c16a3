"""Results as text: tables, labelled values, and numbers in few characters."""

import os
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Final, TextIO

import click

import torso.tables as tables
from torso.tables import (
    GAP,
    RULE,
    TIMES,
    format_bytes as format_bytes,
    format_shape as format_shape,
    printable as printable,
    short as short,
)  # fmt: skip

_PLAIN: Final = str.maketrans({TIMES: "x", RULE: "-", "…": "...", "±": "+-"})


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


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with titles in bold."""
    return in_bold(tables.table(titles, rows))


def in_bold(text: str) -> str:
    """A text with its first line in bold."""
    first, *others = text.split("\n")
    return "\n".join([bold(first), *others])


def key_values(pairs: Iterable[tuple[str, str]]) -> str:
    """Labelled values, the labels in a column; an empty label continues the one above."""
    pairs = list(pairs)
    margin = 2 + max((len(label) for label, _ in pairs), default=0) + len(GAP)
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


def plural(number: int, noun: str) -> str:
    """``1 backbone``, ``2 backbones``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
