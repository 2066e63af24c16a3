"""Read strict YAML into a tree of texts that know their places.

Nothing is constructed, so nothing can run. What a spec does not need (anchors, aliases, merge keys, tags, directives,
several documents) is refused; size and depth are bounded.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.error import Mark, MarkedYAMLError

from torso.errors import DiskError, Place, SpecError, TorsoError, UnknownNameError, did_you_mean, known, raise_all
from torso.files.hashing import open_file
from torso.specs import yaml_nodes
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, check_depth, check_text, child_path

MAX_BYTES = 512 * 1024  # far above a spec of a thousand backbones

_WRITTEN_OUT = "write it out, use defaults: or extends:, or put the text in quotes"


def read_file(path: str | os.PathLike[str], *, place: Place | None = None) -> Node:
    """Read a file of one YAML document, ``-`` from stdin; ``place`` is where its path is written, if in another spec."""
    name = os.fspath(path)
    if name == "-":
        return read_yaml(sys.stdin.buffer.read(MAX_BYTES + 1), file="<stdin>")
    try:
        with open_file(Path(name)) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(name, place) from None
    except OSError as error:
        kind = SpecError if error.errno == errno.EINVAL else DiskError  # the disk is well where it is no regular file
        raise kind(f"{name!r} cannot be read: {error.strerror}", place=place) from None
    return read_yaml(data, file=name)


def read_yaml(data: bytes, *, file: str) -> Node:
    """Read one YAML document in UTF-8, with or without a byte order mark; ``file`` is what errors call it."""
    loader = _Loader(_decoded(data, file), file)
    try:
        return loader.document()
    except MarkedYAMLError as error:
        notes = [("cause", error.context)] if error.context else []
        fixes = {"mapping": "write it in braces, as truncate: {level: C4}", "found character '\\t'": "indent with spaces"}
        notes += [("fix", fix) for start, fix in fixes.items() if str(error.problem).startswith(start)]
        raise SpecError(f"not YAML: {error.problem}", place=loader.place(error.problem_mark), notes=notes) from None
    except SpecError:
        raise
    except (ValueError, OverflowError):  # chr() of an escape such as "\UFFFFFFFF"
        raise SpecError("not YAML: no character has this number", place=loader.place(loader.get_mark())) from None


def _refuse(fact: str, fix: str) -> Callable[[_Loader], NoReturn]:
    def fetch(loader: _Loader) -> NoReturn:
        raise SpecError(f"a spec has no {fact}", place=loader.place(loader.get_mark()), notes=[("fix", fix)])

    return fetch


# PyYAML's parser in Python: the one in C takes half a minute over a hundred thousand brackets, and may crash.
class _Loader(yaml.BaseLoader):
    """Has PyYAML compose its nodes, and makes nodes of torso's own from them, which know their paths."""

    fetch_anchor = _refuse("anchors", _WRITTEN_OUT)
    fetch_alias = _refuse("aliases", _WRITTEN_OUT)
    fetch_tag = _refuse("tags", "leave it out, or put the text in quotes")
    fetch_directive = _refuse("directives", "leave out this line")

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self._depth = 0
        self._doubled: list[SpecError] = []

    def place(self, mark: Mark | None, path: str = "$") -> Place:
        assert mark is not None
        return Place(path, self._file, mark.line + 1, mark.column + 1)

    def document(self) -> Node:
        if not self.check_node():
            raise SpecError("the spec is empty", place=Place(file=self._file, line=1, column=1))
        root = self.get_node()
        if self.check_node():
            raise SpecError("a spec has one document, not several", place=self.place(self.peek_event().start_mark))  # type: ignore[no-untyped-call]
        tree = self._converted(root, "$")
        raise_all(self._doubled)
        return tree

    def compose_node(self, parent: Any, index: Any) -> Any:  # Any: PyYAML's nodes
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if not isinstance(event, yaml.ScalarEvent):
            check_depth(self._depth, self.place(event.start_mark))  # the recursion is bounded, too
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _converted(self, node: Any, path: str) -> Node:
        place = self.place(node.start_mark, path)
        if isinstance(node, yaml.ScalarNode):
            return ScalarNode(check_text(node.value, place), bool(node.style), place)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self._converted(item, f"{path}[{index}]") for index, item in enumerate(node.value))
            if ScalarNode("") in items:
                raise SpecError("an item of this list is nothing", place=items[items.index(ScalarNode(""))].place)
            return SequenceNode(items, place)
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        for key_node, value in node.value:
            key = self._key(key_node, path)
            first, _ = entries.setdefault(key.text, (key, self._converted(value, key.place.path)))
            if first is not key:
                lines = f"on line {first.place.line} and on line {key.place.line}"
                self._doubled.append(SpecError(f"the key {key.text!r} occurs twice, {lines}", place=key.place))
        return MappingNode(tuple(entries.values()), place)

    def _key(self, node: Any, path: str) -> ScalarNode:
        place = self.place(node.start_mark, path)
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            was = "nothing" if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
            raise SpecError(f"a key must be text, not {was}", place=place)
        if node.value == "<<":
            raise SpecError("a spec has no merge keys", place=place, notes=[("fix", _WRITTEN_OUT)])
        text = check_text(node.value, place)
        return ScalarNode(text, place=self.place(node.start_mark, child_path(path, text)))


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
    illegal = re.search(yaml_nodes.ILLEGAL_CHARACTER, text)  # PyYAML counts lines at some of them, editors do not
    if illegal is None:
        return text
    lines = re.split("\r\n|\r|\n", text[: illegal.start()])
    place = Place(file=file, line=len(lines), column=len(lines[-1]) + 1)
    if "\udc80" <= illegal.group() <= "\udcff":
        fact, fix = f"the byte {ord(illegal.group()) - 0xDC00:#04x} is not UTF-8", "save the file as UTF-8"
        raise SpecError(fact, place=place, notes=[("fix", fix)])
    raise SpecError(f"the character {illegal.group()!a} is not allowed in a spec", place=place)
