"""Every clean cut of every architecture computes what Keras computes there, to the last bit.

Keras alone builds, runs and names the whole network; torso cuts it. A sample is tried in every run, all cuts with
``-m slow``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, SEED, SMALLEST
from networks import assert_same_and_meaningful, images, settle

from torso.graph import Graph, Node
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import draw_value, give_value, has_value, without_values, without_weights
from torso.modeling.truncate import derive, rebuild

SIDE = 64  # the deepest maps have 2×2 cells: every weight of a 3×3 window counts in one of them, and with 1×1 one in nine
MOST_VALUES = 250_000_000  # of truncated models that nothing refers to any more, until they are collected: 1 GB


@dataclass(frozen=True)
class Whole:
    """A headless network as Keras built it, with values of our own.

    Attributes:
        model: The network; its layers are named as in a process that built nothing before.
        graph: The network as torso reads it.
        pixels: Images for it.
    """

    model: keras.Model
    graph: Graph
    pixels: np.ndarray

    def cuts(self) -> list[str]:
        """The clean nodes after the input, and the nodes of the levels, which need not be clean."""
        return list(dict.fromkeys([*(node.name for node in self.graph.clean[1:]), *self.graph.levels.values()]))

    def activations(self, nodes: Iterable[str]) -> dict[str, Any]:
        """What the whole network computes at some nodes: in one run, and layer by layer inside a nested model."""
        operations = {operation.name: operation for operation in self.model.operations}
        outer = {node: operations[node.split("/")[0]] for node in nodes}
        nested = {operation.name: operation for node, operation in outer.items() if "/" in node}
        at = {node: operation.output for node, operation in outer.items() if "/" not in node}
        into = {name: operation.input for name, operation in nested.items()}
        found = keras.Model(self.model.input, [*at.values(), *into.values()])(self.pixels)
        activations = dict(zip([*at, *into], keras.tree.flatten(found), strict=True))
        for name, operation in nested.items():
            assert isinstance(operation, keras.Sequential)
            value = activations.pop(name)
            for layer in operation.layers:
                value = activations[f"{name}/{layer.name}"] = layer(value)
        return activations


def build(name: str) -> Whole:
    """The network of the published weights, built by Keras as if it were the first thing in the process."""
    keras.utils.clear_session(free_memory=False)
    side = max(SIDE, ARCHITECTURES[name].input.minimum)
    tag = "imagenet" if name.startswith("EfficientNetB") else None  # the others' graph is the same without
    with without_weights():
        model = getattr(keras.applications, name)(weights=tag, include_top=False, input_shape=(side, side, 3))
    pixels = images((side, side, 3))
    settle(model, pixels)
    graph = read_graph(model, name).with_levels(ARCHITECTURES[name].levels)
    assert graph.levels == ARCHITECTURES[name].levels
    assert {node.name.split("/")[0] for node in graph} == {operation.name for operation in model.operations}
    return Whole(model, graph, pixels)


def assert_each_cut_is_exact(whole: Whole, names: Iterable[str]) -> None:
    """The truncated model computes what the whole network does, and has its nodes and its weights up to the cut."""
    costs = whole.graph.clean_costs()
    clean = {node.name for node in whole.graph.clean}
    expected = whole.activations(names)
    left = 0
    for name in names:
        model = truncated(whole.model, name)
        assert_same_and_meaningful(model(whole.pixels), expected[name])
        kept = whole.graph.kept(name)
        cost = costs[name] if name in clean else kept.cost()
        nodes = whole.graph.nodes[: whole.graph.position(name) + 1] if name in clean else kept.nodes
        read = read_graph(model, whole.graph.name)
        assert model.count_params() == cost.parameters
        assert len(read) == cost.nodes
        assert same_names(read.nodes) == same_names(nodes)
        assert read.ends == (name,)
        left += cost.parameters
        if left > MOST_VALUES:
            left = 0
            gc.collect()


def truncated(model: keras.Model, ends: str | dict[str, str]) -> keras.Model:
    """A model of its own that ends at some nodes, made as ``create_backbone`` makes it: without values, and filled then."""
    with without_values():
        new, pairs = rebuild(model, ends, "truncated")
    for old, variable in pairs:
        give_value(variable, np.asarray(old))
    for variable in new.variables:
        if not has_value(variable):  # of a random generator
            draw_value(variable, variable)
    derive(new)
    return new


def same_names(nodes: Iterable[Node]) -> list[Node]:
    """Without the second names: that of a nested model goes to the last of its nodes that is kept."""
    return [replace(node, alias=()) for node in nodes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_cut_computes_what_keras_computes_there(name: str) -> None:
    whole = build(name)
    cuts = whole.cuts()
    unclean = set(whole.graph.levels.values()) - {node.name for node in whole.graph.clean}
    assert bool(unclean) == name.startswith("NASNet")  # whose levels are tried too
    if name in SMALLEST.values():
        return assert_each_cut_is_exact(whole, cuts)
    # Larger siblings, by the same code: one model that ends at every cut, and for each cut alone what is kept for it.
    assert_each_cut_is_exact(whole, [*Random(f"{SEED} {name}").sample(cuts, 4), *(cut for cut in cuts if "/" in cut)])
    outer = [cut for cut in cuts if "/" not in cut]
    expected, found = whole.activations(outer), truncated(whole.model, {cut: cut for cut in outer})(whole.pixels)
    for cut in outer:
        assert_same_and_meaningful(found[cut], expected[cut])
        kept = {node.name.partition("/")[0] for node in whole.graph.kept(cut)}
        assert pruned(whole.model, cut) == (kept, cut)
    return None


def pruned(model: keras.Model, end: str) -> tuple[set[str], str]:
    """The layers that a truncated model would be made of, and the one that it would end at."""

    def stop(config: dict[str, Any]) -> Any:
        raise Pruned(config)

    with pytest.raises(Pruned) as caught:
        rebuild(model, end, "truncated", change=stop)
    (config,) = caught.value.args
    return {layer["name"] for layer in config["layers"]}, keras.tree.flatten(config["output_layers"])[0]


class Pruned(Exception):
    """A configuration, before a model is made of it."""


def sample() -> list[str]:
    """Three architectures of different families, none with many weights or nodes."""
    draw = Random(SEED)
    light = [
        "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2B1", "InceptionV3", "MobileNet",
        "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "ResNet50", "ResNet50V2", "VGG16", "Xception",
    ]  # fmt: skip
    families = draw.sample(sorted({ARCHITECTURES[name].family for name in light}), 3)
    return [draw.choice([name for name in light if ARCHITECTURES[name].family == family]) for family in families]


@pytest.mark.parametrize("name", sample())
def test_some_cuts_compute_what_keras_computes_there(name: str) -> None:
    whole = build(name)
    assert_each_cut_is_exact(whole, Random(f"{SEED} {name}").sample(whole.cuts(), 3))
