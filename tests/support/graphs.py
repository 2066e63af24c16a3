"""The graphs of the built-in architectures: each read once a process; and records of them, to compare with.

    python tests/support/graphs.py [NAME ...]

records them anew, all or some, once it is known that a change is meant.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, Final

import torso
from torso.artifact.manifest import fingerprint
from torso.graph import Graph, Node

PATH: Final = Path(__file__).parents[1] / "fixtures" / "graphs.json"
MOST_NODES = 8  # that an explanation lists

Record = Mapping[str, Any]  # JSON: keras, nodes, fingerprint, kinds, levels, stretches
Stretch = tuple[str, int, str]
"""A clean node, how many nodes stand behind the clean one before it, itself included, and a hash of them."""


@cache
def registry() -> torso.Registry:
    return torso.Registry.load(discover=False)


@cache
def graph_of(name: str) -> Graph:
    """The whole headless network at its default size and options."""
    return torso.read_graph(name, registry=registry())


def record_of(graph: Graph, keras: str) -> Record:
    """What is recorded of a graph, with the release of Keras that drew it."""
    return {
        "keras": keras,
        "nodes": len(graph),
        "fingerprint": fingerprint(graph),
        "kinds": dict(sorted(Counter(node.kind for node in graph).items())),
        "levels": dict(graph.levels),
        "stretches": [[nodes[-1].name, len(nodes), fingerprint(Graph(graph.name, nodes))[:8]] for nodes in stretches(graph)],
    }


def stretches(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """The nodes from behind each clean node up to the next one; the input alone is the first stretch."""
    ends = [-1, *(graph.position(node.name) for node in graph.clean)]
    for before, end in pairwise(ends):
        yield graph.nodes[before + 1 : end + 1]


def explain(record: Record, graph: Graph, keras: str) -> str:
    """Where a graph is not the recorded one, in words; empty where it is.

    Args:
        record: What was recorded.
        graph: The graph as it is now.
        keras: The release that draws it now.
    """
    now = record_of(graph, keras)
    if {**now, "keras": None} == {**record, "keras": None}:
        return ""
    lines = [
        f"the graph of {graph.name} is not the recorded one",
        f"  recorded: Keras {record['keras']}, {record['nodes']} nodes",
        f"  found: Keras {keras}, {now['nodes']} nodes",
    ]
    for what in ("kinds", "levels"):
        changes = [
            f"{key} {now[what].get(key, 'none')}, was {record[what].get(key, 'none')}"
            for key in sorted({*record[what], *now[what]})
            if now[what].get(key) != record[what].get(key)
        ]
        if changes:
            lines.append(f"  {what}: {'; '.join(changes)}")
    lines.extend(_first_difference([tuple(entry) for entry in record["stretches"]], graph, now))
    lines.append(f"  fix: where that is meant, python tests/support/graphs.py {graph.name}")
    return "\n".join(lines)


def _first_difference(recorded: list[Stretch], graph: Graph, now: Record) -> Iterator[str]:
    """The first stretch that is not as it was, with its nodes, and how many there are of that sort."""
    found: list[Stretch] = [tuple(entry) for entry in now["stretches"]]
    same = set(recorded) & set(found)
    if len(same) == len(recorded) == len(found):
        yield "  stretches: the same"
        return
    behind = ""
    for position, (old, new) in enumerate(zip_longest(recorded, found)):
        if old == new:
            behind = old[0]
            continue
        yield f"  stretches: {sum(entry not in same for entry in found)} of {len(found)} are not among the recorded"
        yield f"  first: {f'behind {behind!r}' if behind else 'at the input'}, {_extent(new)}; was {_extent(old)}"
        if new is not None:
            nodes = list(stretches(graph))[position]
            more = f", and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
            yield f"  now there: {', '.join(f'{node.name} ({node.kind})' for node in nodes[:MOST_NODES])}{more}"
        return


def _extent(stretch: Stretch | None) -> str:
    if stretch is None:
        return "nothing"
    name, count, code = stretch
    return f"up to {name!r}: {count} node{'s' if count > 1 else ''} ({code})"


def read() -> dict[str, Record]:
    """The records, by architecture."""
    records: dict[str, Record] = json.loads(PATH.read_text(encoding="utf-8"))
    return records


def text(records: Mapping[str, Record]) -> str:
    """The file: one line for each fact and each stretch, so that a comparison of two versions shows what changed."""
    blocks = []
    for name, record in records.items():
        facts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != "stretches"]
        rows = ",\n".join(f"   {json.dumps(entry, separators=(',', ':'))}" for entry in record["stretches"])
        blocks.append(f" {json.dumps(name)}: {{\n" + ",\n".join([*facts, f'  "stretches": [\n{rows}\n  ]']) + "\n }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main(names: list[str]) -> None:
    from keras import __version__

    records = read() if names else {}
    known = [contribution.value.name for contribution in registry().architectures]
    for name in names or known:
        records[name] = record_of(graph_of(name), __version__)
    PATH.write_text(text({name: records[name] for name in known if name in records}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
