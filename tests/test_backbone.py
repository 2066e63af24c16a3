"""A backbone from a name or a spec, saved and loaded; tests/test_lean.py compares what it computes with Keras."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images

import torso


def test_names_are_those_that_keras_gives_in_a_fresh_process(registry, plain_keras):
    fresh = plain_keras(
        "import keras; m = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(96, 96, 3));"
        "print([layer.name for layer in m.layers])"
    )
    keras.layers.Conv2D(1, 1)
    backbone = torso.create_backbone("InceptionV3", weights="none", input={"size": [96, 96]}, registry=registry)
    assert str(["input_layer", *(layer.name for layer in backbone.model.layers[1:])]) == fresh.stdout.strip()


def test_load_gives_back_what_was_saved(tmp_path, registry):
    backbone = torso.create_backbone(
        "MobileNetV2", options={"alpha": 0.35}, weights="none", input={"size": [64, 64]}, registry=registry,
        truncate={"layer": "block_6_expand_relu"}, name="edge",
    )  # fmt: skip
    loaded = torso.load(backbone.save(tmp_path / "edge"))
    assert loaded.name == "edge"
    assert loaded.features == backbone.features
    assert loaded.graph.nodes == backbone.graph.nodes
    pixels = images((64, 64, 3))
    assert_same_and_meaningful(loaded.model(loaded.preprocess(pixels)), backbone.model(backbone.preprocess(pixels)))
    told = json.loads(json.dumps(backbone.manifest))
    told["frozen"]["lost_by_keras"] = []
    assert {key: loaded.manifest[key] for key in told} == told


def test_what_a_backbone_was_compiled_with_is_not_saved(tmp_path, registry):
    def own_loss(wanted, given):
        return keras.ops.mean(given - wanted)

    backbone = torso.create_backbone(
        "MobileNetV2", weights="none", input={"size": [32, 32]}, truncate={"level": "C1"}, freeze="none", registry=registry
    )
    backbone.model.compile("adam", own_loss)
    backbone.model.fit(images((32, 32, 3)), np.zeros((2, *backbone.features[0].shape)), verbose=0)
    config = backbone.model.get_config()
    folder = backbone.save(tmp_path / "edge")
    plain = keras.models.load_model(folder / "model.keras")  # own_loss could not be found
    assert not plain.compiled
    assert json.dumps(plain.get_config()) == json.dumps(config)
    assert_same_and_meaningful(plain(images((32, 32, 3))), backbone.model(images((32, 32, 3))))
    assert backbone.model.compiled
    with zipfile.ZipFile(folder / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as values:
        assert "optimizer" not in values


def test_get_base_model_does_the_five_steps_in_one_call():
    model = torso.get_base_model("mobilenetv2", 0.35, "block_12_add", weights="none", input={"size": [96, 96]})
    assert isinstance(model, keras.Model)
    assert model.output_shape == (None, 6, 6, 32)
    assert not model.trainable
    popped = torso.get_base_model("VGG16", pop_layers=1, weights="none", input={"size": [32, 32]})
    assert popped.layers[-1].name == "block5_conv3"


def test_get_base_model_refuses_two_cuts_and_an_alpha_that_the_network_does_not_have():
    with pytest.raises(torso.OptionError, match="training_layer 'block1_pool' and pop_layers 2 are two cuts: give one of"):
        torso.get_base_model("VGG16", training_layer="block1_pool", pop_layers=2)
    with pytest.raises(torso.OptionError, match="no parameter and no option of VGG16 is called 'alpha'"):
        torso.get_base_model("VGG16", alpha=0.5)


def test_load_specs_plans_all_and_builds_each_once(tmp_path, registry):
    spec = tmp_path / "b.yaml"
    spec.write_text(
        "version: 1\n"
        "defaults: {weights: none, input: {size: [32, 32]}}\n"
        "backbones:\n"
        "  one: {architecture: VGG16, truncate: {layer: block1_pool}}\n"
        "  two: {architecture: ResNet50}\n"
    )
    backbones = torso.load_specs(spec, registry=registry)
    assert list(backbones) == ["one", "two"]
    assert backbones["one"] is backbones["one"]
    assert backbones["one"].model.name == "one"
    assert "two" not in backbones._built


def test_a_layer_that_is_not_there_is_placed_in_the_spec(tmp_path, registry, monkeypatch):
    spec = tmp_path / "b.yaml"
    spec.write_text(
        "version: 1\nbackbones:\n  one:\n    architecture: VGG16\n    weights: none\n    truncate: {layer: block1_pol}\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(torso.UnknownNameError) as caught:
        torso.load_specs("b.yaml", registry=registry)["one"]
    assert str(caught.value) == (
        "node 'block1_pol' is not in VGG16 (at b.yaml:6:23, $.backbones.one.truncate.layer)\n"
        "  did you mean: 'block1_pool'  (MaxPooling2D, stride 2, 64 channels), or 'block5_pool' or 'block4_pool'\n"
        "  clean cuts: block5_pool, block5_conv3, block5_conv2, block5_conv1, block4_pool, block4_conv3, "
        "… and 12 more"
    )


SMALL: dict[str, Any] = {"weights": "none", "truncate": {"layer": "block1_conv1"}, "input": {"size": [32, 32]}}


def test_force_replaces_a_backbone_and_nothing_else(tmp_path, registry):
    backbone = torso.create_backbone("VGG16", registry=registry, **SMALL)
    backbone.save(backbone.save(tmp_path / "one"), force=True)
    (tmp_path / "one" / "thesis.tex").write_text("years")
    with pytest.raises(torso.OutputExistsError, match="not an earlier result, or holds other files too"):
        backbone.save(tmp_path / "one", force=True)
    assert (tmp_path / "one" / "thesis.tex").read_text() == "years"


def test_a_list_of_architectures_is_sorted_as_people_sort(registry):
    assert torso.list_architectures("resnet*", registry=registry) == (
        "ResNet50", "ResNet50V2", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2",
    )  # fmt: skip
