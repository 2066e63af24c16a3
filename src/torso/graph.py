"""The network as plain data: nodes, edges, and which cuts are clean.

A graph is a value without Keras objects, so that a truncation strategy or a freeze policy is written and tested without
TensorFlow. Reading one off a Keras model is the work of the Keras bridge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from torso.errors import CutError, Note, UnknownNameError, nearest

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of a Keras layer or of a bare op.

    Attributes:
        name: Canonical name: a function of the architecture alone. ``outer/inner`` inside a nested model; ``name:0``,
            ``name:1`` where one layer is called several times.
        kind: Class of the layer or op: ``Conv2D``, ``Add``.
        inputs: Names of the nodes whose outputs this one reads, in order.
        shape: Output shape without the batch axis; None for an axis of any size.
        stride: Input pixels per cell side, or None where the output is no map of cells.
        parameters: Number of values in the node's weights; those of a layer called several times count at each call.
        outputs: How many tensors it gives; a backbone cannot end at a node with several.
        is_op: A bare op: it has no weights, and Keras' ``get_layer`` cannot reach it.
        alias: Other names by which a user may call the node, as the last node of a nested model by that model's name.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    shape: Shape = ()
    stride: int | None = None
    parameters: int = 0
    outputs: int = 1
    is_op: bool = False
    alias: tuple[str, ...] = ()

    @property
    def channels(self) -> int | None:
        """Size of the last axis."""
        return self.shape[-1] if self.shape else None


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One output of a backbone.

    Attributes:
        node: The node that it is the output of.
        stride: Input pixels per cell side, or None where it is no map of cells.
        channels: Size of the last axis.
        shape: Shape without the batch axis.
        level: ``C1`` to ``C5``, where the output is one of those.
    """

    node: str
    stride: int | None
    channels: int | None
    shape: Shape
    level: str | None = None

    @classmethod
    def at(cls, node: Node) -> Feature:
        """The output of a node."""
        return cls(node=node.name, stride=node.stride, channels=node.channels, shape=node.shape)


@dataclass(frozen=True)
class Graph:
    """A headless network from one input to one end.

    Attributes:
        name: Architecture, as errors say it.
        nodes: All nodes in topological order: the input first, the end last.
    """

    name: str
    nodes: tuple[Node, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for index, node in enumerate(self.nodes):
            for name in (node.name, *node.alias):
                self._index.setdefault(name, index)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __getitem__(self, name: str) -> Node:
        """The node of that name.

        Raises:
            UnknownNameError: There is none; the nearest names are suggested.
        """
        index = self._index.get(name)
        if index is None:
            raise UnknownNameError(
                f"node {name!r} is not in {self.name}",
                notes=[*self._suggestions(name), ("clean cuts", self._last_clean())],
            )
        return self.nodes[index]

    @property
    def end(self) -> Node:
        """The node whose output is the network's."""
        return self.nodes[-1]

    @cached_property
    def clean(self) -> tuple[Node, ...]:
        """The nodes that every path from the input to the end passes through, in order.

        In a topological order, an edge that jumps over a node is a path around it, and there is no other way around; one
        sweep over the edges therefore finds all of them.
        """
        furthest = [0] * len(self.nodes)  # the last node that reads each node's output
        for index, node in enumerate(self.nodes):
            for name in node.inputs:
                furthest[self._index[name]] = index
        clean: list[Node] = []
        reach = max(index for index, node in enumerate(self.nodes) if not node.inputs)  # the last input, where several
        for index, node in enumerate(self.nodes):
            if reach <= index:
                clean.append(node)
            reach = max(reach, furthest[index])
        return tuple(clean)

    def ancestors(self, *names: str) -> frozenset[str]:
        """The nodes that these nodes are computed from, themselves included."""
        kept: set[str] = set()
        todo = [self[name].name for name in names]
        while todo:
            name = todo.pop()
            if name not in kept:
                kept.add(name)
                todo.extend(self.nodes[self._index[name]].inputs)
        return frozenset(kept)

    def position(self, name: str) -> int:
        """Where the node stands in topological order; the input is 0."""
        return self._index[self[name].name]

    def pop_count(self, name: str) -> int:
        """How many nodes stand behind this one in topological order."""
        return len(self.nodes) - 1 - self.position(name)

    def _last_clean(self, most: int = 6) -> str:
        names = [node.name for node in reversed(self.clean) if node.inputs]
        return ", ".join(names[:most]) + (f", … and {len(names) - most} before them" if len(names) > most else "")

    def _suggestions(self, name: str) -> tuple[Note, ...]:
        near = nearest(name, self._index)
        if not near:
            return ()
        best = f"{near[0]!r}  ({describe(self[near[0]])})"
        others = " or ".join(map(repr, near[1:]))
        return (("did you mean", f"{best}, or {others}" if others else best),)


def describe(node: Node) -> str:
    """A node's kind, stride and channels in a few words."""
    words = [node.kind]
    if node.stride is not None:
        words.append(f"stride {node.stride}")
    if node.channels is not None:
        words.append(f"{node.channels} channels")
    return ", ".join(words)


def require_clean(graph: Graph, name: str) -> None:
    """Refuse a cut that would lose a parallel branch.

    Raises:
        CutError: Some path from the input to the end goes around the node; the clean neighbours are named.
    """
    node = graph[name]
    if node in graph.clean:
        return
    at = graph.position(name)
    before = [clean for clean in graph.clean if graph.position(clean.name) < at][-1:]
    after = [clean for clean in graph.clean if graph.position(clean.name) > at][:1]
    neighbours = [
        (label, f"{clean.name!r}  ({describe(clean)}, pop {graph.pop_count(clean.name)})")
        for label, found in (("clean before", before), ("clean after", after))
        for clean in found
    ]
    raise CutError(
        f"a cut at {node.name!r} would lose a branch of {graph.name} that runs beside it",
        notes=[*neighbours, ("fix", "cut at a clean node, or add allow_partial: true to cut here all the same")],
    )
