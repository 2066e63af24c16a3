"""What a builder may do and what it may not: late edits, a head, values of its own, names, and settings of Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images
from provider import SHAPE, Acme, assert_as_plain, built, told

import torso
from torso.api import load_specs
from torso.artifact.lock import Lock, lock_path
from torso.errors import IntegrityError, PluginError
from torso.modeling.draw import EAGER, LEAN, PARTIAL
from torso.testing import Subject, checks

Make = Callable[..., Acme]

# --- edits after the layers of the cut were called ----------------------------------------------------------------------

NETWORK = """x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    x = layers.ReLU(max_value=6.0, name="clip")(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(images, layers.Conv2D(6, 3, padding="same", name="end")(x))
    """
LATE = {
    "epsilon": 'model.get_layer("norm").epsilon = 0.5',
    "activation": 'model.get_layer("stem").activation = keras.activations.swish',
    "max_value": 'model.get_layer("clip").max_value = 0.5',
    "clone": """model = keras.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(
        {**layer.get_config(), **({"activation": "swish"} if layer.name == "stem" else {})}))""",
    "nothing": "pass",
}


def declaring(make: Make, edit: str, more: str) -> Acme:
    return make(body=f"{NETWORK}{LATE[edit]}\n    return model", more=f'clean="norm|clip", {more}')


@pytest.mark.parametrize("edit", LATE)
def test_a_late_edit_is_in_the_backbone(make: Make, edit: str) -> None:
    acme = declaring(make, edit, "can_stop_early=False")
    full = acme.written()
    backbone = acme.create(truncate={"layer": "clip"})
    assert built(backbone) == (LEAN, "")
    assert_as_plain(backbone, full)


@pytest.mark.parametrize("edit", LATE)
def test_the_conformance_kit_finds_a_builder_that_must_not_be_stopped(make: Make, edit: str) -> None:
    acme = declaring(make, edit, "can_stop_early=True")
    acme.written()
    assert built(acme.create(truncate={"layer": "clip"})) == (PARTIAL, "")
    subject = Subject("acme/Net", acme.registry)
    if edit == "nothing":
        checks.check_stopping_early_changes_nothing(subject)
        return
    with pytest.raises(AssertionError, match=r"stopped after '(norm|clip)', the builder gives another network"):
        checks.check_stopping_early_changes_nothing(subject)


# --- a head -------------------------------------------------------------------------------------------------------------

HEADS = {
    "softmax": ("x = layers.Dense(5, activation='softmax', name='top')(layers.Flatten()(x))", "top", 5),
    "mean": ("x = layers.GlobalAveragePooling2D(name='mean')(x)", "mean", 6),
    "one position": ("x = layers.Conv2D(7, 1, name='logits')(layers.GlobalAveragePooling2D(keepdims=True)(x))", "logits", 7),
    "a second output": ("x = [x, layers.GlobalAveragePooling2D(name='mean')(x)]", "mean", 6),
}
BODY = """x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="relu5")(x)
    """


@pytest.mark.parametrize(("head", "vector", "values"), HEADS.values(), ids=HEADS)
def test_a_head_is_refused_or_cut_off_where_the_architecture_says(make: Make, head: str, vector: str, values: int) -> None:
    body = f"{BODY}{head}\n    return keras.Model(images, x)"
    acme = make(body=body)
    for act in (acme.create, acme.graph):
        with pytest.raises(PluginError) as caught:
            act()
        assert told(caught.value) == (
            f"'acme/Net' has a head: it ends at {vector!r}, which gives {values} values for a whole image\n"
            "  last feature map: 'relu5'  (Conv2D, stride 2, 6 channels)\n"
            "  fix: let the builder leave the head off, or name the last feature map as Architecture(end=…)"
        )
    acme = make(body=body, more='end="relu5"')
    full = acme.written()  # its weights file holds the head too
    for truncate in ("none", {"pop": 1}):
        backbone = acme.create(truncate=truncate)
        assert backbone.features[0].node == ("relu5" if truncate == "none" else "stem")
        whole = keras.Model(full.input, full.get_layer(backbone.features[0].node).output)
        assert_same_and_meaningful(backbone.model(images(SHAPE)), whole(images(SHAPE)))
        assert backbone.manifest["dropped"]["parameters"] == full.count_params() - backbone.model.count_params()
    assert [node.name for node in acme.graph()] == ["images", "stem", "relu5"]


def test_an_end_that_is_not_there_is_the_plugins_fault(make: Make) -> None:
    with pytest.raises(PluginError, match=r"'acme/Net' declares its end 'relu6', which is not in its network\n.*'relu5'"):
        make(body=f"{BODY}return keras.Model(images, x)", more='end="relu6"').create()


# --- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uuid.uuid4().hex", "str(next(count))"])
@pytest.mark.parametrize("truncate", ["none", {"layer": "stem"}])
def test_other_names_in_each_call_are_refused(make: Make, name: str, truncate: Any) -> None:
    body = f"x = layers.Conv2D(2, 3, name='c' + {name})(images)\n    x = layers.ReLU(name='stem')(x)\n    "
    acme = make("import itertools, uuid\n\ncount = itertools.count()\n", body=f"{body}return keras.Model(images, x)")
    acme.written()
    with pytest.raises(PluginError, match=r"the builder of 'acme/Net' made 'c.*', and in a second call 'c.*'\n"):
        acme.create(truncate=truncate)


@pytest.mark.parametrize("counts", ["1, 2", "2, 1"])
def test_another_depth_in_each_call_is_refused(make: Make, counts: str) -> None:
    source = f"import itertools\n\ncount = itertools.cycle([{counts}])\n"
    body = "x = images\n    for index in range(next(count)):\n        x = layers.Conv2D(2, 3, name=f'c{index}')(x)\n    "
    with pytest.raises(PluginError, match=r"the builder of 'acme/Net' made (None|'c1'), and in a second call (None|'c1')\n"):
        make(source, body=f"{body}return keras.Model(images, x)").create()


# --- values -------------------------------------------------------------------------------------------------------------

BRINGS = {
    "assigned": "for weight in model.weights:\n        weight.assign(weight * 0 + 0.5)",
    "loaded": "model.load_weights(FILE)",
}


@pytest.mark.filterwarnings("ignore:Net. warning. plugins.acme. sha256")
@pytest.mark.parametrize("how", BRINGS)
def test_values_that_a_builder_brings_are_kept_labelled_and_locked(make: Make, tmp_path: Path, how: str) -> None:
    source = f"FILE = {str(tmp_path / 'own.weights.h5')!r}\n"
    body = "model = network(input_shape)\n    {}\n    return model"
    full = make(body=body.format("pass"))
    plain = full.plain()
    plain.save_weights(tmp_path / "own.weights.h5")
    acme = make(source, body=body.format(BRINGS[how]))
    acme.graph()  # downloads and reads nothing
    backbone = acme.create(weights="none")
    assert built(backbone) == (EAGER, "the builder sets the values of its weights itself")
    for weight, wanted in zip(backbone.model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted if how == "loaded" else np.full(wanted.shape, 0.5, "f4"))
    file = backbone.manifest["weights_file"]
    assert (file["path"], file["bytes"]) == ("builder", 4 * backbone.model.count_params())
    assert torso.load(backbone.save(tmp_path / "saved")).manifest["weights_file"] == file
    spec = tmp_path / "b.yaml"
    spec.write_text("version: 1\nbackbones:\n  Net: {architecture: Net, weights: none}\n")
    lock_path(spec).write_text(Lock.of(lock_path(spec), [backbone.record]).text())
    assert load_specs(spec, registry=acme.registry, locked=True)["Net"]
    plain.layers[-1].set_weights([one + 1 for one in plain.layers[-1].get_weights()])
    plain.save_weights(tmp_path / "own.weights.h5")
    other = make(source, body=body.format(BRINGS[how].replace("0.5", "0.25")))
    with pytest.raises(IntegrityError, match=r"weights\.sha256"):
        load_specs(spec, registry=other.registry, locked=True)["Net"]
