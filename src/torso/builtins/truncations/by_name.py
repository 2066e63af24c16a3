"""Nodes by their names: ``layer``, ``layers`` and ``match``."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from torso.contracts.truncation import Cut, DeclaredLevels
from torso.errors import CutError, OptionError, UnknownNameError
from torso.graph import Graph, describe
from torso.specs.options import Options

if TYPE_CHECKING:
    import regex

SECONDS_TO_MATCH = 1.0
"""After so long a regular expression is given up, all names together: a sound one takes milliseconds for a thousand."""


def select_layer(graph: Graph, options: Options) -> str:
    """The node of that name, refused where a branch would be lost."""
    node = graph[str(options["name"])]
    if not options["allow_partial"]:
        graph.require_clean(node.name)
    return node.name


def select_layers(graph: Graph, options: Options) -> Cut:
    """The nodes of those names, refused where a branch would be lost that runs beside all of them."""
    names = options["names"]
    assert isinstance(names, tuple)
    cut: dict[str, str] = {}
    for name in names:
        node = graph[str(name)].name
        if node in cut.values():
            raise CutError(f"{str(name)!r} is named twice, and a backbone gives each output once")
        cut[str(name)] = node
    if not cut:
        raise CutError("layers names no node", notes=[("fix", "name one or more, or write truncate: none")])
    if not options["allow_partial"]:
        graph.require_clean(*cut.values())
    return cut


def static_cut_of_layers(declared: DeclaredLevels, options: Options) -> list[str]:
    """The nodes themselves, where it does not matter whether a branch is lost, or none is."""
    asked = options.get("names", (options.get("name"),))
    assert isinstance(asked, tuple)
    names = [str(name) for name in asked]
    safe = options["allow_partial"] or all(map(declared.is_clean, names))
    return names if safe and len(set(names)) == len(names) else []


def select_match(graph: Graph, options: Options) -> str:
    """The last node, in topological order, whose name the pattern is found in."""
    import regex  # a list of architectures does without it

    pattern = str(options["pattern"])
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise OptionError(
            f"{pattern!r} is no regular expression: {error}",
            notes=[("fix", "a bracket, dot or sign that is meant as such takes a \\ before it")],
        ) from error
    try:
        found = _last_match(compiled, graph)
    except TimeoutError as error:
        raise OptionError(
            f"the regular expression {pattern!r} was given up after {SECONDS_TO_MATCH:g} s on the names of {graph.name}",
            notes=[
                ("cause", "it can match one text in very many ways, as a repetition within a repetition does"),
                ("fix", "write it without nested repetitions, or name the node under layer:"),
            ],
        ) from error
    if found is None:
        ends = [(node.name, describe(node)) for node in graph.blocks[-4:]]
        raise UnknownNameError(
            f"the regular expression {pattern!r} matches no node of {graph.name}",
            notes=[("block output", f"{name!r}  ({words})") for name, words in ends],
        )
    if not options["allow_partial"]:
        graph.require_clean(found)
    return found


def _last_match(compiled: regex.Pattern[str], graph: Graph) -> str | None:
    deadline = monotonic() + SECONDS_TO_MATCH
    for node in reversed(graph.nodes):
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        if compiled.search(node.name, timeout=left):
            return node.name
    return None
