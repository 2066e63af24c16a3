"""As deep as the limits allow: ``budget``."""

from __future__ import annotations

from collections.abc import Mapping

from torso.errors import CutError, OptionError
from torso.graph import Cost, Graph, Node
from torso.specs.options import Options


def select_budget(graph: Graph, options: Options) -> str:
    """The last clean node that keeps within every limit that is given, and behind the first that multiplies anything."""
    limits = {name: limit for name, limit in options.items() if isinstance(limit, int)}
    if not limits:
        raise OptionError("budget has no limit", notes=[("fix", "write parameters:, macs: or receptive_field: under it")])
    costs = graph.clean_costs()
    clean = [node for node in graph.clean_cuts if costs[node.name].macs != 0] or [graph.end]
    fitting = [node for node in clean if _fits(_measured(node, costs[node.name]), limits)]
    if fitting:
        return fitting[-1].name
    smallest = _measured(clean[0], costs[clean[0].name])
    words = " and ".join(f"{name} {limit:,}" for name, limit in limits.items())
    if smallest.get("macs", 0) is None and "macs" in limits and graph.nodes[0].values is None:
        raise CutError(
            f"the macs of {graph.name} are unknown, and it cannot keep within {words}",
            notes=[
                ("cause", "it is built for images of any size"),
                ("fix", "give it a size, or another limit: parameters: or receptive_field:"),
            ],
        )
    raise CutError(
        f"no clean cut of {graph.name} keeps within {words}",
        notes=[
            ("first", f"{clean[0].name!r} has " + ", ".join(f"{name} {_said(smallest[name])}" for name in limits)),
            ("fix", "give another limit" if None in smallest.values() else "raise the limit"),
        ],
    )


def _measured(node: Node, cost: Cost) -> Mapping[str, int | None]:
    return {"parameters": cost.parameters, "macs": cost.macs, "receptive_field": node.receptive_field}


def _fits(measured: Mapping[str, int | None], limits: Mapping[str, int]) -> bool:
    """Whether all limits hold; what is unknown holds none."""
    found = {name: measured[name] for name in limits}
    return all(value is not None and value <= limits[name] for name, value in found.items())


def _said(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
