"""Which nodes do not train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FreezePlan:
    """What a freeze policy selected, on the three axes of freezing.

    Attributes:
        weights: Names of the nodes that are frozen on all three axes: their weights do not train, their statistics stay
            as stored, and their dropout and stochastic depth are off.
        norm: Names of further BatchNormalization nodes that are frozen, scale and offset too.
        adapt: Names of the BatchNormalization nodes whose statistics follow the data in training while their scale and
            offset do not train. This takes precedence over the other two.
        stochastic: ``"off"`` turns dropout and stochastic depth off in the nodes that train, too.
    """

    weights: frozenset[str] = frozenset()
    norm: frozenset[str] = frozenset()
    adapt: frozenset[str] = frozenset()
    stochastic: Literal["off", "on"] = "off"
