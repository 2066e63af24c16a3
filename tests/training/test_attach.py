"""A classifier that was saved and loaded goes on: its own layers are frozen and unfrozen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images, randomize
from provider import SHAPE, Acme

import torso
from torso.modeling.variable_paths import variables_by_path

L = keras.layers
PIXELS = images(SHAPE)
Form = Callable[[torso.Backbone], keras.Model]


def pooled(feature: Any) -> Any:
    both = [L.GlobalAveragePooling2D()(keras.ops.relu(one)) for one in keras.tree.flatten(feature)]
    return L.Dense(2)(both[0] if len(both) == 1 else L.Concatenate()(both))


def nested(backbone: torso.Backbone) -> keras.Model:
    pixels = keras.Input(SHAPE)
    return keras.Model(pixels, pooled(backbone.model(backbone.preprocess(pixels))), name="whole")


def flat(backbone: torso.Backbone) -> keras.Model:
    return keras.Model(backbone.model.input, pooled(backbone.model.output), name="whole")


def deep(backbone: torso.Backbone) -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), L.Rescaling(0.1), flat(backbone)], name="whole")


def wrapped(backbone: torso.Backbone) -> keras.Model:
    film = keras.Input((None, *SHAPE))
    part = keras.Sequential([backbone.model, L.GlobalAveragePooling2D()])
    return keras.Model(film, L.TimeDistributed(part)(film), name="whole")


def again(classifier: keras.Model, folder: Path) -> keras.Model:
    """Loaded by plain Keras, which gives names anew."""
    classifier.save(folder / "classifier.keras")
    keras.utils.clear_session()
    return keras.models.load_model(folder / "classifier.keras")


def rates(backbone: torso.Backbone) -> dict[str, float]:
    return {layer.name: layer.rate for layer in backbone.model.layers if isinstance(layer, L.Dropout)}


@pytest.mark.filterwarnings("ignore:plain Keras loses the flags of attention:torso.FreezeWarning")
@pytest.mark.parametrize("form", [nested, flat, *(pytest.param(one, marks=pytest.mark.slow) for one in (deep, wrapped))])
def test_what_is_unfrozen_are_the_layers_of_the_loaded_classifier(form: Form, attentive: Acme, tmp_path: Path) -> None:
    backbone = attentive.create()
    randomize(backbone.model)
    folder = backbone.save(tmp_path / "saved")
    classifier = again(form(backbone), tmp_path)
    found = torso.attach(classifier, folder)
    assert {id(one) for one in found.model.weights} <= {id(one) for one in classifier.weights}
    np.testing.assert_array_equal(found.model(PIXELS), backbone.model(PIXELS))
    np.testing.assert_array_equal(found.preprocess(PIXELS), backbone.preprocess(PIXELS))
    assert found.graph == torso.load(folder).graph
    saved = torso.load(folder).manifest["frozen"]
    assert saved.pop("lost_by_keras") != []
    assert found.manifest["frozen"] == saved  # the flags of attention too
    assert found.record.plan == torso.load(folder).record.plan
    for one in found, backbone:
        one.unfreeze(from_level="C3", norm="train")
    assert found.record.frozen == backbone.record.frozen
    assert rates(found) == rates(backbone) == {"drop1": 0, "drop2": 0, "drop3": 0.3}
    part = keras.Model(found.model.input, L.GlobalAveragePooling2D()(found.model.output))
    trained = classifier if form is not wrapped else part
    before = {path: np.array(one) for path, one in variables_by_path(found.model).items()}
    trained.compile(keras.optimizers.SGD(1.0), "mse")
    trained.fit(PIXELS, np.ones((2, trained.output_shape[-1])), callbacks=[torso.FreezeGuard(found)], verbose=0)
    moved = {path for path, one in variables_by_path(found.model).items() if not np.array_equal(one, before[path])}
    assert "down3/kernel" in moved <= {*found.record.frozen.trains, *found.record.frozen.adapts, *SEEDS}


SEEDS = {"drop3/seed_generator_state", "attention/dropout/seed_generator_state", "attention/seed_generator_state"}


@pytest.mark.filterwarnings("ignore:plain Keras loses the flags of attention:torso.FreezeWarning")
def test_a_classifier_that_was_unfrozen_before_it_was_saved_stays_so(attentive: Acme, tmp_path: Path) -> None:
    backbone = attentive.create()
    folder = backbone.save(tmp_path / "saved")
    backbone.unfreeze(from_level="C3")
    backbone.model.get_layer("down3").bias.assign([1, 2, 3, 4])
    classifier = again(nested(backbone), tmp_path)
    fix = ": set what trains, with freeze or unfreeze"
    with pytest.warns(torso.FreezeWarning, match=f"flags of attention, which train after loading{fix}"):
        found = torso.attach(classifier, folder)
    with pytest.warns(torso.FreezeWarning, match=f"trains other variables than 'Net'{fix}"):
        torso.attach(classifier, attentive.create())
    assert found.record.frozen.trains == backbone.record.frozen.trains
    assert rates(found) == {"drop1": 0, "drop2": 0, "drop3": 0.3}
    assert found.record.plan["weights"]["changed_since"] is True
    found.freeze()
    assert set(rates(found).values()) == {0}
    found.unfreeze()
    assert rates(found) == {"drop1": 0.1, "drop2": 0.2, "drop3": 0.3}
    later = torso.load(found.save(tmp_path / "later"))
    np.testing.assert_array_equal(later.model.get_layer("down3").bias, [1, 2, 3, 4])
    assert later.manifest["plan"]["weights"]["changed_since"] is True


@pytest.mark.parametrize("form", [nested, flat])
def test_a_pyramid_gives_its_features_by_name(form: Form, acme: Acme, tmp_path: Path) -> None:
    backbone = acme.create(truncate={"levels": ["C3", "C2"]})
    randomize(backbone.model)
    folder = backbone.save(tmp_path / "saved")
    classifier = again(form(backbone), tmp_path)
    found = torso.attach(classifier, folder).model(PIXELS)
    whole = backbone.model(PIXELS)
    assert list(found) == list(whole) == ["C3", "C2"]
    assert all(np.array_equal(found[level], whole[level]) for level in whole)
    for given in backbone, torso.load(folder):  # in place of the folder
        assert {*map(id, torso.attach(classifier, given).model.weights)} <= {*map(id, classifier.weights)}


def test_where_there_is_none_or_two_the_error_says_so(acme: Acme, tmp_path: Path) -> None:
    short, whole = acme.create(truncate={"level": "C2"}, name="short"), acme.create()
    folder = whole.save(tmp_path / "saved")
    pixels = keras.Input(SHAPE)
    twins = [acme.create(name=name).model for name in ("left", "right")]
    both = keras.Model(pixels, [twin(pixels) for twin in twins], name="both")
    plain = keras.Sequential([keras.Input(SHAPE), L.Flatten(), L.Dense(2)], name="plain")
    fix = "\n  fix: name the folder of the backbone that it was built on"
    for classifier, given, text in (
        (plain, folder, f"nothing in 'plain' has the graph of backbone 'Net'{fix}"),
        (nested(short), folder, "nothing in 'whole' has the graph of backbone 'Net'\n"
         f"  cause: 'down3' is not in it, or computes something else{fix}"),
        (both, whole, "2 models in 'both' have the graph of 'Net'\n  found: 'left', 'right'\n"
         "  fix: give torso.attach one of these models in place of the whole"),
        ("c.keras", folder, "attach takes a Keras model first\n  fix: load it with keras.models.load_model(…)"),
        (both, whole.model, "a Functional is no folder of a saved backbone\n"
         "  fix: give the folder that Backbone.save wrote, as 'saved/digits'"),
    ):  # fmt: skip
        with pytest.raises(torso.OptionError, match=f"^{re.escape(text)}$"):
            torso.attach(classifier, given)
    assert torso.attach(both.get_layer("left"), folder).model is both.get_layer("left")
