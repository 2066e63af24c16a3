"""Global pooling after each output, as Keras' own ``pooling=``; and what a backbone is in a Keras user's hands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, settle
from provider import SHAPE, Acme

import torso

Make = Callable[..., Acme]


def test_a_pooled_network_is_that_of_keras() -> None:
    given: dict[str, Any] = {"input_shape": (32, 32, 3), "weights": None}
    backbone = torso.create_backbone("mobilenet_v2", alpha=0.35, pooling="avg", **given)
    plain = keras.applications.MobileNetV2(alpha=0.35, include_top=False, pooling="avg", **given)
    settle(plain, images((32, 32, 3)))
    backbone.model.set_weights(plain.get_weights())
    assert_same_and_meaningful(backbone.model(images((32, 32, 3))), plain(images((32, 32, 3))))
    assert backbone.model.layers[-1].name == "global_average_pooling2d"


@pytest.mark.parametrize(("kind", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_every_output_is_pooled_in_model_manifest_and_export(
    make: Make, tmp_path: Path, kind: str, reduce: Callable[..., np.ndarray]
) -> None:
    acme = make()
    acme.written()
    spec: dict[str, Any] = {"truncate": {"layers": ["join", "stem"]}, "freeze": {"through": "stem"}}
    backbone, maps = acme.create(pooling=kind, prefix="p_", **spec), acme.create(**spec)
    pixels = images(SHAPE)
    found, wanted = backbone(pixels), maps(pixels)
    assert list(found) == ["join", "stem"]
    for name in found:
        np.testing.assert_allclose(found[name], reduce(np.asarray(wanted[name]), axis=(1, 2)), rtol=1e-5)
    stem = f"global_{'average' if kind == 'avg' else kind}_pooling2d"
    features = [(one.name, one.node, one.stride, one.shape) for one in backbone.features]
    assert features == [("join", f"p_{stem}", None, (4,)), ("stem", f"p_{stem}_1", None, (4,))]
    assert backbone.manifest["plan"]["pooling"] == kind
    folder = backbone.save(tmp_path / "saved")
    assert torso.verify(folder).holds
    loaded = torso.load(folder)
    assert_same_and_meaningful(loaded(pixels)["join"], found["join"])
    loaded.unfreeze(from_node="p_left")
    loaded.freeze()
    assert loaded.model.trainable_weights == []
    exported = loaded.export(tmp_path / "exported", to="saved_model", registry=acme.registry)
    assert (exported / "export.json").exists()


@pytest.mark.parametrize("truncate", [{"layer": "drop"}, {"layers": ["stem", "drop"]}])
def test_what_is_frozen_through_the_last_map_is_all_that_is_pooled(make: Make, truncate: Any) -> None:
    assert make().create(pooling="avg", truncate=truncate, freeze={"through": "drop"}).model.trainable_weights == []


def test_pooling_is_locked_and_refused_where_there_is_no_map(make: Make) -> None:
    acme = make()
    planned = torso.plan("Net", registry=acme.registry, weights=None, pooling="avg")
    assert planned.report()["pooling"] == "avg"
    tokens = make(body="return keras.Model(images, layers.Conv1D(4, 1)(layers.Reshape((-1, 3))(images)))")
    with pytest.raises(torso.CutError, match=r"pooling avg takes feature maps, and Net gives \(256, 4\)"):
        tokens.create(pooling="avg")


def test_a_backbone_is_called_shown_and_summed_up(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = make().create(name="edge", truncate={"layer": "join"})
    pixels = images(SHAPE)
    assert_same_and_meaningful(backbone(pixels), backbone.model(backbone.preprocess(pixels)))
    inputs = keras.Input(SHAPE)
    assert keras.Model(inputs, backbone(inputs)).output_shape == (None, 8, 8, 4)
    assert repr(backbone) == "<Backbone 'edge': acme/Net, ends at join 8×8×4, 0 of 276 parameters train>"
    backbone.summary()
    assert capsys.readouterr().out.split("\n") == [
        "name  ends at  stride  shape  kept  trains  dropped",
        "────  ───────  ──────  ─────  ────  ──────  ───────",
        "edge  join          2  8×8×4   276       0      222",
        "",
    ]


def test_get_base_model_takes_the_keywords_of_keras(make: Make) -> None:
    registry = make().registry
    model = torso.get_base_model(
        "net", training_layer="stem", registry=registry, input_shape=SHAPE, weights=None, pooling="max"
    )
    assert model.output_shape == (None, 4)
    assert torso.preprocess_for(model)(images(SHAPE)).shape == (2, *SHAPE)
    assert torso.get_base_model("net", pop_layers=1, registry=registry, weights=None).layers[-1].name == "drop"
    with pytest.raises(torso.OptionError, match="the model 'other' is not of get_base_model"):
        torso.preprocess_for(keras.Sequential(name="other"))
    for wrong in {"truncate": "none"}, {"include_top": False}, {"pooling": "mean"}, {"input_shape": 3}, {"pop_layers": "x"}:
        with pytest.raises(torso.TorsoError):
            torso.get_base_model("net", registry=registry, weights=None, **wrong)


def test_names_of_a_spec_are_printed(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\ndefaults: {architecture: VGG16, pooling: avg}\nbackbones: {a: {pooling: none}, b: {}}\n"
    )
    backbones = torso.load_specs(tmp_path / "s.yaml")
    assert str(backbones) == "<Backbones: a, b>"
    assert [plan.pooling for plan in backbones.plans.values()] == [None, "avg"]


def test_architectures_are_searched_and_limited(make: Make) -> None:
    every = torso.Registry.load(discover=False)
    find = torso.list_architectures
    assert find(["vgg", "mobilenet_v2*"], exclude="*19", registry=every) == ("MobileNetV2", "VGG16")
    assert find("mobile", max_parameters=2.5e6, sort="macs", registry=every) == ("MobileNetV3Small", "MobileNetV2")
    assert find("resnet", family="resnet", licence="mit", sort="top1", registry=every) == (
        "ResNet152",
        "ResNet101",
        "ResNet50",
    )
    assert find("nothing*", registry=every) == ()
    with pytest.warns(UserWarning, match="left out, as their macs are unknown: acme/Net"):
        assert find(max_macs=1e9, registry=make().registry, sort="parameters")[0] == "MobileNetV3Small"
    with pytest.raises(torso.OptionError, match="sort cannot be 'size'"):
        find(sort="size", registry=every)
    with pytest.raises(torso.UnknownNameError, match="no architecture here has the family 'Mobile'"):
        find(family="Mobile", registry=every)
