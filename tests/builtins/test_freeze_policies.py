"""The built-in freeze policies: what each selects, without Keras, and on the architectures as Keras draws them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from graphs import graph_of as architecture
from hypothesis import given, settings, strategies as st
from random_graphs import networks
from refusals import refusal

from torso.builtins.freeze_policies import torso_freeze_policies
from torso.graph import LEVELS, FreezePlan, Graph, Node
from torso.specs.options import read_options
from torso.specs.yaml_nodes import from_python

SEVEN = ("ResNet50", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121", "NASNetMobile", "VGG16")
POLICIES = {policy.name: policy for policy in torso_freeze_policies()}


def select(policy: str, value: Any, graph: Graph) -> FreezePlan:
    """What a policy selects for a value as a user writes it under ``freeze:``."""
    found = POLICIES[policy]
    given = None if value is None else from_python(value)
    return found.select(graph, read_options(f"freeze policy {policy!r}", found.options, given, positional=found.positional))


refused = partial(refusal, select)


def sources(graph: Graph) -> dict[str, frozenset[str]]:
    """What each node is computed from, itself included, found the other way round: forwards, a union of unions."""
    found: dict[str, frozenset[str]] = {}
    for node in graph:
        found[node.name] = frozenset({node.name}).union(*(found[name] for name in node.inputs))
    return found


def kinds(graph: Graph, *wanted: str) -> frozenset[str]:
    return frozenset(node.name for node in graph if node.kind in wanted)


def every(graph: Graph) -> frozenset[str]:
    return frozenset(node.name for node in graph)


@pytest.mark.parametrize("name", SEVEN)
def test_policies_without_options_select_by_kind(name: str) -> None:
    graph = architecture(name)
    assert select("all", None, graph) == FreezePlan(weights=every(graph), stochastic="off")
    assert select("none", None, graph) == FreezePlan(stochastic="on")
    batch = kinds(graph, "BatchNormalization")
    assert select("adapt_norm", None, graph) == FreezePlan(weights=every(graph) - batch, adapt=batch, stochastic="off")
    assert bool(batch) == (name not in ("VGG16", "ConvNeXtTiny"))
    train = batch | kinds(graph, "LayerNormalization", "UnitNormalization", "GroupNormalization")
    assert select("all_but_norm", None, graph) == FreezePlan(weights=every(graph) - train, stochastic="off")
    assert bool(train) == (name != "VGG16")
    fixed = kinds(graph, "Normalization")  # of EfficientNet and ConvNeXt: their statistics are those of ImageNet
    assert fixed <= every(graph) - train
    assert bool(fixed) == (name in ("EfficientNetB0", "ConvNeXtTiny"))


@settings(max_examples=500)
@given(networks(), st.data())
def test_through_is_exactly_what_a_boundary_is_computed_from(graph: Graph, data: st.DataObject) -> None:
    """Any node is a boundary where it is declared to be a level; there are 500 networks, and an oracle of their own."""
    node = data.draw(st.sampled_from([node.name for node in graph]))
    level = data.draw(st.sampled_from(list(LEVELS)))
    graph = replace(graph, known_levels={level: node})
    assert select("through", level, graph).weights == select("through", node, graph).weights == sources(graph)[node]


@pytest.mark.parametrize(("norm", "stochastic"), [("frozen", "off"), ("train", "on"), ("train", "off")])
def test_through_and_last_take_what_the_rest_does(norm: str, stochastic: str) -> None:
    graph = architecture("EfficientNetB0")
    default = {"at": "C4", "norm": "frozen", "stochastic": "on"}
    assert select("through", "C4", graph) == select("through", default, graph)
    more = {"norm": norm, "stochastic": stochastic}
    for plan in (select("through", {"at": "C4", **more}, graph), select("all_but_last", {"blocks": 2, **more}, graph)):
        assert plan.norm == (kinds(graph, "BatchNormalization") if norm == "frozen" else frozenset())
        assert plan.stochastic == stochastic
        assert not plan.adapt


@pytest.mark.parametrize("name", SEVEN)
def test_last_lets_as_many_blocks_train_as_it_says(name: str) -> None:
    graph = architecture(name)
    ends = [node.name for node in graph.blocks]
    if graph.end.name not in ends:  # MobileNetV2 and EfficientNet widen after their last block: that counts as one
        assert name in ("MobileNetV2", "EfficientNetB0")
        ends.append(graph.end.name)
    before = dict(zip(ends, (frozenset(), *(sources(graph)[end] for end in ends)), strict=False))
    weighted = [  # a pooling alone is no block
        end for end in ends if any(node.parameters and node.name not in before[end] for node in graph.kept(end))
    ]
    assert (len(weighted) < len(ends)) == (name in ("ResNet50", "DenseNet121", "VGG16"))
    for blocks in range(1, len(weighted)):
        trains = every(graph) - select("all_but_last", blocks, graph).weights
        assert [end for end in weighted if end in trains] == weighted[-blocks:]
        assert any(
            graph[node].parameters for node in trains & (sources(graph)[weighted[-blocks]] - before[weighted[-blocks]])
        )


def test_last_refuses_as_many_blocks_as_there_are() -> None:
    assert refused("all_but_last", 17, architecture("ResNet50")) == (
        "all_but_last 17 leaves nothing frozen of ResNet50, which has 17 blocks with weights\n  known: 1 to 16"
    )
    nodes = (Node(name="image", kind="InputLayer", shape=(4, 4, 3)), Node(name="end", kind="ReLU", inputs=("image",)))
    assert refused("all_but_last", 1, Graph("Net", nodes)) == (
        "all_but_last 1 leaves nothing frozen of Net, which has no more than one block with weights\n"
        "  known: none: write freeze: none"
    )


def chain(*nodes: tuple[str, str, int | None, int]) -> Graph:
    """A network without branches; name, kind, stride and parameters of each node."""
    shapes = {None: (16, 8)}
    return Graph("Net", tuple(
        Node(name=name, kind=kind, inputs=(nodes[index - 1][0],) if index else (), parameters=parameters, stride=stride,
             shape=shapes.get(stride, (4, 4, 8)), kernel=(3, 3) if kind == "Conv2D" else None)
        for index, (name, kind, stride, parameters) in enumerate(nodes)
    ))  # fmt: skip


def test_match_and_layers_freeze_what_they_name_and_all_else_trains() -> None:
    graph = architecture("MobileNetV2")
    bn = frozenset(node.name for node in graph if node.name.startswith("bn_") or node.name.endswith("BN"))
    assert select("match", "^bn_|BN$", graph) == FreezePlan(weights=bn, stochastic="on")
    assert select("layers", ["Conv1", "bn_Conv1"], graph) == FreezePlan(weights={"Conv1", "bn_Conv1"}, stochastic="on")
    twice = Graph("Net", tuple(
        Node(name=name, kind="Conv2D", inputs=inputs, parameters=9, layer=layer, shape=(4, 4, 1))
        for name, inputs, layer in (
            ("body/a", (), ""), ("body/b", ("body/a",), ""),
            ("head:0", ("body/b",), "head"), ("head:1", ("head:0",), "head"),
        )
    ))  # fmt: skip
    assert select("layers", ["body"], twice).weights == {"body/a", "body/b"}
    assert select("layers", ["head", "body/a"], twice).weights == {"body/a", "head:0", "head:1"}


def test_match_and_layers_refuse_to_freeze_nothing() -> None:
    graph = architecture("MobileNetV2")
    assert refused("layers", ["Conv2"], graph).startswith("node 'Conv2' is not in MobileNetV2\n  did you mean: 'Conv1'")
    assert refused("match", "convnext", graph).startswith("the regular expression 'convnext' matches no node of MobileNetV2")
    assert refused("match", "(", graph).startswith("'(' is not a regular expression")
    fix = " has no weights\n  fix: name nodes with weights, or write freeze: none"
    assert refused("match", "relu$", graph) == f"nothing of MobileNetV2 would be frozen: 'Conv1_relu'{fix}"
    assert refused("layers", [], graph) == f"nothing of MobileNetV2 would be frozen: no node{fix}"


@pytest.mark.parametrize("tail", [(), (("map", "Reshape", 16, 0),)], ids=["tokens", "tokens as a map again"])
@pytest.mark.parametrize(("policy", "value"), [("all_but_last", 1), ("through", "C4"), ("through", "patches")])
def test_where_blocks_are_unknown_no_policy_counts_them(policy: str, value: Any, tail: tuple[Any, ...]) -> None:
    """A vision transformer of stock layers: all blocks counted as one, after the patches."""
    graph = chain(("image", "InputLayer", 1, 0), ("patches", "Conv2D", 16, 99), ("tokens", "Reshape", None, 0),
                  ("norm", "LayerNormalization", None, 9), ("dense", "Dense", None, 99), *tail)  # fmt: skip
    assert refused(policy, value, graph) == (
        "the blocks of Net are not known: the part up to 'norm' has weights and is no feature map\n"
        "  fix: name what is frozen: freeze: {match: REGEX} or {layers: [NAME]}"
    )


@pytest.mark.parametrize(
    ("policy", "value", "text"),
    [
        ("through", None, "freeze policy 'through' needs the option 'at': text"),
        ("all_but_last", None, "freeze policy 'all_but_last' needs the option 'blocks': a whole number"),
        ("all_but_last", 0, "blocks cannot be '0'\n  known: 1 or more"),
        ("all_but_last", {"blocks": 1, "norm": "adapt"}, "norm cannot be 'adapt' (argument norm)\n  known: frozen, train"),
        *((policy, {"norm": "train"}, f"freeze policy {policy!r} has no option 'norm', nor any other (argument norm)")
          for policy in ("all", "none", "all_but_norm", "adapt_norm")),
        ("through", "block_13_expand",
         "'block_13_expand' lies within a block of MobileNetV2, and a block is frozen or trains as a whole\n"
         "  block end before: 'block_12_add'  (Add, stride 16, 96 channels)\n"
         "  block end after: 'block_13_project_BN'  (BatchNormalization, stride 32, 160 channels)"),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused(policy: str, value: Any, text: str) -> None:
    assert refused(policy, value, architecture("MobileNetV2")) == text
