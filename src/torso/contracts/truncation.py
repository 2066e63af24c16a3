"""The contract of truncation strategies: select the cut; torso cuts."""

from __future__ import annotations  # an error about a field has its type as it is written here

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torso.contracts.renamed import with_old_keywords
from torso.graph import Graph
from torso.specs.options import Checked, Option, Options

# The name of the node that a backbone ends at; for several outputs, the node by each output's name, in order
Cut = str | Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class DeclaredLevels:
    """What an architecture declares of its graph, before the graph is there."""

    levels: Mapping[str, str]  # the node of each declared level; empty where options are not at their defaults
    is_clean: Callable[[str], bool]  # whether a node of that name, if there is one, is declared to be a clean cut


@with_old_keywords
@dataclass(frozen=True, kw_only=True)
class Truncation(Checked):
    """A way to choose where a backbone ends.

    Attributes:
        name: The key under ``truncate:``.
        doc: One sentence for ``torso schema`` and the reference.
        select: Takes the headless graph and the checked options. Returns the name of the node to end at; or, for several
            outputs, a mapping from the name of each output to its node; or ``graph.ends`` to keep the whole network. It
            must not keep or change anything.
        options: What the user can set.
        static_cut: Optional, for speed. Takes the declared levels and the checked options. Returns all nodes that
            ``select`` would end at, where that is certain without the graph; nothing otherwise. The network is then built
            no further than these nodes.
        positional: The option that a bare value sets: ``{pop: 3}`` for ``{pop: {count: 3}}``.
    """

    name: str
    doc: str
    select: Callable[[Graph, Options], Cut | tuple[str, ...]]
    options: tuple[Option, ...] = ()
    static_cut: Callable[[DeclaredLevels, Options], Iterable[str]] = lambda declared, options: ()
    positional: str | None = None
