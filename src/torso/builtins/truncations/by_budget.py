"""As deep as given limits allow: ``budget``."""

from __future__ import annotations

from torso.errors import CutError, OptionError
from torso.graph import Cost, Graph, Node
from torso.specs.options import Options


def select_budget(graph: Graph, options: Options) -> str:
    """The last clean node that keeps within every limit, of those after which anything has been multiplied."""
    limits = {name: limit for name, limit in options.items() if isinstance(limit, int)}
    if not limits:
        raise OptionError("budget has no limit", notes=[("fix", "write parameters:, macs: or receptive_field: under it")])
    costs = graph.clean_costs()
    # Padding and scaling before the first convolution are no features.
    clean = [node for node in graph.clean_cuts if costs[node.name].macs != 0] or [graph.end]
    fitting = [node for node in clean if _fits(_measured(node, costs[node.name]), limits)]
    if fitting:
        return fitting[-1].name
    smallest = _measured(clean[0], costs[clean[0].name])
    words = " and ".join(f"{name} {limit:,}" for name, limit in limits.items())
    first = ", ".join(f"{name} {'unknown' if smallest[name] is None else f'{smallest[name]:,}'}" for name in limits)
    # Without a size, nothing is known of the macs.
    fix = "give another limit, or a size to images of any size" if None in smallest.values() else "raise the limit"
    notes = [("first", f"{clean[0].name!r} has {first}"), ("fix", fix)]
    raise CutError(f"no clean cut of {graph.name} keeps within {words}", notes=notes)


def _measured(node: Node, cost: Cost) -> dict[str, int | None]:
    return {"parameters": cost.parameters, "macs": cost.macs, "receptive_field": node.receptive_field}


def _fits(measured: dict[str, int | None], limits: dict[str, int]) -> bool:
    """Whether all limits hold; an unknown value keeps within none."""
    return all((value := measured[name]) is not None and value <= limit for name, limit in limits.items())
