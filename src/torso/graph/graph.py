"""The graph of a network, and the clean nodes in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import heapify, heappop, heappush

from torso.graph.levels import EXPANSION, LEVELS, block_outputs, infer_levels
from torso.graph.node import Node, Shape
from torso.graph.unknown_node import unknown_node


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One output of a backbone.

    Attributes:
        name: What the output is called: its level where it was chosen by level, its node otherwise.
        node: The node that it is the output of.
        stride: Input pixels from one cell to the next, or None where it is no map of cells.
        channels: Size of the last axis.
        shape: Shape without the batch axis.
        level: ``C1`` to ``C5``, where the output is one of those.
    """

    name: str
    node: str
    stride: int | None
    channels: int | None
    shape: Shape
    level: str | None = None


@dataclass(frozen=True)
class Graph:
    """A headless network from its input to its ends.

    Attributes:
        name: Architecture, as errors say it.
        nodes: All nodes in topological order: the input first. Every one leads to an end.
        ends: Names of the nodes whose outputs are the network's; the last node where nothing is said.
        known_levels: The node of each level, where that is known; inferred where None.
    """

    name: str
    nodes: tuple[Node, ...]
    ends: tuple[str, ...] = ()
    known_levels: Mapping[str, str] | None = None
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.ends:
            object.__setattr__(self, "ends", (self.nodes[-1].name,))
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
            raise unknown_node(name, self.name, self.nodes, self.clean_cuts)
        return self.nodes[index]

    @property
    def end(self) -> Node:
        """The last of the nodes whose outputs are the network's."""
        return self[self.ends[-1]]

    @cached_property
    def clean(self) -> tuple[Node, ...]:
        """The nodes that every path from the input to an end passes through, in order.

        In a topological order, an edge that jumps over a node is a path around it, and there is no other way around; one
        sweep over the edges therefore finds all of them. An output of the network counts as an edge behind the last node.
        """
        furthest = self.last_readers()
        clean: list[Node] = []
        reach = max(index for index, node in enumerate(self.nodes) if not node.inputs)  # the last input, where several
        for index, node in enumerate(self.nodes):
            if reach <= index:
                clean.append(node)
            reach = max(reach, furthest[index])
        return tuple(clean)

    @cached_property
    def clean_cuts(self) -> tuple[Node, ...]:
        """The clean nodes that a backbone can end at, in order."""
        return tuple(node for node in self.clean if node.can_end)

    @cached_property
    def blocks(self) -> tuple[Node, ...]:
        """The clean nodes that end a block, in order."""
        return block_outputs([node for node in self.clean if node.can_end or not node.inputs])

    @cached_property
    def levels(self) -> Mapping[str, str]:
        """The node of each level that the network has, by ``C1`` to ``C5`` and ``C1@expansion`` to ``C5@expansion``."""
        return infer_levels(self.clean_cuts, self.blocks) if self.known_levels is None else self.known_levels

    def with_levels(self, declared: Mapping[str, str], *, as_declared: bool = True) -> Graph:
        """The same graph with declared levels before the inferred ones.

        Args:
            declared: The node of each level; one that is not here, or not at the level's stride, does not count.
            as_declared: The network has the options that the levels were declared for. Where it has others, a name that
                Keras numbers may have gone to another node, and does not count either.
        """
        levels = infer_levels(self.clean_cuts, self.blocks)
        for level, name in declared.items():
            if name not in self or self[name].stride != LEVELS.get(level.removesuffix(EXPANSION)):
                continue
            if as_declared or not self[name].is_numbered:
                levels[level] = self[name].name
        return replace(self, known_levels=dict(sorted(levels.items())))

    def knowing(self, levels: Mapping[str, str]) -> Graph:
        """The same graph with the levels of the network that it was cut from.

        A call is no longer numbered where the other calls of its layer are gone: ``body:0`` is ``body``.
        """
        names = {level: name if name in self else re.sub(r":[0-9]+(?=/|$)", "", name) for level, name in levels.items()}
        return replace(self, known_levels={level: self[name].name for level, name in names.items() if name in self})

    def last_readers(self) -> list[int]:
        """For each node, the position of the last node that reads it; behind the last node for what the network gives."""
        last = [0] * len(self.nodes)
        for index, node in enumerate(self.nodes):
            for name in node.inputs:
                last[self._index[name]] = index
        for name in self.ends:
            last[self._index[name]] = len(self.nodes)
        return last

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

    def kept(self, *names: str) -> Graph:
        """The part that these nodes are computed from, which ends at them."""
        kept = self.ancestors(*names)
        nodes = tuple(node for node in self.nodes if node.name in kept)
        return Graph(self.name, nodes, ends=tuple(self[name].name for name in names)).knowing(self.levels)

    def in_order(self, names: Iterable[str]) -> Graph:
        """The same graph in a topological order that comes near a given one: of the nodes that could stand next, the first.

        Args:
            names: Of all nodes, once each.
        """
        place = {name: position for position, name in enumerate(names)}
        waits = {node.name: len(node.inputs) for node in self.nodes}
        readers: dict[str, list[str]] = {}
        for node in self.nodes:
            for source in node.inputs:
                readers.setdefault(source, []).append(node.name)
        ready = [place[name] for name, count in waits.items() if not count]
        heapify(ready)
        named, ordered = list(place), []
        while ready:
            name = named[heappop(ready)]
            ordered.append(self[name])
            for reader in readers.get(name, ()):
                waits[reader] -= 1
                if not waits[reader]:
                    heappush(ready, place[reader])
        return replace(self, nodes=tuple(ordered))

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read this one's output."""
        name = self[name].name
        return tuple(node for node in self.nodes if name in node.inputs)

    def position(self, name: str) -> int:
        """Where the node stands in topological order; the input is 0."""
        return self._index[self[name].name]

    def pop_count(self, name: str) -> int:
        """How many nodes stand behind this one in topological order."""
        return len(self.nodes) - 1 - self.position(name)

    def level_of(self, name: str) -> str | None:
        """The level that this node is, if it is one."""
        return next((level for level, node in self.levels.items() if node == name), None)

    def feature(self, name: str, node: str) -> Feature:
        """The output of a node as a backbone's feature of that name."""
        found = self[node]
        return Feature(
            name=name,
            node=found.name,
            stride=found.stride,
            channels=found.channels,
            shape=found.shape,
            level=self.level_of(found.name),
        )
