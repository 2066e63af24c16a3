"""The built-in freeze policies: what each selects, without Keras, and on the architectures as Keras draws them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from graphs import graph_of as architecture
from hypothesis import given, settings, strategies as st
from random_graphs import networks

from torso.builtins.freeze_policies import torso_freeze_policies
from torso.errors import TorsoError
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


def refusal(policy: str, value: Any, graph: Graph) -> str:
    with pytest.raises(TorsoError) as caught:
        select(policy, value, graph)
    return str(caught.value)


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
    assert select("norm_only", None, graph) == FreezePlan(weights=every(graph) - train, stochastic="off")
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
    for plan in (select("through", {"at": "C4", **more}, graph), select("last", {"blocks": 2, **more}, graph)):
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
    for blocks in range(1, len(ends)):
        plan = select("last", blocks, graph)
        assert plan.weights == sources(graph)[ends[-1 - blocks]]
        assert [end for end in ends if end not in plan.weights] == ends[-blocks:]


def test_last_refuses_as_many_blocks_as_there_are() -> None:
    assert refusal("last", 18, architecture("ResNet50")) == (
        "last 18 leaves nothing frozen of ResNet50, which has 18 blocks\n  known: 1 to 17"
    )
    nodes = (Node(name="image", kind="InputLayer", shape=(4, 4, 3)), Node(name="end", kind="ReLU", inputs=("image",)))
    assert refusal("last", 1, Graph("Net", nodes)) == (
        "last 1 leaves nothing frozen of Net, which has 1 block\n  known: none: write freeze: none"
    )


@pytest.mark.parametrize(
    ("policy", "value", "text"),
    [
        ("through", None, "freeze policy 'through' needs the option 'at': text"),
        ("last", None, "freeze policy 'last' needs the option 'blocks': a whole number"),
        ("last", 0, "blocks cannot be '0'\n  known: 1 or more"),
        ("last", {"blocks": 1, "norm": "adapt"}, "norm cannot be 'adapt' (argument norm)\n  known: frozen, train"),
        *((policy, {"norm": "train"}, f"freeze policy {policy!r} has no option 'norm' (argument norm)\n  known: none")
          for policy in ("all", "none", "norm_only", "adapt_norm")),
        ("through", "block_13_expand",
         "'block_13_expand' lies within a block of MobileNetV2, and a block is frozen or trains as a whole\n"
         "  block end before: 'block_12_add'  (Add, stride 16, 96 channels)\n"
         "  block end after: 'block_13_project_BN'  (BatchNormalization, stride 32, 160 channels)"),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused(policy: str, value: Any, text: str) -> None:
    assert refusal(policy, value, architecture("MobileNetV2")) == text
