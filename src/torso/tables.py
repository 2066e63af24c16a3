"""Tables, and numbers in few characters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

TIMES: Final = "\N{MULTIPLICATION SIGN}"
RULE: Final = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
GAP: Final = "  "


def row_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the table of backbones shows of a manifest."""
    counts = {key: document["frozen"][key] for key in ("frozen", "trainable")}
    return {**{key: document[key] for key in ("name", "features", "dropped")}, **counts}


def table_of_backbones(built: Iterable[Mapping[str, Any]]) -> str:
    """The rows of backbones, with the ``size`` of the file where one is saved."""
    titles, rows = ("name", "ends at", ">stride", ">shape", ">kept", ">trains", ">dropped", ">size"), []
    for one in built:
        counts = (one["frozen"] + one["trainable"], one["trainable"], one["dropped"]["parameters"])
        name, sizes = one["name"], [*map(short, counts), *([format_bytes(one["size"])] if "size" in one else [])]
        for feature in one["features"]:  # one line each, which fits into 80 columns
            rows.append((name, feature["node"], feature["stride"], format_shape(feature["shape"]), *sizes))
            name, sizes = " ", [" "] * len(sizes)
    return table(titles[: len(rows[0])], rows)


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
    template = GAP.join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    rule = GAP.join(RULE * width for width in widths)
    return "\n".join([template.format(*names).rstrip(), rule, *(template.format(*row).rstrip() for row in cells)])


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
    return TIMES.join("any" if side is None else str(side) for side in sides)
