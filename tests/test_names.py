"""Names are a function of the architecture: whatever was built before, in any process, saved and loaded."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import keras
import pytest
from fresh import Fresh
from graphs import ARCHITECTURES, SEED, graph_of, parameters, registry

import torso
from torso.artifact.manifest import fingerprint

CLASSES = (
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Cropping2D", "Dropout", "ELU",
    "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GroupNormalization", "Identity", "LayerNormalization",
    "LeakyReLU", "MaxPooling2D", "Maximum", "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Softmax",
    "SpatialDropout2D", "Subtract", "UpSampling2D", "ZeroPadding2D",
)  # fmt: skip


def unrelated() -> None:
    """Make unnamed layers and ops of many classes, those of the networks among them, so that Keras counts on for each."""
    arguments: dict[str, Any] = {"Activation": "relu", "Dropout": 0.5, "SpatialDropout2D": 0.5, "Rescaling": 2.0}
    arguments |= {"GroupNormalization": 2, "AveragePooling2D": 2}
    for name in CLASSES:
        getattr(keras.layers, name)(*[arguments[name]] if name in arguments else [])
    for number in range(3):
        inputs = keras.Input((8, 8, 4))
        x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
        x = keras.layers.DepthwiseConv2D(3, padding="same")(keras.layers.SeparableConv2D(4, 1)(x))
        x = keras.ops.relu6(x + 3.0) * (1.0 / 6.0) - keras.ops.sigmoid(x) / 2.0
        x = keras.ops.hard_silu(keras.ops.pad(keras.layers.Dense(4)(x), [[0, 0], [1, 0], [0, 0], [0, 0]])[:, 1:])
        x = keras.layers.Reshape((64, 4))(keras.layers.Concatenate()([x, inputs])[..., number : number + 4])
        keras.Sequential([keras.layers.Dense(1), keras.layers.ReLU()])(x)


def test_the_unrelated_layers_make_keras_count_on() -> None:
    unrelated()
    after = {layer.name for layer in (keras.layers.Conv2D(1, 1), keras.layers.Add(), keras.layers.LayerNormalization())}
    assert not after & {"conv2d", "add", "layer_normalization"}


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, random.Random(SEED).sample(list(ARCHITECTURES), 3)))
def test_a_second_reading_gives_the_same_graph_whatever_was_built_in_between(name: str) -> None:
    first = graph_of(name)
    unrelated()
    second = torso.read_graph(name, registry=registry())
    assert second is not first
    assert second == first


CHEAP = ["VGG16", "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny"]


def test_a_fresh_process_gives_the_same_graphs_in_another_order(fresh_torso: Fresh) -> None:
    code = f"""
import json, torso
from torso.artifact.manifest import fingerprint
graphs = [torso.read_graph(name) for name in {CHEAP!r}]
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
    unrelated()
    loaded = torso.load(backbone.save(tmp_path / "saved"))
    assert loaded.graph == backbone.graph
    assert loaded.graph.levels == backbone.graph.levels == ARCHITECTURES[name].levels
    assert loaded.features == backbone.features
    assert [layer.name for layer in loaded.model.operations] == [layer.name for layer in backbone.model.operations]
    assert [node.name for node in backbone.graph] == [node.name for node in graph_of(name)]
