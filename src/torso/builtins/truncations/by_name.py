"""By names of nodes: ``layer``, ``layers`` and ``match``."""

import re
from typing import cast

from torso.contracts.truncation import Cut, DeclaredLevels
from torso.errors import CutError, OptionError, UnknownNameError
from torso.graph import Graph, describe
from torso.specs.options import Options


def select_layer(graph: Graph, options: Options) -> str:
    """The node of that name; refused where a branch would be lost."""
    return _allowed(graph, options, graph[str(options["name"])].name)


def select_layers(graph: Graph, options: Options) -> Cut:
    """The nodes of those names; refused where a branch beside all of them would be lost."""
    cut: dict[str, str] = {}
    for name in cast("tuple[str, ...]", options["names"]):
        node = graph[name].name
        if node in cut.values():
            raise CutError(f"{name!r} is named twice, and a backbone gives each output once")
        cut[name] = node
    if not cut:
        raise CutError("layers names no node", notes=[("fix", "name one or more, or write truncate: none")])
    _allowed(graph, options, *cut.values())
    return cut


def at_layers(declared: DeclaredLevels, options: Options) -> list[str]:
    """The nodes themselves, where a lost branch does not matter or none is lost."""
    names = cast("tuple[str, ...]", options.get("names", (options.get("name"),)))
    safe = options["allow_partial"] or all(map(declared.is_clean, names))
    return list(names) if safe and len(set(names)) == len(names) else []


def select_match(graph: Graph, options: Options) -> str:
    """The last node, in topological order, whose name the pattern is found in."""
    return _allowed(graph, options, matching(graph, str(options["pattern"]))[-1])


def matching(graph: Graph, pattern: str) -> list[str]:
    """The nodes whose names a regular expression is found in, in order; refused where there is none."""
    try:
        found = [node.name for node in graph if re.search(pattern, node.name)]
    except re.error as error:
        fix = "to match a bracket, dot or sign itself, write \\ before it"
        raise OptionError(f"{pattern!r} is not a regular expression: {error}", notes=[("fix", fix)]) from error
    if not found:
        notes = [("block output", f"{node.name!r}  ({describe(node)})") for node in graph.blocks[-4:]]
        raise UnknownNameError(f"the regular expression {pattern!r} matches no node of {graph.name}", notes=notes)
    return found


def _allowed(graph: Graph, options: Options, *cut: str) -> str:
    """The first of the nodes, once the cut is clean or the user insists."""
    if not options["allow_partial"]:
        graph.require_clean(*cut)
    return cut[0]
