"""A classifier on top of each architecture, saved by Keras in all its formats, gives torso's backbone the same bits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, SEED, parameters, registry
from keras import layers
from networks import randomize

import torso
from torso.model_config.layer_names import canonical_names
from torso.modeling.keras_private import without_weights

FILES = ["w.keras", "w.weights.h5", "w.h5"]
LIGHT = ["MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "Xception"]


def classifiers(name: str, side: int) -> Iterator[tuple[str, keras.Model, keras.Model]]:
    """The form, the backbone that Keras built, and the classifier with it; or a part of it."""
    shape, tag = (side, side, 3), "imagenet" if name.startswith("EfficientNetB") else None
    with without_weights():
        bases = [getattr(keras.applications, name)(include_top=False, weights=tag, input_shape=shape) for _ in range(2)]
    base, other = bases
    inputs = keras.Input(shape)
    pooled = layers.GlobalAveragePooling2D()
    yield "functional", base, keras.Model(base.input, layers.Dense(3)(pooled(base.output)))
    parts = [keras.Input(shape), layers.Rescaling(2.0), other, pooled, layers.Dense(3)]
    yield "sequential", other, keras.Sequential(parts)
    x = layers.Normalization(name="scale")(keras.Sequential([layers.RandomFlip()])(inputs))
    yield "nested", other, keras.Model(inputs, layers.Dense(3)(pooled(other(x))))
    x = layers.Dense(8, activation="relu")(pooled(base.call(x)))  # its layers, and no model of their own
    yield "preprocessed", base, keras.Model(inputs, layers.Dense(3)(layers.LayerNormalization(name="norm")(x)))
    yield "part", base, base


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, [Random(SEED).choice(LIGHT)]))
def test_a_classifier_gives_its_backbone_the_same_bits(name: str, tmp_path: Path) -> None:
    random = Random(f"{SEED} {name}")
    side = max(64, ARCHITECTURES[name].input.minimum)
    cuts = [node.name for node in torso.read_graph(name, registry=registry()).clean if node.is_map and "/" not in node.name][
        1:
    ]
    for form, base, model in classifiers(name, side):
        randomize(model)
        truncate = {"layer": random.choice(cuts)} if form == "part" or random.random() < 0.5 else "none"
        spec = {"registry": registry(), "truncate": truncate, "input": {"size": [side, side]}}
        if form == "part":  # as torso has it, and without a warning: that is an error here
            model = base = torso.create_backbone(name, weights="none", **spec).model
        path = tmp_path / random.choice(FILES)
        logging.disable(logging.WARNING)  # "this format is considered legacy"
        model.save_weights(path) if path.name == "w.weights.h5" else model.save(path)
        logging.disable(logging.NOTSET)
        with warnings.catch_warnings():
            warnings.filterwarnings("error" if form == "part" else "ignore", ".* left over")
            backbone = torso.create_backbone(name, weights={"file": path}, **spec)
        names = canonical_names((op.name, type(op).__name__) for op in base.operations)
        (end,) = [op for op in base.operations if names[op.name] == backbone.features[0].node]
        plain = keras.Model(base.input, end.output)
        for ours, theirs in zip(backbone.model.weights, plain.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs, f"{form} {path.name} {truncate} {ours.path}")
        path.unlink()
