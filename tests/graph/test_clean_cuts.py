from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import given, strategies as st
from random_graphs import networks, paths

from torso.errors import CutError
from torso.graph import Branch, Graph, Node


@given(networks(), st.data())
def test_a_cut_loses_a_branch_exactly_where_a_path_leads_around_it(graph: Graph, data: st.DataObject) -> None:
    names = st.sampled_from([node.name for node in graph])
    cut = data.draw(st.lists(names, min_size=1, max_size=3, unique=True))
    goes_around = any(path.isdisjoint(cut) for path in paths(graph, graph.end.name))
    assert bool(graph.lost_branches(*cut)) == goes_around
    with pytest.raises(CutError) if goes_around else nullcontext():
        graph.require_clean(*cut)


@given(networks())
def test_a_lost_branch_is_read_from_beside_the_cut_by_what_is_after_it(graph: Graph) -> None:
    for node in graph:
        after = {other.name for other in graph if node.name in graph.ancestors(other.name)}
        for branch in graph.lost_branches(node.name):
            assert branch.into in after - {node.name}
            assert branch.source in graph[branch.into].inputs
            assert branch.source not in after


@given(networks())
def test_the_neighbours_of_a_node_are_the_nearest_clean_ones(graph: Graph) -> None:
    for node in graph:
        before, after = graph.clean_neighbours(node.name)
        at = graph.position(node.name)
        positions = [graph.position(clean.name) for clean in graph.clean]
        inner = [position for position in positions if position < at and graph.nodes[position].inputs]
        assert (before and graph.position(before.name)) == (max(inner) if inner else None)
        assert (after and graph.position(after.name)) == min((p for p in positions if p > at), default=None)


def layer(name: str, kind: str, *inputs: str, channels: int = 16) -> Node:
    return Node(name=name, kind=kind, inputs=inputs, shape=(4, 4, channels), stride=2)


INCEPTION = Graph(
    "Net",
    (
        layer("image", "InputLayer", channels=3),
        layer("stem", "Conv2D", "image"),
        layer("left", "Conv2D", "stem", channels=30),
        layer("right", "Conv2D", "stem", channels=10),
        layer("gate", "Dense", "right", channels=10),
        layer("scaled", "Multiply", "right", "gate", channels=10),
        layer("mixed", "Concatenate", "left", "scaled", channels=40),
        layer("end", "ReLU", "mixed", channels=40),
    ),
)


RIGHT = "'right', which feeds all 10 channels of 'scaled'"
LEFT = "'left', 30 of the 40 channels of 'mixed' (75 %)"
SCALED = "'scaled', 10 of the 40 channels of 'mixed' (25 %)"


def test_a_lost_branch_of_one_channel() -> None:
    one = Branch(source="mask", into="masked", channels=1, of=1, is_part=False)
    assert str(one) == "'mask', which feeds the 1 channel of 'masked'"


@pytest.mark.parametrize(
    ("cut", "ends", "lost"),
    [
        (["left"], ["end"], [SCALED]),
        (["gate"], ["end"], [RIGHT, LEFT]),  # in the order in which they join
        (["gate", "scaled"], ["end"], [LEFT]),  # what an end reads is not lost
        (["left"], ["stem", "end"], [SCALED, "'stem', an output of the network"]),
        (["left"], ["end", "stem"], [SCALED, "'stem', an output of the network"]),
    ],
)
def test_lost_branches_are_listed(cut: list[str], ends: list[str], lost: list[str]) -> None:
    graph = Graph("Net", INCEPTION.nodes, ends=tuple(ends))
    assert [str(branch) for branch in graph.lost_branches(*cut)] == lost


def test_a_refusal_names_what_is_lost_and_the_clean_neighbours() -> None:
    with pytest.raises(CutError) as caught:
        INCEPTION.require_clean("gate")
    assert str(caught.value) == (
        "a cut at 'gate' would lose 2 branches of Net that run beside it\n"
        f"  lost: {RIGHT}\n"
        f"  lost: {LEFT}\n"
        "  clean before: 'stem'  (Conv2D, stride 2, 16 channels, pop 6)\n"
        "  clean after: 'mixed'  (Concatenate, stride 2, 40 channels, pop 1)\n"
        "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
    )


@pytest.mark.parametrize(
    ("count", "joined", "last"),
    [
        (9, True, ["'feed6', 2 of the 18 channels of 'mixed' (11 %)", "and 2 more, up to 'mixed'"]),
        (9, False, ["'feed6', an output of the network", "and 2 more, up to 'feed8'"]),
    ],
)
def test_many_lost_branches_are_listed_in_part(count: int, joined: bool, last: list[str]) -> None:
    feeds = [layer(f"feed{number}", "ReLU", "image", channels=2) for number in range(count)]
    names = tuple(feed.name for feed in feeds)
    join = [layer("mixed", "Concatenate", *names, channels=2 * count)] if joined else []
    graph = Graph("Net", (layer("image", "InputLayer"), *feeds, *join), ends=() if joined else names)
    with pytest.raises(CutError) as caught:
        graph.require_clean("feed0")
    assert [text for label, text in caught.value.notes if label == "lost"][-2:] == last


def test_an_end_of_several_is_clean_with_the_others_only() -> None:
    graph = Graph("Net", INCEPTION.nodes, ends=("stem", "end"))
    assert [node.name for node in graph.clean] == ["image", "stem"]  # a cut after it would lose that output
    graph.require_clean("stem", "end")
    with pytest.raises(CutError):
        graph.require_clean("left")
