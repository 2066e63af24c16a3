from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from torso.errors import CutError, UnknownNameError
from torso.graph import Graph, Node, require_clean


def graph_of(edges: dict[str, tuple[str, ...]]) -> Graph:
    return Graph("Net", tuple(Node(name=name, kind="Add", inputs=inputs, shape=(1,)) for name, inputs in edges.items()))


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


@given(networks())
def test_clean_nodes_are_those_that_every_path_passes_through(graph: Graph) -> None:
    every = frozenset.intersection(*paths(graph, graph.end.name))
    assert {node.name for node in graph.clean} == every


@given(networks())
def test_a_clean_cut_removes_exactly_the_nodes_behind_it(graph: Graph) -> None:
    for node in graph.clean:
        if len({name for name in graph.ancestors(graph.end.name) if not graph[name].inputs}) > 1:
            continue  # behind one of two inputs, the other may stand later in the order
        assert len(graph) - len(graph.ancestors(node.name)) == graph.pop_count(node.name)


@given(networks())
def test_ancestors_are_the_nodes_of_all_paths(graph: Graph) -> None:
    for node in graph:
        assert graph.ancestors(node.name) == frozenset().union(*paths(graph, node.name))


def test_clean_takes_time_in_proportion_to_the_edges_in_a_ladder_of_joins() -> None:
    edges: dict[str, tuple[str, ...]] = {"in": ()}
    last = "in"
    for index in range(1000):  # 2 to the power of 1000 paths
        edges[f"left{index}"] = (last,)
        edges[f"join{index}"] = (last, f"left{index}")
        last = f"join{index}"
    assert [node.name for node in graph_of(edges).clean] == ["in", *(f"join{index}" for index in range(1000))]


RESIDUAL = Graph(
    "Net",
    (
        Node(name="image", kind="InputLayer", shape=(8, 8, 3), stride=1),
        Node(name="stem", kind="Conv2D", inputs=("image",), shape=(4, 4, 16), stride=2),
        Node(name="branch", kind="Conv2D", inputs=("stem",), shape=(4, 4, 16), stride=2),
        Node(name="join", kind="Add", inputs=("branch", "stem"), shape=(4, 4, 16), stride=2, alias=("block",)),
    ),
)


def test_require_clean_names_the_clean_neighbours_with_their_pop_count() -> None:
    with pytest.raises(CutError) as caught:
        require_clean(RESIDUAL, "branch")
    assert str(caught.value) == (
        "a cut at 'branch' would lose a branch of Net that runs beside it\n"
        "  clean before: 'stem'  (Conv2D, stride 2, 16 channels, pop 2)\n"
        "  clean after: 'join'  (Add, stride 2, 16 channels, pop 0)\n"
        "  fix: cut at a clean node, or add allow_partial: true to cut here all the same"
    )


def test_an_unknown_node_is_answered_with_the_nearest_and_what_they_are() -> None:
    with pytest.raises(UnknownNameError) as caught:
        RESIDUAL["jion"]
    assert str(caught.value) == (
        "node 'jion' is not in Net\n  did you mean: 'join'  (Add, stride 2, 16 channels)\n  clean cuts: join, stem"
    )


def test_a_node_is_found_by_its_alias() -> None:
    assert RESIDUAL["block"].name == "join"
    assert "block" in RESIDUAL
