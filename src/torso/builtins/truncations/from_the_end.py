"""Count from the end: ``pop``."""

from __future__ import annotations

from typing import cast

from torso.errors import CutError
from torso.graph import Graph
from torso.specs.options import Options


def select_pop(graph: Graph, options: Options) -> str:
    """The node that is last once ``count`` nodes or blocks are removed from the end."""
    count, unit = cast("int", options["count"]), str(options["unit"])
    ends = [node.name for node in (graph.blocks if unit == "block" else graph.nodes[1:])]
    if graph.end.name not in ends:  # what comes after the last block counts as one, as MobileNetV2's last convolution
        ends.append(graph.end.name)
    if count >= len(ends):
        raise CutError(
            f"pop {count} leaves nothing: {graph.name} has {len(ends)} {unit}{'s' if len(ends) > 1 else ''} after its input",
            notes=[("known", f"1 to {len(ends) - 1}" if len(ends) > 1 else "none: write truncate: none")],
        )
    # A cut at a clean node removes exactly the nodes after it, whichever topological order they have. Block ends are clean.
    end = ends[-1 - count]
    if not options["allow_partial"]:
        graph.require_clean(end)
    return end
