"""A spec as a tree of texts that know where they stand.

YAML and Python arguments both become this tree, so that one set of rules checks both. A scalar stays the text that the
user wrote: only the option it is meant for decides its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from torso.errors import Place, SpecError


@dataclass(frozen=True)
class Scalar:
    """One value as it was written; ``quoted`` text is never a number, a switch or nothing."""

    text: str
    quoted: bool = False
    place: Place = field(default=Place(), compare=False)

    def __str__(self) -> str:
        return repr(self.text)


@dataclass(frozen=True)
class Items:
    """A list of nodes."""

    items: tuple[Node, ...]
    place: Place = field(default=Place(), compare=False)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __str__(self) -> str:
        return "a list"


@dataclass(frozen=True)
class Table:
    """A mapping from keys, each with its own place, to nodes; no key stands twice."""

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place = field(default=Place(), compare=False)

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, key: str) -> Node | None:
        """The node under a key, or None."""
        return next((node for scalar, node in self.entries if scalar.text == key), None)

    def __str__(self) -> str:
        return "a mapping"


Node = Union[Scalar, Items, Table]


def from_python(value: Any, path: str = "$") -> Node:
    """Turn a Python argument into the tree that the same YAML would give.

    Args:
        value: None, a bool, number, string, or lists and mappings of them. ``Any``: whatever the caller passed.
        path: ``$``-path of the value, for errors.

    Raises:
        SpecError: The value has a type that YAML cannot say.
    """
    place = Place(path)
    if value is None:
        return Scalar("none", place=place)
    if isinstance(value, bool):
        return Scalar("true" if value else "false", place=place)
    if isinstance(value, (int, float)):
        return Scalar(repr(value), place=place)
    if isinstance(value, str):
        return Scalar(value, quoted=True, place=place)
    if hasattr(value, "__fspath__"):
        return Scalar(value.__fspath__(), quoted=True, place=place)
    if isinstance(value, Mapping):
        return Table(
            tuple((Scalar(str(key), True, place), from_python(item, f"{path}.{key}")) for key, item in value.items()),
            place,
        )
    if isinstance(value, Sequence):
        return Items(tuple(from_python(item, f"{path}[{index}]") for index, item in enumerate(value)), place)
    raise SpecError(
        f"a value of type {type(value).__name__!r} cannot stand in a spec",
        place=place,
        notes=[("known", "text, numbers, true, false, none, lists and mappings of them")],
    )
