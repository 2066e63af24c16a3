"""Two backbones, or a head on a loaded one, in one Keras model: no two names clash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images
from provider import SHAPE, Acme

import torso

Make = Callable[..., Acme]
UNNAMED = """x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x) + x
    inner = keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.5)], name="inner")
    return keras.Model(images, layers.Conv2D(6, 3, strides=2, name="end")(inner(x)))"""


def joined(one: keras.Model, other: keras.Model) -> keras.Model:
    """One model of two, flat."""
    outputs = [keras.layers.GlobalAveragePooling2D()(model.output) for model in (one, other)]
    return keras.Model([one.input, other.input], keras.layers.Concatenate()(outputs))


def test_two_architectures_stand_in_one_model_on_their_own_inputs(make: Make, tmp_path: Path) -> None:
    first = make(body="return keras.Model(images, layers.Conv2D(4, 3, name='one')(images))").create(name="left")
    other = make(body="return keras.Model(images, layers.Conv2D(5, 3, name='two')(images))").create(name="right")
    both = joined(first.model, torso.load(other.save(tmp_path / "right")).model)
    assert [layer.name for layer in both.layers[:2]] == ["left_input", "right_input"]
    assert [node.name for node in first.graph] == ["left_input", "one"]
    pixels = images(SHAPE)
    np.testing.assert_allclose(both([pixels, pixels])[:, :4], np.mean(first.model(pixels), (1, 2)), 1e-5)


@pytest.mark.filterwarnings("ignore:plain Keras loses the flags of left_attention:torso.FreezeWarning")
def test_two_copies_stand_in_one_model_under_a_prefix(make: Make, tmp_path: Path) -> None:
    acme = make(body=UNNAMED, more='levels={"C2": "end"}')
    plain = acme.create(truncate="none")
    spec: dict[str, Any] = {"truncate": {"layer": "end"}, "freeze": {"through": "end"}}
    left, right = (acme.create(prefix=f"{side}_", **spec) for side in ("left", "right"))
    assert [node.name for node in left.graph] == [f"left_{node.name}" for node in plain.graph]
    assert left.graph.levels["C2"] == left.features[0].node == "left_end"
    assert left.manifest["plan"]["prefix"] == "left_"
    loaded = torso.load(left.save(tmp_path / "left"))
    assert loaded.graph == left.graph
    assert loaded.features == left.features
    assert torso.verify(tmp_path / "left").holds
    both = joined(loaded.model, right.model)
    assert both([images(SHAPE)] * 2).shape == (2, 12)
    assert len({layer.name for layer in both.layers}) == len(both.layers)
    left.unfreeze(from_level="C2")
    assert {"left_end/kernel", "left_end/bias"} <= {*left.record.frozen.trains}


def test_a_head_on_a_loaded_backbone_gets_other_names(make: Make, tmp_path: Path) -> None:
    backbone = make(body="return keras.Model(images, layers.Conv2D(4, 3)(images))").create()
    folder = backbone.save(tmp_path / "saved")
    keras.utils.clear_session()  # as in a new process
    loaded = torso.load(folder).model
    head = keras.Model(loaded.input, keras.layers.Conv2D(2, 1)(loaded.output))
    assert [layer.name for layer in head.layers] == ["Net_input", "conv2d", "conv2d_1"]


@pytest.mark.parametrize("prefix", ["a/b", "-x", "é"])
def test_a_prefix_that_keras_may_refuse_is_refused(make: Make, prefix: str) -> None:
    with pytest.raises(torso.SpecError, match=rf"a prefix cannot be called '{prefix}' \(argument prefix\)"):
        make().create(prefix=prefix)
