"""Count from the end: ``pop``."""

from __future__ import annotations

from typing import cast

from torso.errors import CutError, Note
from torso.graph import Graph, describe
from torso.specs.options import Options


def select_pop(graph: Graph, options: Options) -> str:
    """The node that is last once ``count`` nodes or blocks are removed from the end."""
    count = cast("int", options["count"])
    if options["unit"] == "block":
        return _pop_blocks(graph, count)
    if count >= len(graph) - 1:
        raise CutError(
            f"pop {count} leaves nothing of {graph.name}: it has {_plural(len(graph), 'node')}, the input included",
            notes=[_known(len(graph) - 2)],
        )
    # A cut at a clean node removes exactly the nodes after it, whichever topological order they have.
    node = graph.nodes[len(graph) - 1 - count]
    if not options["allow_partial"]:
        graph.require_clean(node.name)
    return node.name


def _pop_blocks(graph: Graph, count: int) -> str:
    ends = [node.name for node in graph.blocks]
    if graph.end.name not in ends:  # what comes after the last block counts as one, as MobileNetV2's last convolution
        ends.append(graph.end.name)
    if count >= len(ends):
        last = [f"{number}: {name!r}  ({describe(graph[name])})" for number, name in enumerate(reversed(ends)) if number]
        raise CutError(
            f"pop {_plural(count, 'block')} leaves nothing of {graph.name}: it has {_plural(len(ends), 'block')}",
            notes=[_known(len(ends) - 1), *(("ends at", text) for text in last[:4])],
        )
    return ends[-1 - count]


def _known(most: int) -> Note:
    return ("known", f"1 to {most}" if most > 1 else "1" if most == 1 else "none: write truncate: none")


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
