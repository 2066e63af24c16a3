"""Pyramids and twins: backbones with several outputs, and several backbones in one graph."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, save_listed, settle
from provider import Acme, told

import torso

SIZE = 64


@pytest.fixture(scope="module")
def resnet():
    """Keras' own, with values that mean something."""
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    settle(model, images((SIZE, SIZE, 3)))
    return model


@pytest.fixture(scope="module")
def weights(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet50.h5"
    save_listed(resnet, path)
    return {"file": str(path)}


def backbone(registry, weights, **spec):
    return torso.create_backbone("ResNet50", weights=weights, input={"size": [SIZE, SIZE]}, registry=registry, **spec)


def test_a_pyramid_gives_each_level_by_name_in_the_order_asked_for(registry, resnet, weights):
    pyramid = backbone(registry, weights, truncate={"levels": ["C4", "C2", "C3"]})
    pixels = images((SIZE, SIZE, 3))
    given = pyramid.model(pixels)
    assert list(given) == ["C4", "C2", "C3"]
    for feature in pyramid.features:
        assert_same_and_meaningful(
            given[feature.level], keras.Model(resnet.input, resnet.get_layer(feature.node).output)(pixels)
        )
    assert [(feature.name, feature.level, feature.stride, feature.channels) for feature in pyramid.features] == [
        ("C4", "C4", 16, 1024),
        ("C2", "C2", 4, 256),
        ("C3", "C3", 8, 512),
    ]
    assert pyramid.graph.ends == ("conv4_block6_out", "conv2_block3_out", "conv3_block4_out")
    assert "conv5_block1_1_conv" not in pyramid.graph
    assert dict(pyramid.graph.levels) == {
        "C1": "conv1_relu", "C2": "conv2_block3_out", "C3": "conv3_block4_out", "C4": "conv4_block6_out",
    }  # fmt: skip


def test_a_pyramid_is_loaded_as_it_was_saved_and_by_plain_keras_too(registry, weights, tmp_path, plain_keras):
    pyramid = backbone(registry, weights, truncate={"levels": ["C3", "C1"]})
    pixels = images((SIZE, SIZE, 3))
    expected = pyramid.model(pixels, training=True)
    again = torso.load(pyramid.save(tmp_path / "saved"))
    assert (again.features, again.graph) == (pyramid.features, pyramid.graph)
    given = again.model(pixels)
    assert list(given) == ["C3", "C1"]
    for level in given:
        assert_same_and_meaningful(given[level], expected[level])
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import keras, numpy\n"
        "given = keras.models.load_model('saved/model.keras')(numpy.load('pixels.npy'))\n"
        "assert list(given) == ['C3', 'C1']\n"
        "numpy.save('c1.npy', given['C1'])\n"
    )
    plain_keras(code, cwd=tmp_path)
    assert_same_and_meaningful(np.load(tmp_path / "c1.npy"), expected["C1"])


def test_layers_give_the_outputs_of_nodes_by_name_those_in_branches_too(registry, resnet, weights):
    names = ["conv2_block2_2_relu", "conv2_block3_out"]
    taps = backbone(registry, weights, truncate={"layers": names})
    pixels = images((SIZE, SIZE, 3))
    for (name, values), expected in zip(taps.model(pixels).items(), names, strict=True):
        assert name == expected
        assert_same_and_meaningful(values, keras.Model(resnet.input, resnet.get_layer(name).output)(pixels))
    assert [(feature.name, feature.level) for feature in taps.features] == [(names[0], None), (names[1], "C2")]


def test_levels_that_are_declared_and_not_clean_can_be_taken(registry):
    levels = {"levels": ["C2", "C3", "C4"]}
    built = torso.create_backbone(
        "NASNetMobile", weights="none", input={"size": [64, 64]}, truncate=levels, registry=registry
    )
    given = built.model(images((64, 64, 3)))
    shapes = [(name, values.shape[1:]) for name, values in given.items()]
    assert shapes == [("C2", (16, 16, 44)), ("C3", (8, 8, 264)), ("C4", (4, 4, 528))]
    assert [feature.stride for feature in built.features] == [4, 8, 16]


