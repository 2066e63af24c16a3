"""The graphs of the built-in architectures are the recorded ones; where Keras changes one, the failure shows how."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from operator import attrgetter
from typing import Any
from zipfile import ZipFile

import graphs
import pytest
from graphs import ARCHITECTURES, each_architecture, graph_of

import torso
from torso.artifact.manifest import fingerprint
from torso.builtins.keras_applications import recorded_graph
from torso.graph import EXPANSION, LEVELS
from torso.planning.known_graph import known_graph

TIMM: dict[str, list[int]] = json.loads((graphs.FIXTURES / "published.json").read_text(encoding="utf-8"))["timm"]["channels"]


RECORDS = dict(graphs.recorded())
SAMPLE = random.Random(graphs.SEED).sample(list(RECORDS), 4)


@pytest.mark.parametrize("name", graphs.parameters(RECORDS, SAMPLE))
def test_the_recorded_graph_is_the_one_that_keras_draws(name: str) -> None:
    architecture, options = RECORDS[name]
    recorded = recorded_graph(name)
    assert recorded is not None
    drawn = graphs.drawn(architecture, options=options)
    assert [*map(str, recorded)] == [*map(str, drawn)]  # where a difference is meant: python tests/support/graphs.py
    assert recorded == drawn


@pytest.mark.parametrize("name", graphs.parameters(ARCHITECTURES, SAMPLE))
def test_at_another_size_more_is_known_than_depends_on_it(name: str) -> None:
    least = ARCHITECTURES[name].input.minimum
    facts = attrgetter("name", "kind", "inputs", "channels", "stride", "receptive_field", "kernel", "parameters", "is_map")
    for size in [least, least + 13], [225, 300]:
        plan = torso.plan(name, weights="none", input={"size": size}, registry=graphs.registry())
        known, now = known_graph(plan), graphs.drawn(name, input={"size": size})
        assert known is not None
        assert [*map(facts, known)] == [*map(facts, now)]
        assert known.levels == now.levels
        assert [[one.name for one in each] for each in (known.clean_cuts, known.blocks)] == [
            [one.name for one in each] for each in (now.clean_cuts, now.blocks)
        ]


def test_the_records_are_small_and_each_is_read_alone() -> None:
    with ZipFile(graphs.PATH) as file:
        assert set(file.namelist()) == set(RECORDS)
    assert graphs.PATH.stat().st_size < 300_000
    assert recorded_graph("ResNet51") is None


@pytest.mark.parametrize(
    "spec",
    [
        {"options": {"alpha": 0.36}},
        {"input": {"channels": 4}},
        {"input": {"size": [96, 96]}, "truncate": {"budget": {"macs": 10**8}}},
    ],
)
def test_what_is_not_recorded_is_not_known(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_graph(torso.plan("MobileNetV2", weights="none", registry=graphs.registry(), **spec)) is None
    plan = torso.plan("MobileNetV2", weights="none", registry=graphs.registry())
    assert known_graph(plan) == graph_of("MobileNetV2")
    assert known_graph(replace(plan, arguments={**plan.arguments, "classes": 3})) is None  # added by a plugin
    monkeypatch.setattr("torso.planning.known_graph.version", {"keras": "3.99.0"}.get)
    assert known_graph(plan) is None


@each_architecture
def test_what_the_card_says_is_clean_is_clean(name: str) -> None:
    graph, card = graph_of(name), ARCHITECTURES[name]
    declared = [node.name for node in graph if card.is_clean(node.name)]
    assert set(declared) <= {node.name for node in graph.clean_cuts}
    assert len(declared) >= 2
    for level, node in graph.levels.items():  # a pattern that misses the ends of blocks is of little use
        # but those of the MobileNets, where widths decide what is added, and of NASNet, which are not clean
        if (
            level in ("C2", "C3", "C4", "C5")
            and not name.startswith(("NASNet", "MobileNetV"))
            and not graph[node].is_numbered
        ):
            assert card.is_clean(node), (level, node)


@pytest.mark.parametrize("name", graphs.parameters([name for name, card in ARCHITECTURES.items() if card.options]))
def test_what_the_card_says_is_clean_is_so_with_any_options(name: str) -> None:
    every: list[dict[str, Any]] = [{"alpha": alpha} for alpha in (0.05, 0.1, 0.35, 1.4, 2.0)]  # trained widths and others
    if name.startswith("MobileNetV3"):
        every = [{"alpha": alpha, "minimalistic": either} for alpha in (0.1, 0.75, 2.0) for either in (False, True)]
    for options in every:
        graph = torso.read_graph(name, options=options)
        declared = {node.name for node in graph if ARCHITECTURES[name].is_clean(node.name)}
        assert declared <= {node.name for node in graph.clean_cuts}, options
        assert declared, options


@pytest.mark.parametrize(
    "change", [{"name": "x"}, {"kind": "Add"}, {"inputs": ("block2_pool",)}, {"shape": (7, 7, 513)}, {"parameters": 1}, {}]
)
def test_every_fact_of_a_graph_counts(change: dict[str, Any]) -> None:
    graph = graph_of("VGG16")
    end = replace(graph.nodes[-1], **change)
    changed = replace(graph, nodes=(*graph.nodes[:-1], end), ends=(end.name,) if change else ("block2_pool", end.name))
    assert fingerprint(changed) != fingerprint(graph)


# --- levels -------------------------------------------------------------------------------------------------------------

NOT_INFERRED = {  # level: what the card declares, what the clean nodes say
    "NASNetMobile": {  # cells read the two before them, and no cut between the stem and the end is clean
        "C2": ("reduction_concat_stem_1", None),
        "C3": ("normal_concat_3", None),
        "C4": ("normal_concat_8", None),
    },
    "NASNetLarge": {
        "C2": ("reduction_concat_stem_1", None),
        "C3": ("normal_concat_5", None),
        "C4": ("normal_concat_12", None),
    },
    "InceptionResNetV2": {"C5": ("conv_7b_ac", "custom_scale_layer_39")},  # the network's own end, as in timm
}


@each_architecture
def test_the_declared_levels_are_those_that_the_graph_tells(name: str) -> None:
    declared, inferred = ARCHITECTURES[name].levels, graph_of(name).with_levels({}).levels
    differences = {
        level: (declared.get(level), inferred.get(level))
        for level in sorted({*declared, *inferred})
        if declared.get(level) != inferred.get(level)
    }
    assert differences == NOT_INFERRED.get(name, {})
    assert graph_of(name).levels == declared


OTHER_THAN_TIMM = {  # level, and which of torso's is timm's; and the channels of torso's own
    # The last 1×1 convolution widens for the head, as in EfficientNet and MobileNetV2, whose C5 timm takes before it;
    # here alone it takes it after, because it counts that convolution as a block.
    "MobileNetV3Small": ({"C5": "C5" + EXPANSION}, 96),
    "MobileNetV3Large": ({"C5": "C5" + EXPANSION}, 160),
}


@pytest.mark.parametrize("name", graphs.parameters(TIMM))
def test_the_levels_have_the_channels_that_timm_publishes(name: str) -> None:
    assert set(ARCHITECTURES) - set(TIMM) == {"NASNetMobile"}
    graph = graph_of(name)
    levels = [level for level in LEVELS if level in graph.levels]
    renamed, own = OTHER_THAN_TIMM.get(name, ({}, TIMM[name][-1]))
    assert [graph[graph.levels[renamed.get(level, level)]].channels for level in levels] == TIMM[name]
    assert levels[-1] == "C5"
    assert graph[graph.levels["C5"]].channels == own <= TIMM[name][-1]
