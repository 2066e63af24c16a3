"""The freeze policies that come with torso. Each reads the graph and names what is frozen; torso freezes."""

from __future__ import annotations

from collections.abc import Iterable

from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.hookspecs import hookimpl
from torso.errors import CutError
from torso.graph import FreezePlan, Graph, Node
from torso.specs.options import Option, Options

NORM = Option(
    name="norm",
    type=str,
    default="frozen",
    choices=("frozen", "train"),
    doc="What batch normalisation does where the rest trains: keep statistics, scale and offset, or train as well.",
)
STOCHASTIC = Option(
    name="stochastic",
    type=str,
    default="on",
    choices=("on", "off"),
    doc="Whether dropout and stochastic depth are on where the network trains.",
)


@hookimpl
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    """Offer the policies that every user has."""
    yield FreezePolicy(
        name="all",
        doc="Nothing trains, statistics stay as stored, dropout and stochastic depth are off: the same features always.",
        select=freeze_all,
    )
    yield FreezePolicy(name="none", doc="Everything trains.", select=freeze_none)
    yield FreezePolicy(
        name="through",
        doc="Everything up to a level or to the end of a block is frozen, and what stands behind it trains.",
        select=freeze_up_to,
        options=(
            Option(name="at", type=str, doc="C1 to C5, or the name of a node that ends a block: the last that is frozen."),
            NORM,
            STOCHASTIC,
        ),
        positional="at",
    )
    yield FreezePolicy(
        name="last",
        doc="The last blocks train, and everything before them is frozen.",
        select=freeze_but_last,
        options=(Option(name="blocks", type=int, minimum=1, doc="How many blocks train."), NORM, STOCHASTIC),
        positional="blocks",
    )
    yield FreezePolicy(
        name="norm_only",
        doc="Normalisation trains, scale, offset and statistics; everything else is frozen.",
        select=train_norm_only,
    )
    yield FreezePolicy(
        name="adapt_norm",
        doc="Nothing trains, but the statistics of batch normalisation follow the data in training.",
        select=adapt_norm,
    )


def freeze_all(graph: Graph, options: Options) -> FreezePlan:
    """All nodes, on all three axes."""
    return FreezePlan(weights=_names(graph), stochastic="off")


def freeze_none(graph: Graph, options: Options) -> FreezePlan:
    """No node, on no axis."""
    return FreezePlan(stochastic="on")


def freeze_up_to(graph: Graph, options: Options) -> FreezePlan:
    """The node at the boundary and all that it is computed from."""
    return _through(graph, graph.block_boundary(str(options["at"])), options)


def freeze_but_last(graph: Graph, options: Options) -> FreezePlan:
    """All that the end of the block before the last ones is computed from."""
    count = options["blocks"]
    assert isinstance(count, int)
    ends = [node.name for node in graph.blocks]
    if graph.end.name not in ends:
        ends.append(graph.end.name)
    if count >= len(ends):
        raise CutError(
            f"the last {count} blocks are all that {graph.name} has, or more: it has {len(ends)}",
            notes=[("known", f"1 to {len(ends) - 1}" if len(ends) > 1 else "none: write freeze: none")],
        )
    return _through(graph, ends[-1 - count], options)


def train_norm_only(graph: Graph, options: Options) -> FreezePlan:
    """All nodes but the normalisations."""
    return FreezePlan(weights=_names(graph) - frozenset(node.name for node in graph if _has_scale(node)), stochastic="off")


def adapt_norm(graph: Graph, options: Options) -> FreezePlan:
    """All nodes, with the batch normalisations adapting."""
    batch = frozenset(node.name for node in graph if node.kind == "BatchNormalization")
    return FreezePlan(weights=_names(graph) - batch, adapt=batch, stochastic="off")


def _through(graph: Graph, end: str, options: Options) -> FreezePlan:
    return graph.freeze_through(end, norm=str(options["norm"]), stochastic=str(options["stochastic"]))


def _names(graph: Graph) -> frozenset[str]:
    return frozenset(node.name for node in graph)


def _has_scale(node: Node) -> bool:
    """Whether a node normalises with weights that can train; Keras' ``Normalization`` has fixed statistics alone."""
    return node.kind.endswith("Normalization") and node.kind != "Normalization"
