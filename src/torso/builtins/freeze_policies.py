"""The freeze policies that come with torso: ``all`` and ``none``."""

from __future__ import annotations

from collections.abc import Iterable

from torso.freezing import FreezePlan, FreezePolicy
from torso.graph import Graph
from torso.hookspecs import hookimpl
from torso.spec.options import Options


@hookimpl
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    """Offer the policies that every user has."""
    yield FreezePolicy(
        name="all",
        doc="Nothing trains, statistics stay as stored, dropout and stochastic depth are off: the same features always.",
        select=freeze_all,
    )
    yield FreezePolicy(name="none", doc="Everything trains.", select=freeze_none)


def freeze_all(graph: Graph, options: Options) -> FreezePlan:
    """All nodes, on all three axes."""
    return FreezePlan(weights=frozenset(node.name for node in graph), stochastic="off")


def freeze_none(graph: Graph, options: Options) -> FreezePlan:
    """No node, on no axis."""
    return FreezePlan(stochastic="on")
