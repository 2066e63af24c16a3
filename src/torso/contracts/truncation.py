"""The contract of truncation strategies: select the cut, never perform it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torso.graph import Graph
from torso.specs.options import Option, Options

Cut = str | Mapping[str, str]
"""The node that a backbone ends at; several by what each output is called, in order."""

SelectCut = Callable[[Graph, Options], Cut | tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the card of an architecture says of its graph.

    Attributes:
        levels: The node of each level that it declares; none of them where options are not at their defaults.
        is_clean: Whether it declares the node of a name to be a clean cut, if there is one.
    """

    levels: Mapping[str, str]
    is_clean: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """A way to choose where a backbone ends.

    Attributes:
        name: The key under ``truncate:``; ``provider/name`` where it must be told from another's.
        doc: One sentence for ``torso schema`` and the reference.
        select: Takes the headless graph and the checked options; returns the name of the node to end at, or the names of
            several by what each output is to be called: the model then gives a dictionary; or ``graph.ends`` to keep the
            whole network with the outputs that it has. It raises a :class:`torso.TorsoError` to refuse. It must not keep or
            change anything.
        options: What the user can set.
        foresee: Takes what the card declares, and the checked options; returns every node that ``select`` would end at,
            where these alone tell and it would refuse none of them; nothing where it must see the graph. The network is then
            drawn no further than that, and ``select`` is given this part.
        main: The option that a bare value stands for: ``{pop: 3}`` for ``{pop: {count: 3}}``. None where there is none.
    """

    name: str
    doc: str
    select: SelectCut
    options: tuple[Option, ...] = ()
    foresee: Callable[[Declared, Options], Iterable[str]] = lambda declared, options: ()
    main: str | None = None
