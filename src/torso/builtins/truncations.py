"""The truncation strategies that come with torso: ``none``, ``layer`` and ``pop``."""

from __future__ import annotations

from collections.abc import Iterable

from torso.errors import CutError
from torso.graph import Graph, require_clean
from torso.hookspecs import hookimpl
from torso.spec.options import Option, Options
from torso.truncation import Truncation

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
        options=(
            Option(name="name", type=str, doc="Name of the node, outer/inner inside a nested model."),
            ALLOW_PARTIAL,
        ),
        main="name",
    )
    yield Truncation(
        name="pop",
        doc="Remove exactly so many nodes from the end, in topological order.",
        select=select_pop,
        options=(
            Option(name="count", type=int, minimum=0, doc="How many nodes to remove; 0 keeps the whole network."),
            ALLOW_PARTIAL,
        ),
        main="count",
    )


def keep_all(graph: Graph, options: Options) -> str:
    """The end of the graph."""
    return graph.end.name


def select_layer(graph: Graph, options: Options) -> str:
    """The node of that name, refused where a branch would be lost."""
    node = graph[str(options["name"])]
    if not options["allow_partial"]:
        require_clean(graph, node.name)
    return node.name


def select_pop(graph: Graph, options: Options) -> str:
    """The node that is last once ``count`` nodes are gone.

    At a clean node, what stands behind it is exactly what a cut there removes, in whichever topological order.
    """
    count = options["count"]
    assert isinstance(count, int)
    if count >= len(graph) - 1:
        raise CutError(
            f"pop {count} leaves nothing of {graph.name}: it has {len(graph)} nodes, the input among them",
            notes=[("known", f"0 to {len(graph) - 2}")],
        )
    node = graph.nodes[len(graph) - 1 - count]
    if not options["allow_partial"]:
        require_clean(graph, node.name)
    return node.name
