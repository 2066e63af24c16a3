"""The graph of a network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from torso.errors import Note, UnknownNameError
from torso.graph.block_boundaries import block_boundary, boundary_before_level, boundary_before_node
from torso.graph.clean_cuts import Branch, clean_nodes, lost_branches, require_clean
from torso.graph.cost import Cost, running_costs
from torso.graph.freeze_plan import FreezePlan
from torso.graph.levels import EXPANSION, LEVELS, block_outputs, infer_levels
from torso.graph.node import Feature, Node, describe
from torso.graph.unknown_node import unknown_node


@dataclass(frozen=True)
class Graph:
    """A headless network from its input to its ends."""

    name: str  # of the architecture, for messages
    nodes: tuple[Node, ...]  # in topological order, the input first; each one leads to an end
    ends: tuple[str, ...] = ()  # names of the nodes whose outputs are the network's; by default the last node
    known_levels: Mapping[str, str] | None = None  # the node of each level; None to infer them
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.ends:
            object.__setattr__(self, "ends", (self.nodes[-1].name,))
        for index, node in enumerate(self.nodes):
            for name in (node.name, *node.alias):
                self._index.setdefault(name, index)  # a name goes before an alias of a later node

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __getitem__(self, name: str) -> Node:
        """The node of that name; an UnknownNameError suggests the nearest names."""
        index = self._index.get(name)
        if index is None:
            raise unknown_node(name, self.name, self.nodes, self.clean_cuts)
        return self.nodes[index]

    @property
    def end(self) -> Node:
        """The last of the nodes whose outputs are the network's."""
        return self[self.ends[-1]]

    def position(self, name: str) -> int:
        """Position of a node in topological order; the input is 0."""
        return self._index[self[name].name]

    def pop_count(self, name: str) -> int:
        """Number of nodes after this one in topological order."""
        return len(self.nodes) - 1 - self.position(name)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read this one's output."""
        name = self[name].name
        return tuple(node for node in self.nodes if name in node.inputs)

    def last_readers(self) -> list[int]:
        """For each node, the position of the last node that reads it; for an output of the network, the node count."""
        last = [0] * len(self.nodes)
        for index, node in enumerate(self.nodes):
            for name in node.inputs:
                last[self._index[name]] = index
        for name in self.ends:
            last[self._index[name]] = len(self.nodes)
        return last

    def ancestors(self, *names: str) -> frozenset[str]:
        """Names of the nodes that these nodes are computed from, and their own."""
        found = {self[name].name for name in names}
        for node in reversed(self.nodes):
            if node.name in found:
                found.update(node.inputs)
        return frozenset(found)

    # Cuts

    @cached_property
    def clean(self) -> tuple[Node, ...]:
        """The nodes that every path from the input to an end passes through, in order."""
        return clean_nodes(self.nodes, self.last_readers())

    @cached_property
    def clean_cuts(self) -> tuple[Node, ...]:
        """The clean nodes that a backbone can end at, in order."""
        return tuple(node for node in self.clean if node.can_end)

    def clean_neighbours(self, name: str) -> tuple[Node | None, Node | None]:
        """The last clean cut before a node, and the first one after it."""
        at = self.position(name)
        before = [clean for clean in self.clean_cuts if self.position(clean.name) < at]
        after = [clean for clean in self.clean_cuts if self.position(clean.name) > at]
        return before[-1] if before else None, after[0] if after else None

    def lost_branches(self, *cut: str) -> tuple[Branch, ...]:
        """The branches that a backbone ending at these nodes would lose, in the order in which they join; none if clean."""
        return lost_branches(self, cut)

    def require_clean(self, *cut: str) -> None:
        """Raise a CutError, with the branches and the clean cuts before and after, if a cut would lose a branch."""
        require_clean(self, cut)

    def kept(self, *names: str) -> Graph:
        """The part that these nodes are computed from, which ends at them."""
        kept = self.ancestors(*names)
        nodes = tuple(node for node in self.nodes if node.name in kept)
        return Graph(self.name, nodes, ends=tuple(self[name].name for name in names)).knowing(self.levels)

    # Cost

    def cost(self) -> Cost:
        """The cost of the whole graph for one image."""
        *_, (_, cost) = running_costs(self.nodes, self.last_readers())
        return cost

    def clean_costs(self) -> dict[str, Cost]:
        """The cost of what each clean cut keeps, by the name of its node."""
        # One sweep: a cut at a clean node keeps exactly the nodes up to it.
        clean = {node.name for node in self.clean}
        return {node.name: cost for node, cost in running_costs(self.nodes, self.last_readers()) if node.name in clean}

    # Blocks and levels

    @cached_property
    def blocks(self) -> tuple[Node, ...]:
        """The clean nodes that end a block, in order."""
        return block_outputs([node for node in self.clean if node.can_end or not node.inputs])

    @cached_property
    def levels(self) -> Mapping[str, str]:
        """The node of each level that the network has, by ``C1`` to ``C5`` and ``C1@expansion`` to ``C5@expansion``."""
        return infer_levels(self.clean_cuts, self.blocks) if self.known_levels is None else self.known_levels

    def node_of_level(self, level: str) -> str:
        """The name of a level's node; an UnknownNameError lists the levels that there are."""
        if level not in self.levels:
            raise UnknownNameError(f"{self.name} has no level {level}", notes=self.level_notes())
        return self.levels[level]

    def level_notes(self) -> list[Note]:
        """The levels for an error message, or why there are none."""
        if not self.levels:
            return [("cause", "no block of it ends at stride 2, 4, 8, 16 or 32"), ("fix", "name a node under layer:")]
        return [(level, f"{name!r}  ({describe(self[name])})") for level, name in self.levels.items()]

    def level_of(self, name: str) -> str | None:
        """The level whose node this is, or None."""
        return next((level for level, node in self.levels.items() if node == name), None)

    def with_levels(self, declared: Mapping[str, str], *, as_declared: bool = True, whole: bool = True) -> Graph:
        """The same graph with declared levels in place of inferred ones.

        With other options than those of the declaration, a level is inferred where its node is not there or at another
        stride; otherwise a ValueError says so. Where the graph is not whole, a node may be absent.
        """
        levels = infer_levels(self.clean_cuts, self.blocks)
        for level, name in declared.items():
            stride, found = LEVELS[level.removesuffix(EXPANSION)], self[name].stride if name in self else "absent"
            # With other options, a name that Keras numbers may be another node's.
            if found == stride and (as_declared or not self[name].is_numbered):
                levels[level] = self[name].name
            elif found != stride and as_declared and (name in self or whole):
                raise ValueError(f"level {level} is declared to be {name!r}, whose stride is {found}, not {stride}")
        return replace(self, known_levels=dict(sorted(levels.items())))

    def knowing(self, levels: Mapping[str, str]) -> Graph:
        """The same graph with those levels of a network that it has; ``levels`` are of one that it was cut from."""
        # The only call that is left of a layer is not numbered: ``body:0`` is ``body``.
        names = {level: name if name in self else re.sub(r":[0-9]+(?=/|$)", "", name) for level, name in levels.items()}
        return replace(self, known_levels={level: self[name].name for level, name in names.items() if name in self})

    def feature(self, name: str, node: str) -> Feature:
        """The output of a node as a backbone's feature of that name."""
        found = self[node]
        level, stride = self.level_of(found.name), found.stride
        return Feature(name=name, node=found.name, stride=stride, channels=found.channels, shape=found.shape, level=level)

    # Freezing

    def block_boundary(self, at: str) -> str:
        """The node of a level (``C1`` to ``C5``), or a node that ends a block: where a frozen part may end.

        A CutError for a node within a block names the block ends around it. It is a CutError, too, where weights lie on
        nodes whose blocks are not known, as in a vision transformer.
        """
        return block_boundary(self, at)

    def block_boundary_before(self, *, level: str | None = None, node: str | None = None) -> str:
        """The end of the last block to freeze, if all nodes after the level before ``level``, or from ``node`` on, train.

        A CutError for a node that does not begin a block names nodes that do.
        """
        return boundary_before_node(self, str(node)) if level is None else boundary_before_level(self, level)

    def freeze_through(self, end: str, *, norm: str, stochastic: str) -> FreezePlan:
        """The plan that freezes a node and all that it is computed from, and lets the rest train.

        Of the rest, ``norm`` (``"frozen"`` or ``"train"``) is for BatchNormalization, and ``stochastic`` (``"on"`` or
        ``"off"``) for dropout and stochastic depth.
        """
        norms = frozenset(node.name for node in self if node.kind == "BatchNormalization" and norm == "frozen")
        return FreezePlan(weights=self.ancestors(end), norm=norms, stochastic="on" if stochastic == "on" else "off")
