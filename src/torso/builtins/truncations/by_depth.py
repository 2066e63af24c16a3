"""By depth: ``pop`` counts from the end, and ``budget`` goes as deep as given limits allow."""

from typing import cast

from torso.errors import CutError, OptionError
from torso.graph import Graph
from torso.specs.options import Options


def select_pop(graph: Graph, options: Options) -> str:
    """The node that is last once ``count`` nodes or blocks are removed from the end."""
    count, unit = cast("int", options["count"]), str(options["unit"])
    ends = [node.name for node in (graph.blocks if unit == "block" else graph.nodes[1:])]
    if graph.end.name not in ends:  # what comes after the last block counts as one, as MobileNetV2's last convolution
        ends.append(graph.end.name)
    if count >= len(ends):
        has = f"{len(ends)} {unit}{'s' if len(ends) > 1 else ''}"
        notes = [("known", f"1 to {len(ends) - 1}" if len(ends) > 1 else "none: write truncate: none")]
        raise CutError(f"pop {count} leaves nothing: {graph.name} has {has} after its input", notes=notes)
    # A cut at a clean node removes exactly the nodes after it, whichever topological order they have. Block ends are clean.
    end = ends[-1 - count]
    if not options["allow_partial"]:
        graph.require_clean(end)
    return end


def select_budget(graph: Graph, options: Options) -> str:
    """The last clean node that keeps within every limit, of those after which anything has been multiplied."""
    limits = {name: limit for name, limit in options.items() if isinstance(limit, int)}
    if not limits:
        raise OptionError("budget has no limit", notes=[("fix", "write parameters:, macs: or receptive_field: under it")])
    costs = graph.clean_costs()
    # Padding and scaling before the first convolution are no features.
    clean = [node for node in graph.clean_cuts if costs[node.name].macs != 0] or [graph.end]
    measured: dict[str, dict[str, int | None]] = {}
    for node in clean:
        cost = costs[node.name]
        measured[node.name] = {"parameters": cost.parameters, "macs": cost.macs, "receptive_field": node.receptive_field}
    for name, has in reversed(measured.items()):  # an unknown value keeps within no limit
        if all((value := has[what]) is not None and value <= limit for what, limit in limits.items()):
            return name
    smallest, has = next(iter(measured.items()))
    words = " and ".join(f"{what} {limit:,}" for what, limit in limits.items())
    first = ", ".join(f"{what} {'unknown' if has[what] is None else f'{has[what]:,}'}" for what in limits)
    # Without a size, nothing is known of the macs.
    fix = "give another limit, or a size to images of any size" if None in has.values() else "raise the limit"
    notes = [("first", f"{smallest!r} has {first}"), ("fix", fix)]
    raise CutError(f"no clean cut of {graph.name} keeps within {words}", notes=notes)
