"""L2 is in the loss that plain Keras computes, in memory and after loading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from provider import Acme

import torso
from torso.artifact.lock import Lock
from torso.modeling.variable_paths import variables_by_path

KERNELS, ALL = ".*kernel", r".*kernel|norm\d/(gamma|beta)|.*/bias"
SEEDED: dict[str, Any] = {"weights": {"none": {"seed": 3}}}


def losses(model: keras.Model) -> list[float]:
    return sorted(map(float, model.losses))


def expected(model: keras.Model, pattern: str) -> list[float]:
    variables = (one for path, one in variables_by_path(model).items() if re.fullmatch(pattern, path))
    return sorted(float(keras.regularizers.L2(0.01)(one)) for one in variables)


@pytest.mark.filterwarnings("ignore:plain Keras loses the flags of attention:torso.FreezeWarning")
@pytest.mark.parametrize(
    ("asked", "pattern", "count"),
    [(0.01, KERNELS, 10), ({"l2": 0.01, "norm": True, "bias": True}, ALL, 26)],
)
def test_plain_keras_has_the_loss_terms_in_memory_and_after_loading(
    attentive: Acme, tmp_path: Path, asked: Any, pattern: str, count: int
) -> None:
    backbone, bare = (attentive.create(freeze="none", **SEEDED, **spec) for spec in ({"regularize": asked}, {}))
    assert all(map(np.array_equal, backbone.model.get_weights(), bare.model.get_weights()))
    assert (losses(bare.model), len(backbone.model.losses)) == ([], count)
    np.testing.assert_allclose(losses(backbone.model), expected(backbone.model, pattern), rtol=1e-6)
    folder = backbone.save(tmp_path / "saved")
    for loaded in torso.load(folder).model, keras.models.load_model(folder / "model.keras"):
        assert losses(loaded) == losses(backbone.model)
    assert torso.verify(folder).holds
    classifier = keras.Sequential([backbone.model, keras.layers.Flatten(), keras.layers.Dense(1)])
    classifier.build((None, *backbone.model.input_shape[1:]))
    assert losses(classifier) == losses(backbone.model)
    backbone.unfreeze(from_level="C3")  # Keras counts what trains
    assert 0 < len(backbone.model.losses) < count
    backbone.freeze()
    assert losses(backbone.model) == []


def test_plan_manifest_fingerprint_and_lock_tell_of_it(acme: Acme, tmp_path: Path) -> None:
    specs: tuple[dict[str, Any], ...] = {}, {"regularize": 0.1}, {"regularize": {"l2": 0.2}}, {"regularize": 0}
    plain, light, heavy, zero = (acme.create(**SEEDED, **spec) for spec in specs)
    assert heavy.manifest["plan"]["regularize"] == {"l2": 0.2, "norm": False, "bias": False}
    assert (plain.graph, plain.manifest["plan"]["regularize"]) == (zero.graph, zero.manifest["plan"]["regularize"])
    assert len({one.manifest["graph"]["fingerprint"] for one in (plain, light, heavy, zero)}) == 3
    assert all(map(np.array_equal, light.model.variables, heavy.model.variables))  # the states of random generators, too
    with pytest.raises(torso.IntegrityError, match=r"plan\.regularize\.l2: 0\.2, locked is 0\.1"):
        Lock.of(tmp_path / "a.lock.json", [light.record]).check_manifest(heavy.record)


def test_a_spec_has_it_as_a_key_and_as_a_default(acme: Acme, tmp_path: Path) -> None:
    spec = "version: 1\ndefaults: {regularize: 1e-4, weights: none, architecture: Net}\nbackbones:\n  a: {}\n"
    spec += "  b: {regularize: {l2: 0, bias: true}}\n  c: {regularize: {l2: 1, bias: true}}\n"
    (tmp_path / "s.yaml").write_text(spec)
    plans = torso.load_specs(tmp_path / "s.yaml", registry=acme.registry).plans
    a, b, c = (dict(plan.regularize) for plan in plans.values())
    assert (a, b) == ({"l2": 0.0001, "norm": False, "bias": False}, {})
    assert c == {"l2": 1.0, "norm": False, "bias": True}
    assert "    regularize: {l2: 1, bias: true}\n" in plans["c"].declared


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"l2": -1}, "l2 cannot be '-1' (argument regularize.l2)\n  known: 0 or more"),
        ({"l1": 1, "l2": 1}, "regularize has no option 'l1' (argument regularize.l1)\n  known: l2, norm, bias"),
        ({"norm": True}, "regularize needs the option 'l2': a number (argument regularize)"),
        ("strong", "l2 must be a number, not the text 'strong' (argument regularize)"),
        (1, "no layer of Net takes a regularizer\n  fix: leave regularize out"),
    ],
)
def test_what_is_no_l2_is_refused(tmp_path: Path, asked: Any, text: str) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        Acme(tmp_path, body="return keras.Model(images, layers.MaxPooling2D(name='pool')(images))").create(regularize=asked)
    assert str(caught.value) == text


def test_layers_in_models_and_wrappers_count(tmp_path: Path) -> None:
    body = """inner = keras.Sequential([layers.SeparableConv2D(3, 3, name="one")], name="inner")
    return keras.Model(images, layers.TimeDistributed(layers.Conv1D(2, 1, name="two"), name="each")(inner(images)))"""
    backbone = Acme(tmp_path, body=body).create(regularize={"l2": 0.01}, freeze="none")
    np.testing.assert_allclose(losses(backbone.model), expected(backbone.model, KERNELS), rtol=1e-6)
    assert len(losses(backbone.model)) == 3
