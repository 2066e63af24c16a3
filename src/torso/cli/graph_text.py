"""A graph as text and as JSON: its levels, its clean cuts, its nodes, and one node with its neighbours."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from torso.cli.text import format_bytes, format_shape, key_values, plural, section, short, table
from torso.graph import Graph, Node, describe

_GLOBAL = "*"
_FOOTNOTE = "plus global context: a global pooling sees the whole image"


def levels_text(graph: Graph) -> Iterator[str]:
    """The cost of the whole network, and its levels."""
    cost = graph.cost()
    counts = f"{cost.nodes:,}, {plural(len(graph.clean_cuts), 'clean cut')}, {plural(len(graph.blocks), 'block')}"
    pairs = [
        ("nodes", counts),
        ("input", format_shape(graph.nodes[0].shape)),
        ("MACs", "unknown" if cost.macs is None else f"{short(cost.macs)} multiply-accumulates"),
        ("FLOPs", "unknown" if cost.flops is None else f"{short(cost.flops)} floating-point operations"),
        ("memory", f"{format_bytes(cost.peak_bytes)} peak activations, float32" if cost.peak_bytes else "unknown"),
    ]
    yield section("one image", key_values(pairs))
    if not graph.levels:
        yield section("levels", "  none: no block ends at stride 2, 4, 8, 16 or 32")
        return
    rows = []
    for level, name in graph.levels.items():
        node = graph[name]
        cut = "clean" if node in graph.clean else "not clean"
        plan = graph.freeze_through(name, norm="frozen", stochastic="on")
        trains = {one.weights_of: one.parameters for one in graph if one.name not in plan.weights | plan.norm}
        rows.append((level, node.stride, format_shape(node.shape), name, cut, short(sum(trains.values()))))
    yield table(("level", ">stride", ">shape", "node", "cut", ">trains"), rows)
    yield "trains: parameters that train with freeze: {through: LEVEL}"


def cuts_text(graph: Graph) -> Iterator[str]:
    """The clean cuts, with what each keeps."""
    if not graph.clean_cuts:
        yield section("clean cuts", "  none: every node is bypassed by a parallel branch, or is not a feature map")
        return
    costs = graph.clean_costs()
    titles = ("clean cut", ">pop", ">stride", ">channels", ">field", ">params", ">MACs", "level")
    rows = []
    for node in graph.clean_cuts:
        pop, level, kept = graph.pop_count(node.name), graph.level_of(node.name), costs[node.name]
        numbers = (pop, node.stride, node.channels, _field(node), short(kept.parameters), short(kept.macs))
        rows.append((node.name, *numbers, level))
    yield table(titles, rows)
    notes = ["field: receptive field in pixels; params and MACs: what the cut keeps"]
    if any(_field(node).endswith(_GLOBAL) for node in graph.clean_cuts):
        notes.append(f"{_GLOBAL} {_FOOTNOTE}")
    yield "\n".join(notes)


def nodes_text(graph: Graph) -> str:
    """All nodes, in topological order."""
    titles = ("node", "kind", ">shape", ">stride", ">field", ">params", ">MACs", "clean", "reads")
    rows = []
    for node in graph:
        numbers = (format_shape(node.shape), node.stride, _field(node), short(node.parameters), short(node.macs))
        rows.append((node.name, node.kind, *numbers, "clean" if node in graph.clean_cuts else "", ", ".join(node.inputs)))
    return table(titles, rows)


def neighbourhood_text(graph: Graph, name: str) -> str:
    """One node, its neighbours, and what a cut there would drop."""
    node = graph[name]
    lost, after = graph.lost_branches(node.name), graph.pop_count(node.name)
    drops = f"drops {len(lost)} {'branch' if len(lost) == 1 else 'branches'}"
    pairs = [
        ("kind", node.kind + (" (a bare op)" if node.is_op else "")),
        ("level", graph.level_of(node.name) or ""),
        ("shape", format_shape(node.shape)),
        ("stride", str(node.stride or "")),
        ("field", _field(node).replace(_GLOBAL, f"  ({_FOOTNOTE})")),
        ("parameters", f"{node.parameters:,}"),
        ("MACs", "unknown" if node.macs is None else f"{node.macs:,}"),
        *_listed("reads", [graph[source] for source in node.inputs]),
        *_listed("read by", graph.readers(node.name)),
        ("pop", f"{plural(after, 'node')} after it" if after else "the last node"),
        ("cut here", drops if lost else "clean" if node.can_end else "not possible: a backbone ends at a feature map"),
        *(("" if index else "  dropped", str(branch)) for index, branch in enumerate(lost)),
    ]
    for label, clean in zip(("clean before", "clean after"), graph.clean_neighbours(node.name), strict=True):
        if clean:
            pairs.append((label, f"{clean.name!r}  ({describe(clean)}, pop {graph.pop_count(clean.name)})"))
    return section(node.name, key_values((label, text) for label, text in pairs if text))


def as_json(graph: Graph) -> dict[str, Any]:  # Any: JSON
    """The levels, the clean cuts and the cost of the whole network."""
    costs = graph.clean_costs()
    return {
        "cost": asdict(graph.cost()),
        "levels": dict(graph.levels),
        "blocks": [node.name for node in graph.blocks],
        "clean": [
            {
                "node": node.name,
                "pop": graph.pop_count(node.name),
                "level": graph.level_of(node.name),
                "stride": node.stride,
                "shape": list(node.shape),
                "receptive_field": node.receptive_field,
                "sees_all": node.sees_all,
                "kept": asdict(costs[node.name]),
            }
            for node in graph.clean_cuts
        ],
    }


def neighbourhood_as_json(graph: Graph, name: str) -> dict[str, Any]:  # Any: JSON
    """One node with its neighbours."""
    node = graph[name]
    before, after = graph.clean_neighbours(node.name)
    return {
        **asdict(node),
        "level": graph.level_of(node.name),
        "pop": graph.pop_count(node.name),
        "readers": [reader.name for reader in graph.readers(node.name)],
        "lost": [asdict(branch) for branch in graph.lost_branches(node.name)],
        "clean_before": before and before.name,
        "clean_after": after and after.name,
    }


def _field(node: Node) -> str:
    if node.receptive_field is None:
        return ""
    return f"{node.receptive_field}{_GLOBAL if node.sees_all else ''}"


def _listed(label: str, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    for index, node in enumerate(nodes):
        yield "" if index else label, f"{node.name!r}  ({describe(node)})"
