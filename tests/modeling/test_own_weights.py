"""A file of the user's own classifier, or of a part of the network, gives a backbone its weights by the layers' names."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from networks import save_listed
from provider import SHAPE, Acme, assert_as_plain, built

import torso
from torso.errors import IntegrityError, OptionError

BODY = """\
x = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(images)
    y = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    inner = keras.Sequential([layers.Conv2D(4, 1), layers.LayerNormalization(name="inner_norm")], name="inner")
    x = layers.Add(name="join")([x, inner(y)])
    x = layers.ReLU(6)(layers.Conv2D(4, 3, padding="same")(x))
    return keras.Model(images, layers.Conv2D(5, 3, name="end")(x), name="net")
"""
MORE = "can_stop_early=False"
Make = Callable[..., Acme]


def headed(base: keras.Model) -> keras.Model:
    x = layers.ReLU(3)(layers.GlobalAveragePooling2D()(base.output))
    return keras.Model(base.input, layers.Dense(3, name="classes", activation="softmax")(x))


def sequential(base: keras.Model) -> keras.Model:
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Rescaling(2.0), base, layers.Flatten(), layers.Dense(3, name="classes")]
    )


def nested(base: keras.Model) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = keras.Sequential([layers.RandomFlip(), layers.Normalization(name="scale")])(inputs)
    for layer in base.layers[:4]:
        layer.trainable = False  # the older format lists these after the others
    return keras.Model(inputs, layers.Dense(3, name="classes")(layers.Conv2D(4, 3)(layers.ReLU()(base(x)))))


def preprocessed(base: keras.Model) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Normalization(name="scale")(keras.Sequential([layers.RandomFlip()])(inputs))
    return headed(keras.Model(inputs, base.call(x)))  # its layers, and no model of their own


def part(base: keras.Model) -> keras.Model:
    return keras.Model(base.input, base.get_layer("join").output)


FORMS = {
    headed: "2 arrays of '(classes|dense)'",
    sequential: "2 arrays of '(classes|dense)'",
    nested: "7 arrays of",
    preprocessed: "5 arrays of",
    part: "",
}
FILES = ["w.keras", "w.weights.h5", "w.h5", "nameless.weights.h5"]


def save(model: keras.Model, path: Path) -> Path:
    logging.disable(logging.WARNING)  # "this format is considered legacy"
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    logging.disable(logging.NOTSET)
    if path.name.startswith("nameless"):  # as Keras wrote them before 3.8
        with h5py.File(path, "a") as file:
            file.visititems(lambda name, item: item.attrs.pop("name", None) and None)
    return path


@pytest.fixture
def acme(make: Make) -> Acme:
    layers.Conv2D(1, 1)  # Keras counts on
    return make(body=BODY, more=MORE)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_a_file_of_ones_own_classifier_gives_the_weights_of_the_backbone(acme: Acme, form: Any, file: str) -> None:
    base = acme.plain()
    acme.path = save(form(base), acme.path.with_name(file))
    assert_as_plain(with_report(acme, FORMS[form], truncate={"layer": "join"}), base)
    if form is part:
        with pytest.raises(IntegrityError, match=r"the file has no layer|none of"):
            acme.create(truncate="none")
    else:
        assert_as_plain(with_report(acme, FORMS[form], truncate="none"), base)


def with_report(acme: Acme, left: str, **spec: Any) -> torso.Backbone:
    if not left:
        return acme.create(**spec)  # warnings are errors in these tests
    with pytest.warns(UserWarning, match=f"has {left}.* left over$"):
        return acme.create(**spec)


def test_the_example_of_the_page_runs_and_says_what_is_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "weights.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with pytest.warns(UserWarning, match=r"^the weights file 'classifier.keras' has 2 arrays of 'flowers' left over$"):
        exec(page.partition("<!-- python: own classifier -->\n```python\n")[2].partition("```")[0], names)
    for ours, theirs in zip(names["backbone"].model.weights, names["body"].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(IntegrityError, match=r"fix: the network is built with alpha 0\.5, depth_mult"):
        torso.create_backbone("MobileNet", options={"alpha": 0.5}, weights={"file": "classifier.keras"})


def test_where_the_build_stops_at_the_cut_what_is_of_no_layer_of_the_network_is_left_over(tmp_path: Path) -> None:
    body = keras.applications.MobileNetV2(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))
    classifier = keras.Model(body.input, keras.layers.Dense(5)(body.output))
    save_listed(classifier, tmp_path / "own.h5")
    spec: dict[str, Any] = {"weights": {"file": tmp_path / "own.h5"}, "truncate": {"level": "C1"}}
    with pytest.warns(UserWarning, match=r"has 2 arrays of 'dense\w*' left over$"):
        backbone = torso.create_backbone("MobileNetV2", input_shape=(32, 32, 3), **spec)
    assert built(backbone) == ("stopped at the cut", "")
    np.testing.assert_array_equal(backbone.model.get_layer("Conv1").kernel, classifier.get_layer("Conv1").kernel)


@pytest.mark.parametrize("cut", ["join", "batch_normalization"])
def test_the_model_of_a_cut_backbone_is_a_file_of_its_weights(acme: Acme, cut: str) -> None:
    base, truncate = acme.plain(), {"layer": {"name": cut, "allow_partial": True}}
    acme.path = save(base, acme.path.with_name("whole.keras"))
    first = acme.create(truncate=truncate)
    for file in FILES:
        acme.path = save(first.model, acme.path.with_name(file))
        for ours, theirs in zip(acme.create(truncate=truncate).model.weights, first.model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def refused(acme: Acme, model: keras.Model, file: str, **spec: Any) -> str:
    """The lines after the first of the error, and the file is there."""
    acme.path = save(model, acme.path.with_name(file))
    with pytest.raises(IntegrityError) as caught:
        acme.create(**spec)
    fact, _, rest = str(caught.value).partition("\n")
    return fact.partition("' ")[2] + "\n" + rest


@pytest.mark.parametrize("file", FILES[:3])
def test_two_networks_of_the_same_names_in_a_file_are_refused_and_the_fix_is_right(acme: Acme, file: str) -> None:
    left, right, inputs = acme.plain(0), acme.plain(1), keras.Input(SHAPE)
    left.name, right.name = "left", "right"
    model = keras.Model(inputs, layers.Subtract()([left(inputs), right(inputs)]))
    text = refused(acme, model, file, truncate="none")
    assert text == (
        "can be read in more than one way (argument weights)\n"
        "  cause: 'left' and 'right' of the file both have the layers of the network\n"
        "  fix: save the one that is meant by itself: model.get_layer('right').save_weights('backbone.weights.h5')"
    )
    acme.path = acme.path.with_name("backbone.weights.h5")
    exec(text.partition("by itself: ")[2].replace("'backbone", f"'{acme.path.parent}/backbone"), {"model": model})
    assert_as_plain(acme.create(truncate="none"), right)


@pytest.mark.parametrize("file", FILES)
def test_a_layer_without_a_name_that_may_be_two_is_refused_and_the_fix_is_right(make: Make, file: str) -> None:
    acme = make(
        body="x = layers.Normalization()(images)\n    return keras.Model(images, layers.Conv2D(3, 3, name='end')(x))"
    )
    base, inputs = acme.plain(), keras.Input(SHAPE)
    model = headed(keras.Model(inputs, base.call(layers.Normalization(name="normalization_7")(inputs))))
    text = refused(acme, model, file, truncate="none")
    assert "cause: 'normalization' of the network may be 'normalization" in text
    if file != FILES[3]:
        (name,) = re.findall(r"model.get_layer\('(normalization\w*)'\).name = 'mine'$", text)
        assert f"may be '{name}' or 'normalization_7' of" in text
        model.get_layer("normalization_7").name = "mine"
        acme.path = save(model, acme.path)
        assert_as_plain(with_report(acme, "5 arrays of .*'mine", truncate="none"), base)


JOIN = 'x = layers.Add(name="join")'
REFUSED = {  # what the file's network has in place of what, and the error
    "more": (JOIN, f'y = layers.Conv2D(4, 1, name="more")(y)\n    {JOIN}', "the file has more between its layers: 'more'"),
    "other shape": ('3, name="end"', '5, name="end"', "has the shape (5, 5, 4, 5), 'end' needs (3, 3, 4, 5)"),
    "other name": ('"end"', '"last"', "'end'\n  fix: end the backbone before 'end', or take a file"),
    "one fewer": ("y = layers.BatchNormalization()(y)", "", "has no layer 'batch_normalization'\n"),
    "no beta": ('name="inner_norm"', 'name="inner_norm", center=False', "'inner/inner_norm' holds 1 arrays, and 2 are"),
    "setting": ('"relu"', '"swish"', "activation of 'stem' is silu in the file, and relu in the model\n  fix: "),
}


@pytest.mark.parametrize("form", [headed, nested], ids=lambda form: form.__name__)
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_what_differs(acme: Acme, case: str, form: Any) -> None:
    old, new, said = REFUSED[case]
    other = copy(acme)
    other.text = acme.text.replace(old, new)
    for file in FILES[:1] if case == "setting" else FILES[:3]:
        text = refused(acme, form(other.plain()), file, truncate="none")
        assert said in text.replace("net/", ""), file


@pytest.mark.parametrize("file", FILES[:3])
def test_two_layers_of_one_name_never_get_the_same_arrays(make: Make, file: str) -> None:
    inner = "x = keras.Sequential([layers.Conv2D(3, 1, name='conv')], name='inner')(images)"
    acme = make(body=f"{inner}\n    return keras.Model(images, layers.Conv2D(3, 1, name='conv')(x))")
    other = copy(acme)
    other.text = acme.text.replace(inner, "x = images")
    text = refused(acme, sequential(other.plain()), file, truncate="none")
    assert "cause: the file has no layer 'inner/conv'" in text


@pytest.mark.parametrize("file", FILES)
def test_another_network_is_refused_with_the_names_of_its_layers(acme: Acme, file: str) -> None:
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.Dense(2, name="two")(layers.Dense(3, name="one")(inputs)))
    text = refused(acme, model, file, truncate="none")
    names = "'dense', 'dense_1'" if file == FILES[3] else "'one', 'two'"
    assert f"  cause: none of the 7 layers is in the file by name; it has {names}" in text


def test_settings_of_the_head_and_after_the_cut_do_not_matter(acme: Acme) -> None:
    other = copy(acme)
    other.text = acme.text.replace('name="end"', 'name="end", strides=2')
    base = other.plain()
    acme.path = save(headed(base), acme.path.with_name("w.keras"))
    assert_as_plain(with_report(acme, "2 arrays of 'classes'", truncate={"layer": "join"}), base)
    with pytest.raises(IntegrityError, match="strides of 'end' is"):
        acme.create(truncate="none")


OTHER_FORMATS: dict[str, tuple[bytes, str, str]] = {
    "w.npz": (b"", "an .npz of NumPy", "np.load('{path}')"),
    "w.safetensors": (b"\2" + b"\0" * 7 + b"{}", "a safetensors file", "load_file('{path}')"),
    "w.pt": (b"\x80\x02}q\x00.", "a pickle, as PyTorch writes it", "torch.load('{path}', weights_only=True)"),
    "w.index": (b"any", "a TensorFlow checkpoint", "model.load_weights('{folder}/w')"),
    "saved_model.pb": (b"any", "a SavedModel", "tf.saved_model.load('{folder}')"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_other_formats_are_named_when_planned_with_the_lines_that_convert_them(acme: Acme, name: str) -> None:
    content, kind, line = OTHER_FORMATS[name]
    path, model = acme.path.with_name(name), acme.plain()
    path.write_bytes(content)
    if name == "w.npz":
        np.savez(path, *model.get_weights())
    for wanted in [path, path.parent] if name == "saved_model.pb" else [path]:
        with pytest.raises(OptionError) as caught:
            torso.plan("Net", registry=acme.registry, weights={"file": wanted})
        fact, fix, *lines = str(caught.value).splitlines()
        assert fact.startswith(f"'{wanted}' is {kind}, and torso reads .keras, .weights.h5 and .h5")
        assert fix == "  fix: convert it in Python, where model is the network it was saved from:"
        assert line.format(path=path, folder=path.parent) in "\n".join(lines)
    if name == "w.npz":
        acme.path = path.with_name("model.weights.h5")
        exec(textwrap.dedent("\n".join(lines)).replace("'model.w", f"'{path.parent}/model.w"), {"model": model})
        assert_as_plain(acme.create(truncate="none"), model)
