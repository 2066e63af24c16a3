"""What a cut would drop, and where the next clean cuts are. Used through the methods of :class:`torso.Graph`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torso.errors import CutError
from torso.graph.node import Node, channels_of, describe

if TYPE_CHECKING:
    from torso.graph.graph import Graph

_MOST_BRANCHES = 6  # that an error lists


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A branch that runs beside a cut: an edge into a node after the cut, or an output of the network."""

    source: str  # the node that is read
    into: str  # the node that reads it, and that the cut would drop; empty where the branch is an output of the network
    channels: int | None  # of source
    of: int | None  # channels of into
    is_part: bool  # concatenated: it makes up some channels of into; otherwise it feeds all of them

    def __str__(self) -> str:
        if not self.into:
            return f"{self.source!r}, an output of the network"
        if self.is_part:
            share = f" ({100 * self.channels / self.of:.0f} %)" if self.channels and self.of else ""
            return f"{self.source!r}, {self.channels} of the {channels_of(self.of)} of {self.into!r}{share}"
        return f"{self.source!r}, which feeds {'the' if self.of == 1 else 'all'} {channels_of(self.of)} of {self.into!r}"


def clean_nodes(nodes: Sequence[Node], last_readers: Sequence[int]) -> tuple[Node, ...]:
    # In a topological order, an edge that jumps over a node is a path around it, and there is no other way around: one
    # sweep over the edges finds all of them. An output of the network counts as an edge to after the last node.
    clean: list[Node] = []
    reach = max(index for index, node in enumerate(nodes) if not node.inputs)  # the last input, where several
    for index, node in enumerate(nodes):
        if reach <= index:
            clean.append(node)
        reach = max(reach, last_readers[index])
    return tuple(clean)


def lost_branches(graph: Graph, cut: Sequence[str]) -> tuple[Branch, ...]:
    ends = {graph[name].name for name in cut}
    beside: set[str] = set()  # what a path from an input reaches without passing any of the ends
    for node in graph:
        if node.name not in ends and (not node.inputs or not beside.isdisjoint(node.inputs)):
            beside.add(node.name)
    if beside.isdisjoint(graph.ends):
        return ()
    positions = [graph.position(name) for name in ends]
    after: set[str] = set(ends)
    branches: list[Branch] = []
    # Branches that join after the next clean node are lost with that node, not beside it.
    stop = next((at for node in graph.clean if (at := graph.position(node.name)) > max(positions)), len(graph))
    for node in graph.nodes[min(positions) : stop + 1]:
        if node.name in ends or after.isdisjoint(node.inputs):
            continue
        after.add(node.name)
        part = node.kind == "Concatenate"
        branches += [
            Branch(source=name, into=node.name, channels=graph[name].channels, of=node.channels, is_part=part)
            for name in node.inputs
            if name not in after
        ]
    branches += [
        Branch(source=end, into="", channels=graph[end].channels, of=None, is_part=False)
        for end in graph.ends
        if end in beside and graph.ancestors(end).isdisjoint(ends)
    ]
    return tuple(branches)


def require_clean(graph: Graph, cut: Sequence[str], *, fix: str = ", or add allow_partial: true to cut here anyway") -> None:
    lost = lost_branches(graph, cut)
    if not lost:
        return
    ends = [graph[name].name for name in cut]
    notes = [("lost", str(branch)) for branch in lost[:_MOST_BRANCHES]]
    if len(lost) > _MOST_BRANCHES:
        notes.append(("lost", f"and {len(lost) - _MOST_BRANCHES} more, up to {(lost[-1].into or lost[-1].source)!r}"))
    neighbours = graph.clean_neighbours(max(ends, key=graph.position))
    for label, clean in zip(("clean before", "clean after"), neighbours, strict=True):
        if clean is not None:
            notes.append((label, f"{clean.name!r}  ({describe(clean)}, pop {graph.pop_count(clean.name)})"))
    instead = "cut at a clean node" if len(set(ends)) == 1 else "let the last of them be a clean node"
    notes.append(("fix", f"{instead}{fix}"))
    what = "a branch" if len(lost) == 1 else f"{len(lost)} branches"
    runs = "runs" if len(lost) == 1 else "run"
    where = " and ".join(map(repr, ends))
    raise CutError(f"a cut at {where} would lose {what} of {graph.name} that {runs} beside it", notes=notes)
