"""The strict half of YAML: text to a tree in which each word knows where it stands.

The events are PyYAML's, from its parser in Python: the one in C takes half a minute over a hundred thousand brackets,
and its loader ends the interpreter. Nothing is constructed, so nothing can be run. What a spec does not need (anchors,
aliases, merge keys, tags, directives, several documents) is refused, and depth and number of nodes are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from yaml.error import Mark, MarkedYAMLError
from yaml.events import Event, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent, StreamEndEvent
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from torso.errors import Place, SpecError, raise_all
from torso.specs.yaml_nodes import (
    MAX_DEPTH,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    check_depth,
    check_text,
    child_path,
)

MAX_NODES = 30_000
MAX_KEY = 200
"""In characters; where a key ends is searched no further than a thousand."""

_WRITTEN_OUT = "write it out, use defaults: or extends:, or put the text in quotes"


def read_tree(text: str, *, file: str) -> Node:
    """Read the one document of a text.

    The path of an error is that of the list or mapping around it, where the parser had not got further yet.

    Raises:
        SpecError: This is not YAML, or not the part of YAML that specs are written in.
        ManyErrors: Several keys stand twice.
    """
    parser = _Parser(text)
    tree = _Tree(parser.get_event, file)
    try:
        root = tree.document()
    except _Refused as error:
        raise SpecError(error.fact, place=tree.place(error.problem_mark), notes=[("fix", error.fix)]) from None
    except MarkedYAMLError as error:
        notes = [("cause", error.context)] if error.context else []
        raise SpecError(f"not YAML: {error.problem}", place=tree.place(error.problem_mark), notes=notes) from None
    except SpecError:
        raise
    except (ValueError, OverflowError):  # chr() of an escape such as "\UFFFFFFFF"
        raise SpecError("not YAML: no character has this number", place=tree.place(parser.get_mark())) from None
    raise_all(tree.doubles)
    return root


class _Refused(MarkedYAMLError):
    """YAML, but not of the part that specs are written in."""

    def __init__(self, fact: str, mark: Mark, fix: str) -> None:
        super().__init__(problem_mark=mark)
        self.fact = fact
        self.fix = fix


class _Parser(Reader, Scanner, Parser):  # the bases of yaml.SafeLoader, without those that construct
    """PyYAML's parser, stopping at what a spec does without."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def fetch_anchor(self) -> NoReturn:
        raise _Refused("a spec has no anchors", self.get_mark(), _WRITTEN_OUT)

    def fetch_alias(self) -> NoReturn:
        raise _Refused("a spec has no aliases", self.get_mark(), _WRITTEN_OUT)

    def fetch_tag(self) -> NoReturn:
        raise _Refused("a spec has no tags", self.get_mark(), "leave it out, or put the text in quotes")

    def fetch_directive(self) -> NoReturn:
        raise _Refused("a spec has no directives", self.get_mark(), "leave out this line")


class _Tree:
    """What the events of a parser stand for."""

    def __init__(self, next_event: Callable[[], Event], file: str) -> None:
        self.doubles: list[SpecError] = []
        self._next = next_event
        self._file = file
        self._path = "$"
        self._nodes = 0

    def place(self, mark: Any) -> Place:  # Any: PyYAML declares three types of mark
        return Place(self._path, self._file, mark.line + 1, mark.column + 1)

    def document(self) -> Node:
        self._next()  # the stream starts
        event = self._next()
        if isinstance(event, StreamEndEvent):
            raise SpecError("the spec is empty", place=Place(file=self._file, line=1, column=1))
        root = self._node(self._next(), "$", 1)
        self._next()  # the document ends
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            raise SpecError("a spec has one document, not several", place=self.place(event.start_mark))
        return root

    def _node(self, event: Event, path: str, depth: int) -> Node:
        self._path = path
        place = self.place(event.start_mark)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SpecError(f"a spec has {MAX_NODES} keys and values at most", place=place)
        if isinstance(event, ScalarEvent):
            return ScalarNode(check_text(event.value, place), bool(event.style), place)
        check_depth(depth, place)
        if isinstance(event, SequenceStartEvent):
            return SequenceNode(self._items(path, depth), place)
        return MappingNode(self._entries(path, depth), place)

    def _items(self, path: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            item = self._node(event, f"{path}[{len(items)}]", depth + 1)
            if item == ScalarNode(""):
                raise SpecError("an item of this list is nothing", place=self.place(event.start_mark))
            items.append(item)
            self._path = path
        return tuple(items)

    def _entries(self, path: str, depth: int) -> tuple[tuple[ScalarNode, Node], ...]:
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            entry = (key, self._node(self._next(), key.place.path, depth + 1))
            first, _ = entries.setdefault(key.text, entry)
            if first is not key:
                lines = f"on line {first.place.line} and on line {key.place.line}"
                self.doubles.append(SpecError(f"the key {key.text!r} stands twice, {lines}", place=key.place))
            self._path = path
        return tuple(entries.values())

    def _key(self, event: Event, path: str) -> ScalarNode:
        key = self._node(event, path, MAX_DEPTH) if isinstance(event, ScalarEvent) else None
        if not isinstance(key, ScalarNode):
            raise SpecError("a key must be text, not a list or a mapping", place=self.place(event.start_mark))
        if key == ScalarNode("<<"):
            raise SpecError("a spec has no merge keys", place=key.place, notes=[("fix", _WRITTEN_OUT)])
        if not 0 < len(key.text) <= MAX_KEY:
            raise SpecError(f"a key has 1 to {MAX_KEY} characters, not {len(key.text)}", place=key.place)
        place = Place(child_path(path, key.text), self._file, key.place.line, key.place.column)
        return ScalarNode(key.text, place=place)
