"""A graph as text: its levels, its clean cuts, its nodes, and the neighbourhood of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from torso.cli.text import bold, columns_of, counted, facts, page_of, short, size_of, table, times
from torso.graph import Branch, Cost, Graph, Node, describe

SEES_ALL = "*"
_FOOTNOTE = f"{SEES_ALL} and besides, through a mean over all cells, the whole image"


def levels_text(graph: Graph, out: TextIO) -> Iterator[str]:
    """What the network costs as a whole, and its levels."""
    cost = graph.cost()
    pairs = [
        ("nodes", f"{cost.nodes:,}, {counted(len(graph.clean_cuts), 'clean cut')}, {counted(len(graph.blocks), 'block')}"),
        ("input", times(graph.nodes[0].shape)),
        ("MACs", _words(cost.macs, "multiply-accumulates")),
        ("FLOPs", _words(cost.flops, "floating-point operations")),
        ("activations", "unknown" if cost.peak_bytes is None else f"{size_of(cost.peak_bytes)} of float32 at most at once"),
    ]
    yield f"{bold('one image', out)}\n" + facts(pairs, out, indent="  ")
    if not graph.levels:
        yield f"{bold('levels', out)}\n  none: no block ends at stride 2, 4, 8, 16 or 32"
        return
    clean = set(graph.clean)
    rows = [
        [level, str(node.stride or ""), times(node.shape), "" if node in clean else "not clean", node.name]
        for level, node in ((level, graph[name]) for level, name in graph.levels.items())
    ]
    titles = {"level": "<", "stride": ">", "shape": ">", "cut": "<", "node": "<"}
    if all(node in clean for node in map(graph.__getitem__, graph.levels.values())):
        titles.pop("cut")
        rows = [[*row[:3], row[4]] for row in rows]
    yield table(titles, rows, out, page=page_of(out))


def cuts_text(graph: Graph, out: TextIO) -> Iterator[str]:
    """The clean cuts, with what each would keep."""
    if not graph.clean_cuts:
        yield f"{bold('clean cuts', out)}\n  none: no node with cells, behind the input, lies on every path"
        return
    costs = graph.clean_costs()
    numbers = ("pop", "stride", "channels", "field", "params", "MACs")
    titles = {"clean cut": "<", **dict.fromkeys(numbers, ">"), "level": "<"}
    nodes = graph.clean_cuts
    rows = [
        [
            node.name,
            str(graph.pop_count(node.name)),
            str(node.stride or ""),
            str(node.channels or ""),
            _field(node),
            short(costs[node.name].parameters),
            short(costs[node.name].macs),
            graph.level_of(node.name) or "",
        ]
        for node in nodes
    ]
    yield table(titles, rows, out, page=columns_of(out))
    yield "\n".join(
        ["field: receptive field in pixels; params and MACs: what the cut keeps"]
        + ([_FOOTNOTE] if any(_field(node).endswith(SEES_ALL) for node in nodes) else [])
    )


def nodes_text(graph: Graph, out: TextIO) -> Iterator[str]:
    """All nodes, in topological order."""
    clean = set(graph.clean_cuts)
    titles = {
        "node": "<",
        "kind": "<",
        "shape": ">",
        "stride": ">",
        "field": ">",
        "params": ">",
        "MACs": ">",
        "clean": "<",
        "reads": "<",
    }
    rows = [
        [
            node.name,
            node.kind,
            times(node.shape),
            str(node.stride or ""),
            _field(node),
            short(node.parameters),
            short(node.macs),
            "clean" if node in clean else "",
            ", ".join(node.inputs),
        ]
        for node in graph
    ]
    yield table(titles, rows, out, page=columns_of(out))


def neighbourhood_text(graph: Graph, name: str, out: TextIO) -> Iterator[str]:
    """One node: what it is, what is around it, and what a cut there would lose."""
    node = graph[name]
    lost = graph.lost_branches(node.name)
    before, after = graph.clean_neighbours(node.name)
    behind = graph.pop_count(node.name)
    pairs = [
        ("kind", node.kind + (" (a bare op)" if node.is_op else "")),
        ("level", graph.level_of(node.name) or ""),
        ("shape", times(node.shape)),
        ("stride", str(node.stride or "")),
        ("field", _field(node) + (f"  ({_FOOTNOTE[2:]})" if _field(node).endswith(SEES_ALL) else "")),
        ("parameters", f"{node.parameters:,}"),
        ("MACs", "unknown" if node.macs is None else f"{node.macs:,}"),
        *_listed("reads", [graph[source] for source in node.inputs]),
        *_listed("read by", graph.readers(node.name)),
        ("pop", "nothing stands behind it" if not behind else f"{counted(behind, 'node')} behind it"),
        ("cut here", _verdict(node, lost)),
        *(("" if position else "  lost", str(branch)) for position, branch in enumerate(lost)),
        *((label, _named(clean, graph)) for label, clean in (("clean before", before), ("clean after", after)) if clean),
    ]
    yield f"{bold(node.name, out)}\n" + facts([(label, text) for label, text in pairs if text], out, indent="  ")


def as_json(graph: Graph) -> dict[str, Any]:  # Any: JSON
    """The levels, the clean cuts and the cost of the whole."""
    costs = graph.clean_costs()
    return {
        "cost": asdict(graph.cost()),
        "levels": dict(graph.levels),
        "blocks": [node.name for node in graph.blocks],
        "clean": [_cut_as_json(node, costs[node.name], graph) for node in graph.clean_cuts],
    }


def neighbourhood_as_json(graph: Graph, name: str) -> dict[str, Any]:
    """One node with what is around it."""
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


def _verdict(node: Node, lost: Sequence[Branch]) -> str:
    if lost:
        return f"loses {len(lost)} {'branch' if len(lost) == 1 else 'branches'}"
    return "clean" if node.can_end else "not possible: a backbone ends at one tensor with cells"


def _cut_as_json(node: Node, cost: Cost, graph: Graph) -> dict[str, Any]:
    return {
        "node": node.name,
        "pop": graph.pop_count(node.name),
        "level": graph.level_of(node.name),
        "stride": node.stride,
        "shape": list(node.shape),
        "receptive_field": node.receptive_field,
        "sees_all": node.sees_all,
        "kept": asdict(cost),
    }


def _field(node: Node) -> str:
    if node.receptive_field is None:
        return ""
    return f"{node.receptive_field}{SEES_ALL if node.sees_all else ''}"


def _listed(label: str, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    for position, node in enumerate(nodes):
        yield "" if position else label, f"{node.name!r}  ({describe(node)})"


def _named(node: Node, graph: Graph) -> str:
    return f"{node.name!r}  ({describe(node)}, pop {graph.pop_count(node.name)})"


def _words(number: int | None, noun: str) -> str:
    return "unknown" if number is None else f"{short(number)} {noun}"
