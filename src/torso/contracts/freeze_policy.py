"""The contract of freeze policies: select what does not train; torso sets the flags."""

from __future__ import annotations  # an error about a field has its type as it is written here

from collections.abc import Callable
from dataclasses import dataclass

from torso.contracts.renamed import with_old_keywords
from torso.graph import FreezePlan, Graph
from torso.specs.options import Checked, Option, Options


@with_old_keywords
@dataclass(frozen=True, kw_only=True)
class FreezePolicy(Checked):
    """A way to choose what does not train.

    Attributes:
        name: The key under ``freeze:``.
        doc: One sentence that says what trains and what is frozen, for ``torso plan``, ``torso schema`` and the reference.
        select: Takes the graph of the truncated model and the checked options. It must not keep or change anything.
        options: What the user can set.
        positional: The option that a bare value sets: ``{all_but_last: 2}`` for ``{all_but_last: {blocks: 2}}``.
    """

    name: str
    doc: str
    select: Callable[[Graph, Options], FreezePlan]
    options: tuple[Option, ...] = ()
    positional: str | None = None
