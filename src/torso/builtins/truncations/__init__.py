"""The truncation strategies that come with torso. Each reads the graph and names where to end; torso cuts."""

from __future__ import annotations

from collections.abc import Iterable

from torso.builtins.truncations.by_budget import select_budget
from torso.builtins.truncations.by_level import LEVEL_NAMES, foresee_levels, select_level, select_levels, select_stride
from torso.builtins.truncations.by_name import foresee_layers, select_layer, select_layers, select_match
from torso.builtins.truncations.from_the_end import keep_all, select_pop
from torso.contracts.hookspecs import hookimpl
from torso.contracts.truncation import Truncation
from torso.specs.options import Option

ALLOW_PARTIAL = Option(
    name="allow_partial",
    type=bool,
    default=False,
    doc="Cut here even where a parallel branch is lost.",
)


@hookimpl
def torso_truncations() -> Iterable[Truncation]:
    """Offer the strategies that every user has."""
    yield Truncation(name="none", doc="Keep the whole headless network.", select=keep_all)
    yield Truncation(
        name="layer",
        doc="End at one node, by its canonical name.",
        select=select_layer,
        foresee=foresee_layers,
        options=(
            Option(
                name="name", type=str, doc="Name of the node; outer/inner inside a nested model, name:1 for a second call."
            ),
            ALLOW_PARTIAL,
        ),
        main="name",
    )
    yield Truncation(
        name="layers",
        doc="Give the outputs of several nodes, by their canonical names.",
        select=select_layers,
        foresee=foresee_layers,
        options=(
            Option(name="names", type=str, many=True, doc="Names of the nodes; the model gives their outputs by name."),
            ALLOW_PARTIAL,
        ),
        main="names",
    )
    yield Truncation(
        name="match",
        doc="End at the last node whose name matches a regular expression.",
        select=select_match,
        options=(
            Option(name="pattern", type=str, doc="Sought anywhere in a name; ^ and $ stand for its ends."),
            ALLOW_PARTIAL,
        ),
        main="pattern",
    )
    yield Truncation(
        name="pop",
        doc="Remove exactly so many nodes or blocks from the end, in topological order.",
        select=select_pop,
        options=(
            Option(name="count", type=int, minimum=1, doc="How many to remove; to keep all is truncate: none."),
            Option(
                name="unit",
                type=str,
                default="node",
                choices=("node", "block"),
                doc="What is counted; whatever stands behind the last block counts as one.",
            ),
            ALLOW_PARTIAL,
        ),
        main="count",
    )
    yield Truncation(
        name="level",
        doc="End at a level: the last block output at stride 2 (C1) to 32 (C5).",
        select=select_level,
        foresee=foresee_levels,
        options=(Option(name="name", type=str, choices=LEVEL_NAMES, doc="C4, or C4@expansion for the wider node behind."),),
        main="name",
    )
    yield Truncation(
        name="levels",
        doc="Give a pyramid: the outputs of several levels.",
        select=select_levels,
        foresee=foresee_levels,
        options=(
            Option(
                name="names",
                type=str,
                many=True,
                choices=LEVEL_NAMES,
                doc="Names of the levels; the model gives their outputs by name, in this order.",
            ),
        ),
        main="names",
    )
    yield Truncation(
        name="stride",
        doc="End at the last block output with so many input pixels from one cell to the next.",
        select=select_stride,
        options=(Option(name="pixels", type=int, minimum=1, doc="The stride, as 16."),),
        main="pixels",
    )
    yield Truncation(
        name="budget",
        doc="End at the deepest clean cut within given limits.",
        select=select_budget,
        options=(
            Option(name="parameters", type=int, default=None, minimum=0, doc="The most parameters."),
            Option(name="macs", type=int, default=None, minimum=0, doc="The most multiply-accumulates for one image."),
            Option(
                name="receptive_field",
                type=int,
                default=None,
                minimum=1,
                doc="The largest receptive field, in pixels a side.",
            ),
        ),
    )