def test_twins_of_one_architecture_stand_in_one_network_under_their_names(registry, resnet, weights, tmp_path):
    left = backbone(registry, weights, name="left", truncate={"level": "C3"})
    right = backbone(registry, weights, name="right", truncate={"level": "C2"})
    assert (left.model.name, right.model.name) == ("left", "right")
    inputs = [keras.Input((SIZE, SIZE, 3), name="a"), keras.Input((SIZE, SIZE, 3), name="b")]
    pooled = [keras.layers.GlobalAveragePooling2D()(twin.model(x)) for twin, x in zip((left, right), inputs, strict=True)]
    siamese = keras.Model(inputs, keras.layers.Concatenate()(pooled))
    siamese.save(tmp_path / "siamese.keras")
    again = keras.models.load_model(tmp_path / "siamese.keras")
    pixels = [images((SIZE, SIZE, 3)), images((SIZE, SIZE, 3), seed=9)]
    expected = np.concatenate(
        [
            np.mean(keras.Model(resnet.input, resnet.get_layer(name).output)(x), axis=(1, 2))
            for name, x in zip(("conv3_block4_out", "conv2_block3_out"), pixels, strict=True)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(again(pixels), expected, rtol=1e-5, atol=1e-6)
    assert_same_and_meaningful(again(pixels), siamese(pixels))


@pytest.mark.parametrize("architecture", ["EfficientNetB0", "ConvNeXtTiny"])
def test_the_name_of_a_backbone_has_no_bearing_on_its_weights_file(architecture, registry):
    plans = [torso.plan(architecture, name=name, registry=registry) for name in ("left", "right")]
    assert plans[0].weights.request == plans[1].weights.request
    assert "left" not in str(plans[0].weights.address)
    built, other = (
        torso.create_backbone(architecture, name=name, weights="none", truncate={"level": "C2"}, registry=registry)
        for name in ("left", "right")
    )
    assert (built.model.name, built.graph.nodes[0].name) == ("left", "left_input")
    assert built.record.graph == other.record.graph


def test_what_is_dropped_is_gone_from_memory_and_from_the_file(registry, tmp_path, monkeypatch):
    seen: list[weakref.ref[Any]] = []
    original = keras.applications.VGG16

    def watched(**arguments):
        model = original(**arguments)
        dropped = [model.get_layer(name) for name in ("block4_conv1", "block5_conv3")]
        seen.extend(map(weakref.ref, [model, *dropped]))
        return model

    monkeypatch.setattr(keras.applications, "VGG16", watched)
    built = torso.create_backbone(
        "VGG16", weights="none", input={"size": [32, 32]}, truncate={"level": "C2"}, registry=registry
    )
    gc.collect()
    assert [reference() for reference in seen] == [None, None, None]
    kept = sum(node.parameters for node in built.graph)
    assert kept == built.model.count_params() == 1_735_488  # of 14,714,688
    folder = built.save(tmp_path / "saved")
    assert 4 * kept < (folder / "model.keras").stat().st_size < 4 * kept + 60_000  # and the configuration of 12 layers


STAGES = """
def build(*, input_shape):
    def stage(channels, name, shape):
        inner = keras.Input(shape)
        x = layers.Conv2D(channels, 3, strides=2, padding="same", name="conv")(inner)
        return keras.Model(inner, layers.ReLU(name="out")(x), name=name)

    inputs = keras.Input(input_shape, name="image")
    first = stage(4, "stage1", input_shape)(inputs)
    both = keras.Sequential([stage(6, "stage2", first.shape[1:]), layers.BatchNormalization(name="norm")], name="body")
    return keras.Model(inputs, stage(8, "stage3", (4, 4, 6))(both(first)))
"""


def test_a_pyramid_of_nested_stages_is_cut_where_they_end(tmp_path):
    acme = Acme(tmp_path, STAGES)
    assert dict(acme.graph().levels) == {"C1": "stage1/out", "C2": "body/norm", "C3": "stage3/out"}
    pyramid = acme.create(truncate={"levels": ["C1", "C2"]})
    assert [(feature.name, feature.node, feature.shape) for feature in pyramid.features] == [
        ("C1", "stage1/out", (8, 8, 4)),
        ("C2", "body/norm", (4, 4, 6)),
    ]
    pixels = images((16, 16, 3))
    given = pyramid.model(pixels)
    assert_same_and_meaningful(given["C1"], pyramid.model.get_layer("stage1")(pixels))
    assert_same_and_meaningful(given["C2"], pyramid.model.get_layer("body")(given["C1"]))
    with pytest.raises(torso.CutError) as caught:
        acme.create(truncate={"layers": ["stage1", "body/stage2"]})
    assert told(caught.value) == (
        "'body/stage2' lies inside a nested model: only one output can end there, and if that model is called once "
        "(argument truncate.layers)\n"
        "  fix: cut after a call of that model, or let the builder not nest its models"
    )
    alone = acme.create(truncate={"layer": "body/stage2"})
    assert alone.features[0].node == "body/stage2/out"
    assert alone.model(pixels).shape == (2, 4, 4, 6)
