"""The contract of freeze policies: select what does not train, never set a flag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torso.graph import Graph
from torso.spec.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """What a policy selected, on the three axes of freezing.

    Attributes:
        weights: Names of the nodes whose weights do not train.
        norm: Names of the BatchNormalization nodes that are frozen with their stored statistics while the rest trains.
            A node in ``weights`` keeps its statistics in any case: Keras runs a frozen one in inference mode.
        stochastic: ``"off"`` makes every dropout and stochastic depth pass its input through, in training too.
    """

    weights: frozenset[str] = frozenset()
    norm: frozenset[str] = frozenset()
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
