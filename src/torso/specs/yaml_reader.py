"""Read strict YAML into a tree of texts that know their places.

Nothing is constructed, so nothing can run. What a spec does not need (anchors, aliases, merge keys, tags, directives,
several documents) is refused; size, depth and number of nodes are bounded.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from yaml.error import Mark, MarkedYAMLError

from torso.errors import DiskError, Place, SpecError, TorsoError, UnknownNameError, did_you_mean, known, raise_all
from torso.files.hashing import open_file
from torso.specs.yaml_nodes import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    check_depth,
    check_text,
    child_path,
    illegal_character,
)

MAX_BYTES = 512 * 1024  # far above a spec of a thousand backbones, and read within a second or two
MAX_NODES = 30_000
MAX_KEY = 200  # characters

_WRITTEN_OUT = "write it out, use defaults: or extends:, or put the text in quotes"


def read_file(path: str | os.PathLike[str], *, place: Place | None = None) -> Node:
    """Read a file of one YAML document; ``place`` is where its path is written, if in another spec."""
    name = os.fspath(path)
    try:
        with open_file(Path(name)) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(name, place) from None
    except (OSError, ValueError) as error:  # ValueError: no file system knows a name with such characters
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise DiskError(f"{name!r} cannot be read: {error.strerror}", place=place) from None
        raise SpecError(f"{name!r} is not a regular file", place=place) from None
    return read_yaml(data, file=name)


def read_yaml(data: bytes, *, file: str) -> Node:
    """Read one YAML document in UTF-8, with or without a byte order mark; ``file`` is what errors call it."""
    composer = _Composer(_decoded(data, file), file)
    try:
        return composer.document()
    except MarkedYAMLError as error:
        notes = [("cause", error.context)] if error.context else []
        raise SpecError(f"not YAML: {error.problem}", place=composer.place(error.problem_mark), notes=notes) from None
    except SpecError:
        raise
    except (ValueError, OverflowError):  # chr() of an escape such as "\UFFFFFFFF"
        raise SpecError("not YAML: no character has this number", place=composer.place(composer.get_mark())) from None


def _refuse(fact: str, fix: str) -> Callable[[_Composer], NoReturn]:
    def fetch(composer: _Composer) -> NoReturn:
        raise SpecError(f"a spec has no {fact}", place=composer.place(composer.get_mark()), notes=[("fix", fix)])

    return fetch


# PyYAML's parser in Python: the one in C takes half a minute over a hundred thousand brackets, and may crash.
class _Composer(yaml.BaseLoader):
    """Composes nodes of torso's own, which know their paths, in place of PyYAML's."""

    fetch_anchor = _refuse("anchors", _WRITTEN_OUT)
    fetch_alias = _refuse("aliases", _WRITTEN_OUT)
    fetch_tag = _refuse("tags", "leave it out, or put the text in quotes")
    fetch_directive = _refuse("directives", "leave out this line")

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self._path = "$"
        self._depth = self._nodes = 0
        self._doubled: list[SpecError] = []

    def place(self, mark: Mark | None) -> Place:
        assert mark is not None
        return Place(self._path, self._file, mark.line + 1, mark.column + 1)

    def document(self) -> Node:
        if not self.check_node():
            raise SpecError("the spec is empty", place=Place(file=self._file, line=1, column=1))
        root = self.get_node()
        if self.check_node():
            raise SpecError("a spec has one document, not several", place=self.place(self.peek_event().start_mark))  # type: ignore[no-untyped-call]
        raise_all(sorted(self._doubled, key=lambda error: (error.place.line, error.place.column)))  # type: ignore[union-attr]
        return cast("Node", root)

    def compose_node(self, parent: Any, index: Any) -> Any:  # Any: PyYAML's nodes, where it expects its own
        """Compose the next node: a key if there is a parent and no index, else the value under the index."""
        event, around = self.peek_event(), self._path  # type: ignore[no-untyped-call]
        is_key = parent is not None and index is None
        if isinstance(index, ScalarNode):
            self._path = index.place.path
        elif index is not None:
            self._path = f"{around}[{index}]"
        place = self.place(event.start_mark)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SpecError(f"a spec has {MAX_NODES} keys and values at most", place=place)
        if not isinstance(event, yaml.ScalarEvent):
            if is_key:
                raise SpecError("a key must be text, not a list or a mapping", place=place)
            check_depth(self._depth + 1, place)
        self._depth += 1  # bounded above: the recursion is too
        composed = super().compose_node(parent, index)
        self._depth -= 1
        node = self._converted(composed, place)
        if is_key:
            return self._key(node, place)
        if isinstance(index, int) and node == ScalarNode(""):
            raise SpecError("an item of this list is nothing", place=place)
        self._path = around
        return node

    def _converted(self, composed: Any, place: Place) -> Node:
        if isinstance(composed, yaml.ScalarNode):
            return ScalarNode(check_text(composed.value, place), bool(composed.style), place)
        if isinstance(composed, yaml.SequenceNode):
            return SequenceNode(tuple(composed.value), place)
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        for key, value in composed.value:
            first, _ = entries.setdefault(key.text, (key, value))
            if first is not key:
                lines = f"on line {first.place.line} and on line {key.place.line}"
                self._doubled.append(SpecError(f"the key {key.text!r} occurs twice, {lines}", place=key.place))
        return MappingNode(tuple(entries.values()), place)

    def _key(self, key: Node, place: Place) -> ScalarNode:
        assert isinstance(key, ScalarNode)
        if key == ScalarNode("<<"):
            raise SpecError("a spec has no merge keys", place=place, notes=[("fix", _WRITTEN_OUT)])
        if not 0 < len(key.text) <= MAX_KEY:
            raise SpecError(f"a key has 1 to {MAX_KEY} characters, not {len(key.text)}", place=place)
        return ScalarNode(key.text, place=Place(child_path(place.path, key.text), place.file, place.line, place.column))


def _missing(name: str, place: Place | None) -> TorsoError:
    folder, base = os.path.split(name)
    try:
        specs = sorted(entry for entry in os.listdir(folder or ".") if entry.endswith((".yaml", ".yml")))
    except OSError:
        notes = [("cause", f"there is no folder {folder!r}")]
    else:
        notes = [*did_you_mean(base, specs), known(specs)]
    return UnknownNameError(f"there is no file {name!r}", place=place, notes=notes)


def _decoded(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError(f"a spec has {MAX_BYTES} bytes at most", place=Place(file=file))
    # Bytes that are not UTF-8 become halves of surrogate pairs, which the search finds: U+DCFF for 0xff.
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")  # the byte order mark of some editors
    illegal = illegal_character(text)  # PyYAML counts lines at some of them, editors do not
    if illegal is None:
        return text
    lines = re.split("\r\n|\r|\n", text[: illegal.start()])
    place = Place(file=file, line=len(lines), column=len(lines[-1]) + 1)
    byte = ord(illegal.group()) - 0xDC00
    if 0x80 <= byte <= 0xFF:
        fix = "save the file as UTF-8"
        raise SpecError(f"the byte {byte:#04x} is not UTF-8", place=place, notes=[("fix", fix)])
    raise SpecError(f"the character {illegal.group()!a} is not allowed in a spec", place=place)
