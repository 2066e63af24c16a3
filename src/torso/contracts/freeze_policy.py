"""The contract of freeze policies: select what does not train, never set a flag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torso.graph import Graph
from torso.specs.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """What a policy selected, on the three axes of freezing.

    Attributes:
        weights: Names of the nodes that are frozen on all three axes: their weights do not train, their statistics stay
            as stored, and what is random in them is off.
        norm: Names of the BatchNormalization nodes that are frozen, scale and offset too, while the rest trains.
        adapt: Names of the BatchNormalization nodes whose statistics follow the data in training while their scale and
            offset do not train; it goes before the other two.
        stochastic: ``"off"`` makes every other dropout and stochastic depth pass its input through too, in training.
    """

    weights: frozenset[str] = frozenset()
    norm: frozenset[str] = frozenset()
    adapt: frozenset[str] = frozenset()
    stochastic: Literal["off", "on"] = "off"


SelectFrozen = Callable[[Graph, Options], FreezePlan]


@dataclass(frozen=True, kw_only=True)
class FreezePolicy:
    """A way to choose what does not train.

    Attributes:
        name: The key under ``freeze:``.
        doc: One sentence for ``torso schema`` and the reference.
        select: Takes the graph of the trunk and the checked options; returns the selection. It must not keep or change
            anything.
        options: What the user can set.
        main: The option that a bare value stands for; None where there is none.
    """

    name: str
    doc: str
    select: SelectFrozen
    options: tuple[Option, ...] = ()
    main: str | None = None


def freeze_through(graph: Graph, end: str, *, norm: str, stochastic: str) -> FreezePlan:
    """The plan that freezes one node and all that it is computed from, and lets the rest train.

    Args:
        graph: The trunk.
        end: Name of the node.
        norm: ``"frozen"`` or ``"train"``: what the BatchNormalization nodes of the rest do.
        stochastic: ``"on"`` or ``"off"``: what dropout and stochastic depth of the rest do.
    """
    norms = frozenset(node.name for node in graph if node.kind == "BatchNormalization") if norm == "frozen" else frozenset()
    return FreezePlan(weights=graph.ancestors(end), norm=norms, stochastic="on" if stochastic == "on" else "off")
