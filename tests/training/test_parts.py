"""Variables by level are those of the layers up to it; body and tail are the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, randomize
from provider import SHAPE, Acme

import torso
from torso.modeling.variable_paths import variables_by_path

PIXELS = images(SHAPE) / 255


def test_every_weight_is_in_the_level_that_its_layer_leads_to(attentive: Acme, tmp_path: Path) -> None:
    backbone = attentive.create()
    paths = {id(variable): path for path, variable in variables_by_path(backbone.model).items()}
    found = {level: [paths[id(one)] for one in part] for level, part in backbone.variables_by_level().items()}
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    names = [("down", ("kernel", "bias")), ("deep", ("kernel", "bias")), ("norm", norm)]
    for level in "123":
        assert found[f"C{level}"] == [f"{name}{level}/{own}" for name, every in names for own in every]
    assert list(found) == ["C1", "C2", "C3", "end"]
    assert [path.split("/")[0] for path in found["end"]] == ["attention"] * 8
    assert {path for part in found.values() for path in part} == {paths[id(one)] for one in backbone.model.weights}
    assert list(attentive.create(truncate={"level": "C2"}).variables_by_level()) == ["C1", "C2"]
    flat = Acme(tmp_path, body="return keras.Model(images, layers.Conv2D(2, 1, name='one')(images))").create()
    assert [(level, len(part)) for level, part in flat.variables_by_level().items()] == [("end", 2)]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"], indirect=True)
def test_the_tail_of_the_body_has_the_bits_of_the_whole_and_its_variables(policy: str, acme: Acme, tmp_path: Path) -> None:
    backbone = acme.create()
    randomize(backbone.model)
    for cut in "C1", "down2", "add_1", "C3":  # one after the other
        body, tail = backbone.body_and_tail(cut)
        assert_same_and_meaningful(tail(body(PIXELS)), backbone.model(PIXELS))
        plain = next(op for op in backbone.model.operations if op.name == backbone.graph.levels.get(cut, cut)).output
        assert_same_and_meaningful(body(PIXELS), keras.Model(backbone.model.input, plain)(PIXELS))
        weights = {id(one) for part in (body, tail) for one in part.weights}
        assert weights == {id(one) for one in backbone.model.weights}
    assert (body.name, tail.name, tail.operations[0].name) == ("Net_body", "Net_tail", "Net_tail_input")
    loaded = torso.load(backbone.save(tmp_path / "saved"))
    assert [node.name for node in loaded.graph] == [node.name for node in backbone.graph]
    tail.save(tmp_path / "tail.keras")
    assert_same_and_meaningful(keras.models.load_model(tmp_path / "tail.keras")(body(PIXELS)), backbone.model(PIXELS))


def test_a_pyramid_is_split_before_its_first_output(acme: Acme) -> None:
    backbone = acme.create(truncate={"levels": ["C2", "C3"]})
    body, tail = backbone.body_and_tail("C1")
    found, whole = tail(body(PIXELS)), backbone.model(PIXELS)
    assert list(found) == list(whole) == ["C2", "C3"]
    assert all(np.array_equal(found[level], whole[level]) for level in whole)


NESTED = """inner = layers.Conv2D(4, 3, name="two")(layers.Conv2D(4, 3, name="one")(start := keras.Input((8, 8, 3))))
    x = keras.Model(start, inner, name="inner")(layers.MaxPooling2D(name="pool")(images))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))"""


@pytest.mark.parametrize(
    ("body", "cut", "text"),
    [
        ("", "norm2", "a cut at 'norm2' would lose a branch of Net that runs beside it\n"
         "  lost: 'down2', which feeds all 4 channels of 'add_1'\n"
         "  clean before: 'down2'  (Conv2D, stride 4, 4 channels, pop 12)\n"
         "  clean after: 'add_1'  (Add, stride 4, 4 channels, pop 8)\n"
         "  fix: cut at a clean node"),
        ("", "end", "a cut at 'end' leaves nothing after it"),
        ("", "Net_input", "a cut at 'Net_input' leaves nothing before it"),
        (NESTED, "C4", "Net has no level C4\n  C1: 'end'  (Conv2D, stride 2, 2 channels)"),
        (NESTED, "inner/one", "'inner/one' of Net lies within a nested model, or is one of several calls of a layer\n"
         "  clean cuts outside: pool, end"),
    ],
)  # fmt: skip
def test_what_is_no_clean_cut_is_refused(acme: Acme, tmp_path: Path, body: Any, cut: str, text: str) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        (Acme(tmp_path, body=body) if body else acme).create().body_and_tail(cut)
    assert str(caught.value) == text
