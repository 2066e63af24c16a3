"""Where a network may be parted into what is frozen and what trains: between blocks."""

from __future__ import annotations

from torso.errors import CutError, UnknownNameError, did_you_mean
from torso.graph.graph import Graph
from torso.graph.levels import LEVELS
from torso.graph.node import describe


def boundary(graph: Graph, at: str) -> str:
    """The node of a level, or a node itself that ends a block.

    Args:
        graph: The network.
        at: ``C1`` to ``C5``, or the name of a node.

    Raises:
        UnknownNameError: The network has no such level or node.
        CutError: The node lies within a block; the ends of blocks before and behind it are named.
    """
    at = _level(graph, at) if at in LEVELS else graph.levels.get(at, at)
    if at not in graph:
        raise UnknownNameError(
            f"{at!r} is neither a level nor a node of {graph.name}",
            notes=[
                *did_you_mean(at, [*graph.levels, *(node.name for node in graph)]),
                ("block ends", ", ".join(_ends(graph)[-1:-7:-1])),
            ],
        )
    node = graph[at]
    ends = _ends(graph)
    if node.name not in ends:
        raise CutError(
            f"{node.name!r} lies within a block of {graph.name}, and a block is frozen or trains as a whole",
            notes=[
                (f"block end {where}", f"{name!r}  ({describe(graph[name])})") for where, name in _around(graph, node.name)
            ],
        )
    return node.name


def boundary_before(graph: Graph, *, level: str | None = None, node: str | None = None) -> str:
    """The end of the last block that stays frozen where everything from a level, or from a node, is to train.

    Args:
        graph: The network.
        level: The level whose stage is the first to train: what leads to it from the level before.
        node: The node that is the first to train: one that begins a block.

    Returns:
        The name of a node, the input where everything is to train.

    Raises:
        UnknownNameError: The network has no such level or node.
        CutError: The node does not begin a block; the nodes that do are named.
    """
    if level is not None:
        if level not in LEVELS:
            raise UnknownNameError(f"{level!r} is no level", notes=[("known", ", ".join(LEVELS))])
        end = graph.position(_level(graph, level))
        before = [graph.levels[name] for name in LEVELS if name in graph.levels]
        return max((name for name in before if graph.position(name) < end), key=graph.position, default=graph.nodes[0].name)
    first = graph[str(node)]
    if not first.inputs:
        return first.name
    if len(first.inputs) == 1 and first.inputs[0] in _ends(graph):
        return first.inputs[0]
    begins = []
    for where, name in _around(graph, first.name):
        starts = [repr(reader.name) for reader in graph.readers(name) if len(reader.inputs) == 1]
        if starts:
            begins.append((f"begins {where}", f"{' or '.join(starts)}, behind {name!r}"))
    raise CutError(
        f"{first.name!r} does not begin a block of {graph.name}, and a block is frozen or trains as a whole", notes=begins
    )


def _level(graph: Graph, level: str) -> str:
    if level not in graph.levels:
        known = [(name, f"{node!r}  ({describe(graph[node])})") for name, node in graph.levels.items()]
        raise UnknownNameError(f"{graph.name} has no level {level}", notes=known)
    return graph.levels[level]


def _ends(graph: Graph) -> list[str]:
    """The nodes that a frozen part can end at: block ends and levels; where no block is known, every clean node."""
    levels = [node for level, node in graph.levels.items() if level in LEVELS]
    names = {graph.nodes[0].name, *(node.name for node in graph.blocks or graph.clean), *levels, *graph.ends}
    return sorted(names, key=graph.position)


def _around(graph: Graph, node: str) -> list[tuple[str, str]]:
    """The last such node before this one, and the first from it on."""
    at = graph.position(node)
    ends = _ends(graph)
    before = [("before", name) for name in ends if graph.position(name) < at]
    return before[-1:] + [("behind", name) for name in ends if graph.position(name) >= at][:1]
