"""The contract of truncation strategies: select the cut, never perform it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torso.graph import Graph
from torso.spec.options import Option, Options

SelectCut = Callable[[Graph, Options], str]


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """A way to choose where a backbone ends.

    Attributes:
        name: The key under ``truncate:``; ``provider/name`` where it must be told from another's.
        doc: One sentence for ``torso schema`` and the reference.
        select: Takes the headless graph and the checked options; returns the name of the node to end at. It raises a
            :class:`torso.TorsoError` to refuse. It must not keep or change anything.
        options: What the user can set.
        main: The option that a bare value stands for: ``{pop: 3}`` for ``{pop: {count: 3}}``. None where there is none.
    """

    name: str
    doc: str
    select: SelectCut
    options: tuple[Option, ...] = ()
    main: str | None = None
