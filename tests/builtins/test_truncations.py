"""The built-in strategies: what each selects, and the refusals that fixtures/bad_cuts.yaml does not have."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from refusals import refusal

from torso.builtins.truncations import torso_truncations
from torso.contracts.truncation import Cut
from torso.graph import Graph, Node
from torso.specs.options import read_options
from torso.specs.yaml_nodes import from_python


def node(name: str, kind: str, *inputs: str, stride: int = 2, channels: int = 8, field: int = 3, **more: Any) -> Node:
    side = 16 // stride
    return Node(
        name=name, kind=kind, inputs=inputs, shape=(side, side, channels), stride=stride, receptive_field=field, **more
    )


RESIDUAL = Graph(
    "Net",
    (
        node("image", "InputLayer", stride=1, channels=3, field=1),
        node("stem", "Conv2D", "image", kernel=(3, 3), parameters=100, macs=1000, activation="relu"),
        node("b1_conv", "Conv2D", "stem", kernel=(3, 3), parameters=200, macs=2000, field=7),
        node("b1_add", "Add", "b1_conv", "stem", field=7),
        node("b2_down", "Conv2D", "b1_add", stride=4, kernel=(3, 3), parameters=300, macs=500, field=11, channels=16),
        node("b2_conv", "Conv2D", "b2_down", stride=4, kernel=(3, 3), parameters=300, macs=500, field=19, channels=16),
        node("b2_add", "Add", "b2_conv", "b2_down", stride=4, field=19, channels=16),
        node("b2_out", "Activation", "b2_add", stride=4, field=19, channels=16, alias=("body",)),
    ),
)


def select(strategy: str, value: Any, graph: Graph = RESIDUAL) -> Cut | tuple[str, ...]:
    """What a strategy selects for a value as a user writes it under ``truncate:``."""
    found = next(one for one in torso_truncations() if one.name == strategy)
    owner = f"truncation strategy {strategy!r}"
    given = None if value is None else from_python(value)
    return found.select(graph, read_options(owner, found.options, given, positional=found.positional))


refused = partial(refusal, select)


@pytest.mark.parametrize(
    ("strategy", "value", "cut"),
    [
        ("none", None, ("b2_out",)),
        ("layer", "b1_add", "b1_add"),
        ("layer", "body", "b2_out"),
        ("layer", {"name": "b1_conv", "allow_partial": True}, "b1_conv"),
        ("layers", ["b1_add", "stem"], {"b1_add": "b1_add", "stem": "stem"}),
        ("layers", ["b1_conv", "stem"], {"b1_conv": "b1_conv", "stem": "stem"}),  # together they are clean
        ("layers", {"names": ["b1_conv"], "allow_partial": True}, {"b1_conv": "b1_conv"}),
        ("match", "add", "b2_add"),
        ("match", "^b1.*add$", "b1_add"),
        ("match", {"pattern": "_conv$", "allow_partial": True}, "b2_conv"),
        ("pop", 1, "b2_add"),
        ("pop", 3, "b2_down"),
        ("pop", {"count": 2, "allow_partial": True}, "b2_conv"),
        ("pop", {"count": 1, "unit": "block"}, "b2_down"),
        ("pop", {"count": 3, "unit": "block"}, "stem"),
        ("level", "C1", "b1_add"),
        ("level", "C2", "b2_out"),
        ("levels", ["C2", "C1"], {"C2": "b2_out", "C1": "b1_add"}),
        ("stride", 2, "b1_add"),
        ("stride", 4, "b2_out"),
        ("budget", {"parameters": 600}, "b2_down"),
        ("budget", {"macs": 2999}, "stem"),
        ("budget", {"receptive_field": 18}, "b2_down"),
        ("budget", {"parameters": 10**12, "receptive_field": 7}, "b1_add"),
    ],
)
def test_strategies_select(strategy: str, value: Any, cut: Any) -> None:
    selected = select(strategy, value)
    assert selected == cut
    assert not isinstance(cut, dict) or list(selected) == list(cut)  # in the order that was asked for


LEVELS = "\n  C1: 'b1_add'  (Add, stride 2, 8 channels)\n  C2: 'b2_out'  (Activation, stride 4, 16 channels)"


@pytest.mark.parametrize(
    ("strategy", "value", "text"),
    [
        ("pop", {"count": 1, "unit": "blocks"},
         "unit cannot be 'blocks' (argument unit)\n  did you mean: 'block'\n  known: node, block"),
        ("level", "c2", "name cannot be 'c2'\n  did you mean: 'C2'\n"
         "  known: C1, C2, C3, C4, C5, C1@expansion, C2@expansion, C3@expansion, C4@expansion, C5@expansion"),
        ("levels", ["C1", "C3"], f"Net has no level C3{LEVELS}"),
        ("levels", ["C1", "C1"], "C1 is named twice, and a backbone gives each level once"),
        ("levels", [], f"levels names no level{LEVELS}"),
        ("layers", ["b1_conv", "b2_conv"],
         "a cut at 'b1_conv' and 'b2_conv' would lose a branch of Net that runs beside it\n"
         "  lost: 'stem', which feeds all 8 channels of 'b1_add'\n"
         "  clean before: 'b2_down'  (Conv2D, stride 4, 16 channels, pop 3)\n"
         "  clean after: 'b2_add'  (Add, stride 4, 16 channels, pop 1)\n"
         "  fix: let the last of them be a clean node, or add allow_partial: true to cut here anyway"),
        ("layers", ["body", "b2_out"], "'b2_out' is named twice, and a backbone gives each output once"),
        ("layers", [], "layers names no node\n  fix: name one or more, or write truncate: none"),
        ("budget", {}, "budget has no limit\n  fix: write parameters:, macs: or receptive_field: under it"),
    ],
)  # fmt: skip
def test_strategies_refuse(strategy: str, value: Any, text: str) -> None:
    assert refused(strategy, value) == text


def test_strategies_refuse_to_lose_a_branch() -> None:
    for strategy, value in ("layer", "b1_conv"), ("match", "^b1_conv$"), ("pop", 5):
        assert refused(strategy, value).startswith(
            "a cut at 'b1_conv' would lose a branch of Net that runs beside it\n  lost:"
        )


def test_none_keeps_every_end_of_a_network_with_several() -> None:
    graph = Graph("Net", RESIDUAL.nodes, ends=("b1_add", "b2_out"))
    assert select("none", None, graph) == ("b1_add", "b2_out")


def test_what_comes_after_the_last_block_is_popped_as_a_block() -> None:
    head = node("head", "Conv2D", "b2_out", stride=4, kernel=(1, 1), channels=64)
    graph = Graph("Net", (*RESIDUAL.nodes, head))
    assert graph.blocks[-1].name == "b2_out"
    assert select("pop", {"count": 1, "unit": "block"}, graph) == "b2_out"


@pytest.mark.parametrize(("count", "known"), [(3, "1 to 1"), (2, "none: write truncate: none")])
def test_of_a_short_network_few_nodes_can_be_popped(count: int, known: str) -> None:
    has = f"{count - 1} node{'s' if count > 2 else ''} after its input"
    fact = f"pop {count - 1} leaves nothing: Net has {has}"
    assert refused("pop", count - 1, Graph("Net", RESIDUAL.nodes[:count])) == f"{fact}\n  known: {known}"


def test_what_a_pattern_could_have_matched_are_the_last_four_blocks() -> None:
    convs = (node(f"conv{i}", "Conv2D", f"conv{i - 1}" if i else "image", kernel=(3, 3), stride=2**i) for i in range(6))
    graph = Graph("Net", (RESIDUAL.nodes[0], *convs))
    assert refused("match", "block", graph) == "the regular expression 'block' matches no node of Net" + "".join(
        f"\n  block output: 'conv{i}'  (Conv2D, stride {2**i}, 8 channels)" for i in (2, 3, 4, 5)
    )


def test_a_budget_ends_after_the_first_node_that_multiplies_if_any_does() -> None:
    image, stem = RESIDUAL.nodes[:2]
    pad = node("pad", "ZeroPadding2D", "image", stride=1)
    padded = Graph("Net", (image, pad, replace(stem, inputs=("pad",))))
    assert select("budget", {"parameters": 100}, padded) == "stem"
    assert refused("budget", {"parameters": 99}, padded) == (
        "no clean cut of Net keeps within parameters 99\n  first: 'stem' has parameters 100\n  fix: raise the limit"
    )
    assert select("budget", {"macs": 0}, Graph("Net", (image, pad, node("end", "ReLU", "pad")))) == "end"


def test_a_budget_of_what_is_unknown_holds_nowhere() -> None:
    graph = Graph("Net", (RESIDUAL.nodes[0], replace(RESIDUAL.nodes[1], macs=None)))
    assert refused("budget", {"parameters": 1000, "macs": 10**12}, graph) == (
        "no clean cut of Net keeps within parameters 1,000 and macs 1,000,000,000,000\n"
        "  first: 'stem' has parameters 100, macs unknown\n"
        "  fix: give another limit, or a size to images of any size"
    )


def test_strides_are_told_in_their_order_the_declared_ones_too() -> None:
    nodes = (
        RESIDUAL.nodes[0],
        node("left", "Conv2D", "image", kernel=(3, 3)),
        node("right", "Conv2D", "image", kernel=(3, 3)),
        node("join", "Concatenate", "left", "right", stride=4, channels=16),
    )
    assert refused("stride", 8, Graph("Net", nodes).with_levels({"C1": "left"})) == (
        "Net has no block that ends at stride 8\n"
        "  stride 2: 'left'  (Conv2D, stride 2, 8 channels)\n"
        "  stride 4: 'join'  (Concatenate, stride 4, 16 channels)"
    )


def test_a_declared_level_has_its_stride_and_need_not_be_clean() -> None:
    graph = RESIDUAL.with_levels({"C1": "stem", "C1@expansion": "b1_conv"})
    assert (select("stride", 2, graph), select("level", "C1@expansion", graph)) == ("stem", "b1_conv")
    graph = RESIDUAL.with_levels({"C1": "b1_conv"})
    assert (select("stride", 2, graph), select("level", "C1", graph)) == ("b1_conv", "b1_conv")


def test_a_network_without_levels_says_so() -> None:
    graph = Graph("Net", (node("image", "InputLayer", stride=1), node("end", "ReLU", "image", stride=1)))
    why = "\n  cause: no block of it ends at stride 2, 4, 8, 16 or 32\n  fix: name a node under layer:"
    assert refused("level", "C1", graph) == f"Net has no level C1{why}"
    assert refused("stride", 2, graph) == f"Net has no block that ends at stride 2{why}"
