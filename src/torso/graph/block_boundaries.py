"""Where a network can be split into a frozen and a trained part: between blocks. Used through :class:`torso.Graph`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torso.errors import CutError, UnknownNameError, did_you_mean, known
from torso.graph.levels import LEVELS
from torso.graph.node import describe

if TYPE_CHECKING:
    from torso.graph.graph import Graph


_WHOLE = "and a block is frozen or trains as a whole"


def block_boundary(graph: Graph, at: str) -> str:
    for before, end in pairwise(graph.clean):
        part = graph.nodes[graph.position(before.name) + 1 : graph.position(end.name) + 1]
        if end.stride is None and any(one.parameters for one in part):
            fact = f"the blocks of {graph.name} are not known: the part up to {end.name!r} has weights and is no feature map"
            raise CutError(fact, notes=[("fix", "name what is frozen: freeze: {match: REGEX} or {layers: [NAME]}")])
    at = graph.node_of_level(at) if at in LEVELS else graph.levels.get(at, at)  # C4@expansion lies within a block
    ends = _ends(graph)
    if at not in graph:
        notes = [*did_you_mean(at, [*graph.levels, *(one.name for one in graph)]), ("block ends", ", ".join(ends[-1:-7:-1]))]
        raise UnknownNameError(f"{at!r} is neither a level nor a node of {graph.name}", notes=notes)
    node = graph[at]
    if node.name not in ends:
        around = _around(graph, node.name)
        notes = [(f"block end {where}", f"{name!r}  ({describe(graph[name])})") for where, name in around]
        raise CutError(f"{node.name!r} lies within a block of {graph.name}, {_WHOLE}", notes=notes)
    return node.name


def boundary_before_level(graph: Graph, level: str) -> str:
    if level not in LEVELS:
        node = [("fix", "write from_node, and a node that begins a block")] if level in graph else []
        raise UnknownNameError(f"{level!r} is no level", notes=[*node, known(LEVELS)])
    start = graph.position(graph.node_of_level(level))
    positions = [graph.position(graph.levels[name]) for name in LEVELS if name in graph.levels]
    return graph.nodes[max((position for position in positions if position < start), default=0)].name


def boundary_before_node(graph: Graph, node: str) -> str:
    first = graph[node]
    if not first.inputs:
        return first.name
    if len(first.inputs) == 1 and first.inputs[0] in _ends(graph):
        return first.inputs[0]
    begins = []
    for where, name in _around(graph, first.name):
        # A node with several inputs, as a join, begins nothing: one of its branches may be frozen.
        starts = [repr(reader.name) for reader in graph.readers(name) if len(reader.inputs) == 1]
        if starts:
            begins.append((f"begins {where}", f"{' or '.join(starts)}, after {name!r}"))
    raise CutError(f"{first.name!r} does not begin a block of {graph.name}, {_WHOLE}", notes=begins)


def _ends(graph: Graph) -> list[str]:
    """The nodes that a frozen part can end at: block ends and levels; where no block is known, every clean node."""
    levels = [node for level, node in graph.levels.items() if level in LEVELS]
    pooled = [name for end in graph.ends if not graph[end].is_map for name in graph[end].inputs]
    names = {graph.nodes[0].name, *(node.name for node in graph.blocks or graph.clean), *levels, *graph.ends, *pooled}
    return sorted(names, key=graph.position)


def _around(graph: Graph, node: str) -> list[tuple[str, str]]:
    """The last such end before this node, and the first from it on."""
    at = graph.position(node)
    before = [("before", name) for name in _ends(graph) if graph.position(name) < at]
    after = [("after", name) for name in _ends(graph) if graph.position(name) >= at]
    return before[-1:] + after[:1]
