"""The same backbone gives the same files, and a manifest says whether the weights are still those of the plan."""

from __future__ import annotations

import json
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from provider import Acme

import torso
from torso.artifact import save

SHARED = """decay = keras.regularizers.L2(0.1)  # one object in two layers: Keras writes its address
    x = layers.Conv2D(2, 3, kernel_regularizer=decay)(images)
    return keras.Model(images, layers.Conv2D(2, 3, kernel_regularizer=decay)(x))"""


def test_the_same_build_gives_the_same_bytes(tmp_path, monkeypatch):
    acme = Acme(tmp_path, body=SHARED)
    rest = []  # alive, so that the second network has other addresses
    for name, hour in ("one", 3), ("two", 5):
        monkeypatch.setattr("time.time", lambda hour=hour: 1e9 + 3600 * hour)  # by which zipfile dates what it writes
        rest.append(acme.create())
        for weight in rest[-1].model.weights:
            weight.assign(np.full(weight.shape, 0.5))
        rest[-1].save(tmp_path / name)
    for file in "model.keras", "manifest.json":
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    with ZipFile(tmp_path / "one" / "model.keras") as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
        assert b"1980-01-01@00:00:00" in archive.read("metadata.json")
        assert b'"shared_object_id": 0' in archive.read("config.json")
    assert keras.models.load_model(tmp_path / "one" / "model.keras").count_params() == 2 * 3 * 9 + 2 + 2 * 2 * 9 + 2


def weights_of(folder):
    return json.loads((folder / "manifest.json").read_text())["plan"]["weights"]


def test_weights_that_were_changed_since_are_called_so(registry, tmp_path):
    backbone = torso.create_backbone("TinyNet", weights="none", registry=registry)
    assert weights_of(backbone.save(tmp_path / "built")) == {"label": "none", "source": None}
    loaded = torso.load(tmp_path / "built")
    assert weights_of(loaded.save(tmp_path / "again")) == {"label": "none", "source": None}
    for tuned in backbone, loaded:
        tuned.model.get_layer("left").bias.assign([0, 0, 0, 1e-30])
        for _ in range(2):  # the second save is of other values than the build, too
            folder = tuned.save(tmp_path / "tuned", force=True)
            assert weights_of(folder) == {"label": "none", "source": None, "changed_since": True}
    assert weights_of(torso.load(folder).save(tmp_path / "later"))["changed_since"]
    assert ("plan.weights.changed_since", None, True) in torso.diff(tmp_path / "built", folder)


@pytest.mark.parametrize("kind", ["float16", "float64", "uint8", "bool"])
def test_a_change_of_one_bit_is_seen_in_every_type(kind):
    layer = keras.layers.Layer()
    weight = layer.add_weight(shape=(3,), dtype=kind, initializer="zeros", trainable=False)
    model = keras.Sequential([keras.Input((3,)), layer])
    assert [save.has_changed(model), save.has_changed(model)] == [False, False]
    weight.assign(np.array([0, 1, 0], kind))
    assert save.has_changed(model)
