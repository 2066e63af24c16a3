"""Names are a function of the architecture: whatever was built before, in any process, saved and loaded."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from fresh import Fresh
from graphs import ARCHITECTURES, SEED, drawn, graph_of, parameters, registry, skeleton

import torso
from torso.artifact.manifest import fingerprint


def count_on(name: str) -> None:
    """Have Keras draw the same network in this thread, so that it counts on for each class of layer."""
    drawn = [operation.name for operation in skeleton(name)[0].operations]
    again = [operation.name for operation in skeleton(name)[0].operations]
    assert drawn != again or not any(node.is_numbered for node in graph_of(name))


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, random.Random(SEED).sample(list(ARCHITECTURES), 3)))
def test_a_second_reading_gives_the_same_graph_whatever_was_built_in_between(name: str) -> None:
    count_on(name)
    assert drawn(name) == graph_of(name)


CHEAP = ["VGG16", "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny"]


def test_a_fresh_process_gives_the_same_graphs_in_another_order(fresh_torso: Fresh) -> None:
    code = f"""
import json, torso
from torso.artifact.manifest import fingerprint
from torso.modeling.draw import headless_graph
graphs = [headless_graph(torso.plan(name, weights="none")) for name in {CHEAP!r}]
print(json.dumps({{graph.name: [fingerprint(graph), dict(graph.levels)] for graph in graphs}}))
"""
    fresh = fresh_torso(code)
    here = {name: [fingerprint(graph_of(name)), dict(graph_of(name).levels)] for name in reversed(CHEAP)}
    assert json.loads(fresh.stdout) == here


@pytest.mark.parametrize(
    "name", parameters(["MobileNetV3Small", "ConvNeXtTiny", "InceptionV3", "NASNetMobile"], ["MobileNetV3Small"])
)
def test_saving_and_loading_keeps_every_name(name: str, tmp_path: Path) -> None:
    side = max(32, ARCHITECTURES[name].input.minimum)
    spec: dict[str, Any] = {"weights": "none", "input": {"size": [side, side]}, "registry": registry()}
    backbone = torso.create_backbone(name, **spec)
    count_on(name)
    loaded = torso.load(backbone.save(tmp_path / "saved"))
    assert loaded.graph == backbone.graph
    assert loaded.graph.levels == backbone.graph.levels == ARCHITECTURES[name].levels
    assert loaded.features == backbone.features
    assert [layer.name for layer in loaded.model.operations] == [layer.name for layer in backbone.model.operations]
    assert [node.name for node in backbone.graph] == [f"{name}_input", *(node.name for node in graph_of(name).nodes[1:])]


def test_the_input_is_frozen_by_the_name_that_show_and_check_know() -> None:
    given: dict[str, Any] = {"weights": None, "truncate": {"level": "C1"}, "freeze": {"layers": ["input_layer", "Conv1"]}}
    assert torso.read_graph("MobileNetV2").nodes[0].name == "input_layer"
    backbone = torso.create_backbone("MobileNetV2", name="edge", registry=registry(), **given)
    assert backbone.graph.nodes[0].name == backbone.model.layers[0].name == "edge_input"
    assert "Conv1/kernel" not in backbone.manifest["frozen"]["trains"]
