"""Count from the end: ``none`` and ``pop``."""

from __future__ import annotations

from torso.errors import CutError
from torso.graph import Graph, describe, require_clean
from torso.spec.options import Options
from torso.truncation import Cut


def keep_all(graph: Graph, options: Options) -> Cut:
    """The ends of the graph."""
    return graph.ends[0] if len(graph.ends) == 1 else {end: end for end in graph.ends}


def select_pop(graph: Graph, options: Options) -> str:
    """The node that is last once ``count`` nodes, or blocks, are gone.

    At a clean node, what stands behind it is exactly what a cut there removes, in whichever topological order.
    """
    count = options["count"]
    assert isinstance(count, int)
    if options["unit"] == "block":
        return _pop_blocks(graph, count)
    if count >= len(graph) - 1:
        raise CutError(
            f"pop {count} leaves nothing of {graph.name}: it has {len(graph)} nodes, the input among them",
            notes=[("known", f"1 to {len(graph) - 2}")],
        )
    node = graph.nodes[len(graph) - 1 - count]
    if not options["allow_partial"]:
        require_clean(graph, node.name)
    return node.name


def _pop_blocks(graph: Graph, count: int) -> str:
    ends = [node.name for node in graph.blocks if node.inputs]
    if graph.end.name not in ends:
        ends.append(graph.end.name)
    if count >= len(ends):
        last = [f"{number}: {name!r}  ({describe(graph[name])})" for number, name in enumerate(reversed(ends)) if number]
        raise CutError(
            f"pop {count} blocks leaves nothing of {graph.name}: it has {len(ends)} blocks",
            notes=[("known", f"1 to {len(ends) - 1}" if last else "none"), *(("ends at", text) for text in last[:4])],
        )
    return ends[-1 - count]
