from __future__ import annotations

import pytest

from torso.builtins.truncations import keep_all, select_layer, select_pop
from torso.errors import CutError, UnknownNameError
from torso.graph import Graph, Node

EDGES = {"image": (), "stem": ("image",), "left": ("stem",), "join": ("left", "stem"), "end": ("join",)}
GRAPH = Graph(
    "Net",
    tuple(Node(name=name, kind="Add", inputs=inputs, shape=(4, 4, 2), stride=2) for name, inputs in EDGES.items()),
)


def test_none_keeps_the_end() -> None:
    assert keep_all(GRAPH, {}) == "end"


@pytest.mark.parametrize(("count", "end"), [(0, "end"), (1, "join"), (3, "stem")])
def test_pop_ends_at_the_node_that_is_last_once_so_many_are_gone(count: int, end: str) -> None:
    assert select_pop(GRAPH, {"count": count, "allow_partial": False}) == end


def test_pop_refuses_to_end_beside_a_branch_unless_asked() -> None:
    with pytest.raises(CutError, match="a cut at 'left' would lose a branch of Net that runs beside it"):
        select_pop(GRAPH, {"count": 2, "allow_partial": False})
    assert select_pop(GRAPH, {"count": 2, "allow_partial": True}) == "left"


@pytest.mark.parametrize("count", [4, 5, 10**9])
def test_pop_refuses_to_leave_nothing(count: int) -> None:
    with pytest.raises(CutError) as caught:
        select_pop(GRAPH, {"count": count, "allow_partial": True})
    assert str(caught.value) == (f"pop {count} leaves nothing of Net: it has 5 nodes, the input among them\n  known: 0 to 3")


def test_layer_ends_at_a_name() -> None:
    assert select_layer(GRAPH, {"name": "join", "allow_partial": False}) == "join"


def test_layer_refuses_to_end_beside_a_branch_unless_asked() -> None:
    with pytest.raises(CutError, match="clean before: 'stem'"):
        select_layer(GRAPH, {"name": "left", "allow_partial": False})
    assert select_layer(GRAPH, {"name": "left", "allow_partial": True}) == "left"


def test_layer_suggests_what_a_mistyped_name_may_mean() -> None:
    with pytest.raises(UnknownNameError, match="did you mean: 'stem'"):
        select_layer(GRAPH, {"name": "steem", "allow_partial": False})
