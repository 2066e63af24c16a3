"""A spec as a tree of texts that know their places.

YAML and Python arguments both become this tree, so that one set of rules checks both. A scalar stays the text that the
user wrote: the option that reads it decides its type.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torso.errors import Place, SpecError, TorsoError

MAX_DEPTH = 20  # a spec needs seven levels

# Control characters, halves of surrogate pairs, and line breaks that no editor counts. Compiled when it is first used:
# that takes 4 ms, and `torso list` reads no spec.
ILLEGAL_CHARACTER = "[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"

# Texts that YAML reads as they are; all others are quoted, as JSON: YAML reads that as the same text.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*|[-+.][-+.0-9eE_]*[0-9][-+.0-9eE_]*|~|")

# What an option could read as something else than text.
_MORE_THAN_TEXT = re.compile(r"[-+]?\.?[0-9][-+.0-9eE_]*|true|false|none|null|~|", re.IGNORECASE)


@dataclass(frozen=True)
class ScalarNode:
    """One value as it was written, without quotes."""

    text: str
    quoted: bool = False  # it is text and nothing else
    place: Place = field(default=Place(), compare=False)

    def __post_init__(self) -> None:
        # so that edge and 'edge' are equal, and 1 and '1' are not
        if self.quoted and not _MORE_THAN_TEXT.fullmatch(self.text):
            object.__setattr__(self, "quoted", False)

    def __str__(self) -> str:
        return f"the text {self.text!r}" if self.text or self.quoted else "nothing"


@dataclass(frozen=True)
class SequenceNode:
    items: tuple[Node, ...]
    place: Place = field(default=Place(), compare=False)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __str__(self) -> str:
        return "a list" if self.items else "an empty list"


@dataclass(frozen=True)
class MappingNode:
    """A mapping from keys, each with its own place, to nodes; no key occurs twice."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    place: Place = field(default=Place(), compare=False)

    def __iter__(self) -> Iterator[tuple[ScalarNode, Node]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, key: str) -> Node | None:
        return next((node for scalar, node in self.entries if scalar.text == key), None)

    def __str__(self) -> str:
        return "a mapping" if self.entries else "an empty mapping"


Node = ScalarNode | SequenceNode | MappingNode


def text_of(node: Node) -> str:
    """A node as YAML on one line."""
    if isinstance(node, ScalarNode):
        plain = not node.quoted and _PLAIN.fullmatch(node.text)
        return node.text if plain else json.dumps(node.text, ensure_ascii=False)
    if isinstance(node, SequenceNode):
        return f"[{', '.join(map(text_of, node))}]"
    return f"{{{', '.join(f'{text_of(key)}: {text_of(one)}' for key, one in node)}}}"


def child_path(path: str, key: str) -> str:
    """The ``$``-path of the value of a key."""
    return f"{path}.{key}" if re.fullmatch(r"[\w/-]+", key) else f"{path}[{key!r}]"


def path_of(text: ScalarNode) -> Path:
    """The file that a text in a spec names; a relative path starts at the folder of that spec."""
    return Path(text.place.file or "").parent / text.text


E = TypeVar("E", bound=TorsoError)


def must_be(key: str, expected: str, node: Node, kind: type[E], fix: str | None = None, was: object = None) -> E:
    """The error of a key whose value is of the wrong kind."""
    notes = [("fix", fix)] if fix else []
    return kind(f"{key} must be {expected}, not {was or node}", place=node.place, notes=notes)


def check_text(text: str, place: Place) -> str:
    """Return the text; a SpecError if a character in it is not allowed."""
    if illegal := re.search(ILLEGAL_CHARACTER, text):
        raise SpecError(f"the character {illegal.group()!a} is not allowed in a spec", place=place)
    return text


def check_depth(depth: int, place: Place) -> None:
    if depth > MAX_DEPTH:
        raise SpecError(f"lists and mappings are nested more than {MAX_DEPTH} deep", place=place)


def from_python(value: Any, path: str = "$", depth: int = 1) -> Node:
    """The tree that the same value in YAML would give; a SpecError if YAML has no such value."""
    from numbers import Integral, Real  # numbers of numpy are registered there

    place = Place(path)
    if isinstance(value, ScalarNode | SequenceNode | MappingNode):  # it knows its place
        return value
    if value is None:
        return ScalarNode("none", place=place)
    if isinstance(value, bool):  # before Integral: a bool is one
        return ScalarNode("true" if value else "false", place=place)
    if isinstance(value, Integral):
        return ScalarNode(str(int(value)), place=place)
    if isinstance(value, Real):
        return ScalarNode(repr(float(value)), place=place)
    if isinstance(value, os.PathLike):
        value = os.fsdecode(value)
    if isinstance(value, str):
        return ScalarNode(check_text(str.__str__(value), place), quoted=True, place=place)
    check_depth(depth, place)
    if isinstance(value, Mapping):
        return MappingNode(tuple(_entry(key, item, path, depth) for key, item in value.items()), place)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        items = (from_python(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        return SequenceNode(tuple(items), place)
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    notes = [("known", "text, numbers, true, false, none, lists and mappings of them")]
    raise SpecError(f"a spec cannot hold a value of type {name!r}", place=place, notes=notes)


def _entry(key: Any, item: Any, path: str, depth: int) -> tuple[ScalarNode, Node]:
    if not isinstance(key, str):
        raise SpecError(f"a key must be text, not {key!r}", place=Place(path))
    below = child_path(path, key)
    place = Place(below)
    return ScalarNode(check_text(str.__str__(key), place), place=place), from_python(item, below, depth + 1)
