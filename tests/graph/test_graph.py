from __future__ import annotations

from hypothesis import given
from random_graphs import graph_of, networks, paths

from torso.graph import Feature, Graph, Node


@given(networks())
def test_clean_nodes_are_those_that_every_path_passes_through(graph: Graph) -> None:
    every = frozenset.intersection(*paths(graph, graph.end.name))
    assert {node.name for node in graph.clean} == every


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
        Node(name="relu", kind="ReLU", inputs=("join",), shape=(4, 4, 16), stride=2),
    ),
)


def test_an_alias_is_as_good_as_the_name_everywhere() -> None:
    assert RESIDUAL["block"].name == "join"
    assert "block" in RESIDUAL
    assert RESIDUAL.with_levels({"C1": "block"}).levels == {"C1": "join"}
    assert RESIDUAL.kept("block").ends == ("join",)
    assert [node.name for node in RESIDUAL.readers("block")] == ["relu"]
    assert RESIDUAL.with_levels({"C1": "block"}).feature("features", "block") == Feature(
        name="features", node="join", stride=2, channels=16, shape=(4, 4, 16), level="C1"
    )


def test_a_part_has_the_levels_of_the_whole_that_are_in_it_and_no_others() -> None:
    assert RESIDUAL.levels == {"C1": "relu"}
    assert RESIDUAL.kept("join").levels == {}
    assert RESIDUAL.with_levels({"C1": "stem"}).kept("join").levels == {"C1": "stem"}


def test_a_call_has_no_number_where_it_is_the_only_one_left() -> None:
    nodes = (
        Node(name="image", kind="InputLayer", shape=(8, 8, 3), stride=1),
        Node(name="body/conv", kind="Conv2D", inputs=("image",), shape=(4, 4, 3), stride=2),
    )
    assert Graph("Net", nodes).knowing({"C1": "body:0/conv", "C2": "body:1/conv2"}).levels == {"C1": "body/conv"}


def test_a_backbone_ends_at_one_computed_tensor_with_positions() -> None:
    image = {"kind": "InputLayer", "inputs": ("image",), "shape": (4, 4, 8)}
    for change, can_end in (
        ({}, True),
        ({"shape": (16, 8)}, True),  # tokens
        ({"shape": (8,)}, False),  # a mean over all positions
        ({"outputs": 2}, False),
        ({"inputs": ()}, False),
    ):
        assert Node(name="node", **{**image, **change}).can_end is can_end
