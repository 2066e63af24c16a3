"""Graphs without Keras: random ones, and what is true of them by brute force."""

from __future__ import annotations

from hypothesis import strategies as st

from torso.graph import Graph, Node


def graph_of(edges: dict[str, tuple[str, ...]]) -> Graph:
    return Graph("Net", tuple(Node(name=name, kind="Add", inputs=inputs, shape=(1, 1)) for name, inputs in edges.items()))


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Random networks from one or two inputs to one end, in topological order; every node leads to the end."""
    count = draw(st.integers(2, 12))
    inputs: list[set[int]] = [set()]
    for index in range(1, count):
        first = draw(st.booleans()) and index < count - 1 and index == 1
        inputs.append(set() if first else draw(st.sets(st.integers(0, index - 1), min_size=1, max_size=3)))
    read = set().union(*inputs)
    inputs[-1] |= {index for index in range(count - 1) if index not in read}
    names = [f"n{index}" for index in range(count)]
    return graph_of({name: tuple(names[i] for i in sorted(ins)) for name, ins in zip(names, inputs, strict=True)})


def paths(graph: Graph, name: str) -> list[frozenset[str]]:
    """By brute force: the nodes of every path from an input to this node."""
    inputs = graph[name].inputs
    before = [path for source in inputs for path in paths(graph, source)] if inputs else [frozenset()]
    return [path | {name} for path in before]
