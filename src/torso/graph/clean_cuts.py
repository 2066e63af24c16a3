"""What a cut would lose, and where the next clean ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torso.errors import CutError
from torso.graph.graph import Graph
from torso.graph.node import Node, channels_of, describe

_MOST_BRANCHES = 6  # that an error lists


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What runs around a cut: an edge into a node behind it, or an output of the network.

    Attributes:
        source: The node that is read from.
        into: The node that reads it, and that the cut would drop; empty where the branch is an output of the network.
        channels: Channels of ``source``.
        of: Channels of ``into``.
        is_part: The two are concatenated: the branch brings some channels of ``into``. Otherwise it bears on all of them.
    """

    source: str
    into: str
    channels: int | None
    of: int | None
    is_part: bool

    def __str__(self) -> str:
        if not self.into:
            return f"{self.source!r}, an output of the network"
        if self.is_part:
            share = f" ({100 * self.channels / self.of:.0f} %)" if self.channels and self.of else ""
            return f"{self.source!r}, {self.channels} of the {channels_of(self.of)} of {self.into!r}{share}"
        return f"{self.source!r}, which bears on {'the' if self.of == 1 else 'all'} {channels_of(self.of)} of {self.into!r}"


def branches_lost(graph: Graph, *cut: str) -> tuple[Branch, ...]:
    """The branches that a cut would lose: those that join what the cut keeps, up to the next clean node, and outputs.

    Args:
        graph: The network.
        cut: Name of each node that the backbone is to end at.

    Returns:
        In the order in which they join; empty where every path from the input to an end passes through the cut.
    """
    ends = {graph[name].name for name in cut}
    around = _around(graph, ends)
    if around.isdisjoint(graph.ends):
        return ()
    first = min(graph.position(name) for name in ends)
    behind: set[str] = set(ends)
    branches: list[Branch] = []
    stop = max(graph.position(node.name) for node in _next_clean(graph, max(map(graph.position, ends))))
    for node in graph.nodes[first : stop + 1]:
        inside = [name for name in node.inputs if name in behind]
        if not inside or node.name in ends:
            continue
        behind.add(node.name)
        for name in node.inputs:
            if name not in behind:
                source = graph[name]
                branches.append(
                    Branch(
                        source=name,
                        into=node.name,
                        channels=source.channels,
                        of=node.channels,
                        is_part=node.kind == "Concatenate",
                    )
                )
    branches += [
        Branch(source=end, into="", channels=graph[end].channels, of=None, is_part=False)
        for end in graph.ends
        if end in around and graph.ancestors(end).isdisjoint(ends)
    ]
    return tuple(branches)


def clean_around(graph: Graph, name: str) -> tuple[Node | None, Node | None]:
    """The last clean cut before this node, and the first one behind it."""
    at = graph.position(name)
    before = [clean for clean in graph.clean_cuts if graph.position(clean.name) < at]
    after = [clean for clean in graph.clean_cuts if graph.position(clean.name) > at]
    return before[-1] if before else None, after[0] if after else None


def require_clean(graph: Graph, *cut: str) -> None:
    """Refuse a cut that would lose a parallel branch.

    Raises:
        CutError: Some path from the input to the end goes around the cut; what would be lost is told, and the clean
            neighbours are named.
    """
    ends = {graph[name].name for name in cut}
    lost = branches_lost(graph, *cut)
    if not lost:
        return
    deepest = max(ends, key=graph.position)
    notes = [("lost", str(branch)) for branch in lost[:_MOST_BRANCHES]]
    if len(lost) > _MOST_BRANCHES:
        notes.append(("lost", f"and {len(lost) - _MOST_BRANCHES} more, up to {(lost[-1].into or lost[-1].source)!r}"))
    for label, clean in zip(("clean before", "clean after"), clean_around(graph, deepest), strict=True):
        if clean is not None:
            notes.append((label, f"{clean.name!r}  ({describe(clean)}, pop {graph.pop_count(clean.name)})"))
    if len(ends) == 1:
        fix = "cut at a clean node, or add allow_partial: true to cut here all the same"
    else:
        fix = "let the last of them be a clean node, or add allow_partial: true to cut here all the same"
    count = f"{len(lost)} branches" if len(lost) != 1 else "a branch"
    runs = "run" if len(lost) != 1 else "runs"
    where = " and ".join(repr(graph[name].name) for name in cut)
    raise CutError(
        f"a cut at {where} would lose {count} of {graph.name} that {runs} beside it", notes=[*notes, ("fix", fix)]
    )


def _around(graph: Graph, ends: set[str]) -> set[str]:
    """The nodes that a path from an input leads to through none of these ends."""
    reached: set[str] = set()
    for node in graph:
        if node.name not in ends and (not node.inputs or any(name in reached for name in node.inputs)):
            reached.add(node.name)
    return reached


def _next_clean(graph: Graph, position: int) -> Sequence[Node]:
    """The first clean node behind a position, or where there is none, the ends."""
    clean = [node for node in graph.clean if graph.position(node.name) > position]
    return clean[:1] or [graph[name] for name in graph.ends]
