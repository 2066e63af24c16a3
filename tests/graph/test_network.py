from __future__ import annotations

from hypothesis import given
from random_graphs import graph_of, networks, paths

from torso.graph import Graph, Node


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


def test_a_node_is_found_by_its_alias() -> None:
    assert RESIDUAL["block"].name == "join"
    assert "block" in RESIDUAL
