"""The freeze policies of torso: each reads the graph and returns what is frozen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.hookspecs import hookimpl
from torso.errors import CutError
from torso.graph import FreezePlan, Graph
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
AT = Option(name="at", type=str, doc="C1 to C5, or the name of a node that ends a block: the last that is frozen.")
BLOCKS = Option(name="blocks", type=int, minimum=1, doc="How many blocks train.")


@hookimpl
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    yield FreezePolicy(
        name="all",
        doc="Nothing trains, statistics stay as stored, dropout and stochastic depth are off: the same features always.",
        select=lambda graph, options: FreezePlan(weights=_names(graph), stochastic="off"),
    )
    yield FreezePolicy(name="none", doc="Everything trains.", select=lambda graph, options: FreezePlan(stochastic="on"))
    yield FreezePolicy(
        name="through",
        doc="Everything up to a level or to the end of a block is frozen, and everything after it trains.",
        select=freeze_through,
        options=(AT, NORM, STOCHASTIC),
        positional="at",
    )
    yield FreezePolicy(
        name="last",
        doc="The last blocks train, and everything before them is frozen.",
        select=freeze_but_last,
        options=(BLOCKS, NORM, STOCHASTIC),
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


def freeze_through(graph: Graph, options: Options) -> FreezePlan:
    return _through(graph, graph.block_boundary(str(options["at"])), options)


def freeze_but_last(graph: Graph, options: Options) -> FreezePlan:
    count = cast("int", options["blocks"])
    ends = [node.name for node in graph.blocks]
    if graph.end.name not in ends:  # as for truncate: {pop: {unit: block}}
        ends.append(graph.end.name)
    if count >= len(ends):
        raise CutError(
            f"last {count} leaves nothing frozen of {graph.name}, which has {len(ends)} block{'s' if len(ends) > 1 else ''}",
            notes=[("known", f"1 to {len(ends) - 1}" if len(ends) > 1 else "none: write freeze: none")],
        )
    return _through(graph, ends[-1 - count], options)


def train_norm_only(graph: Graph, options: Options) -> FreezePlan:
    # Keras' Normalization has stored statistics and no weights that could train.
    norms = {node.name for node in graph if node.kind.endswith("Normalization") and node.kind != "Normalization"}
    return FreezePlan(weights=_names(graph) - norms, stochastic="off")


def adapt_norm(graph: Graph, options: Options) -> FreezePlan:
    batch = frozenset(node.name for node in graph if node.kind == "BatchNormalization")
    return FreezePlan(weights=_names(graph) - batch, adapt=batch, stochastic="off")


def _through(graph: Graph, end: str, options: Options) -> FreezePlan:
    return graph.freeze_through(end, norm=str(options["norm"]), stochastic=str(options["stochastic"]))


def _names(graph: Graph) -> frozenset[str]:
    return frozenset(node.name for node in graph)
