"""``preprocess: {include: true}``: the model takes pixels, and is otherwise the very same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, randomize, settle
from saved import TINY

import torso
from torso.artifact.manifest import fingerprint
from torso.builtins.keras_applications import torso_architectures
from torso.contracts.preprocessing import Preprocessing
from torso.graph import Graph
from torso.modeling.embed_preprocessing import embed_preprocessing
from torso.modeling.graph_reader import read_graph
from torso.modeling.preprocess_layer import preprocessing_layer
from torso.modeling.truncate import cut, derive

CARDS = {card.name: card for card in torso_architectures()}
KINDS = {"caffe": "VGG16", "torch": "DenseNet121", "tf": "MobileNetV2", "built in": "EfficientNetB0"}
each_kind = pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
CAFFE, TORCH, TF, BUILT_IN = (CARDS[name].preprocessing for name in KINDS.values())

STEPS = {
    "VGG16": ["preprocess_flip", "preprocess_subtract"],
    "DenseNet121": ["preprocess_divide", "preprocess_subtract", "preprocess_divide_1"],
    "MobileNetV2": ["preprocess_divide", "preprocess_subtract"],
    "EfficientNetB0": [],
}


@pytest.fixture(scope="module")
def registry() -> torso.Registry:
    return torso.Registry.load(discover=False, plugins_dirs=[TINY])


def canonical(model: keras.Model) -> tuple[keras.Model, Graph]:
    """As a truncated model is when the preprocessing is embedded."""
    truncated = cut(model, None, "net")
    return truncated, read_graph(truncated, "net")


def arrays(values: Any) -> list[np.ndarray]:
    return [np.asarray(value) for value in keras.tree.flatten(values)]


def assert_takes_pixels(baked: keras.Model, model: keras.Model, numbers: Preprocessing, pixels: np.ndarray) -> None:
    """The same bits from pixels, floats and bytes, as the model gives from what is preprocessed."""
    layer = preprocessing_layer(numbers, pixels.shape[-1])
    for given in pixels, pixels.astype("uint8"):
        for ours, expected in zip(arrays(baked(given)), arrays(model(layer(given))), strict=True):
            assert_same_and_meaningful(ours, expected)


# The same bits.


@each_kind
def test_a_baked_model_gives_from_pixels_the_same_bits_in_a_graph_too(name: str, residual: keras.Model) -> None:
    model, graph = canonical(residual)
    numbers, pixels = CARDS[name].preprocessing, images((8, 8, 3))
    baked, _ = embed_preprocessing(model, graph, numbers)
    assert_takes_pixels(baked, model, numbers, pixels)
    prepared = np.asarray(preprocessing_layer(numbers)(pixels))  # in a graph, TensorFlow multiplies by inverses
    np.testing.assert_allclose(baked.predict(pixels, verbose=0), np.asarray(model(prepared)), rtol=1e-5, atol=1e-5)


def derived(image: Any) -> Any:
    return keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Normalization(name="norm")(image))


# Whatever reads the image.


def read_twice(image: Any) -> Any:
    return keras.layers.Concatenate(name="join")([keras.layers.Conv2D(3, 1, name="conv")(image), image])


def nested(image: Any) -> Any:
    inner = keras.Input((8, 8, 3), name="inner_image")
    return keras.Model(inner, keras.layers.Conv2D(4, 3, name="conv")(inner), name="inner")(image)


def called_twice(image: Any) -> Any:
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
    return conv(conv(image))


def bare_ops(image: Any) -> Any:
    return keras.layers.Conv2D(4, 3, name="conv")(((image + image) / 3.0 - 1.0)[..., ::-1])


def several_ends(image: Any) -> Any:
    first = keras.layers.Conv2D(3, 3, name="first")(image)
    return {"late": keras.layers.Conv2D(3, 3, name="second")(first), "early": first}


def image_among_the_ends(image: Any) -> Any:
    return {"image": image, "conv": keras.layers.Conv2D(3, 3, name="conv")(image)}


def names_like_ours(image: Any) -> Any:
    first = keras.layers.Conv2D(3, 3, name="preprocess_divide")(image)
    return keras.layers.Conv2D(3, 3, name="preprocess_flip")(first)


READERS = [derived, read_twice, nested, called_twice, bare_ops, several_ends, image_among_the_ends, names_like_ours]


@pytest.mark.parametrize(
    ("reader", "name"),
    [*((reader, "DenseNet121") for reader in READERS), (bare_ops, "VGG16"), (read_twice, "MobileNetV2")],
)
def test_whatever_reads_the_image_reads_it_preprocessed(reader: Callable[[Any], Any], name: str) -> None:
    image = keras.Input((8, 8, 3), name="image")
    network = keras.Model(image, reader(image))
    randomize(network)
    model, graph = canonical(network)
    numbers = CARDS[name].preprocessing
    baked, after = embed_preprocessing(model, graph, numbers)
    assert_takes_pixels(baked, model, numbers, images((8, 8, 3)))
    names = [node.name for node in graph.nodes]
    assert [node.name for node in after] == ["image", *(f"{s}_" if s in names else s for s in STEPS[name]), *names[1:]]


@pytest.mark.parametrize("inputs", [lambda image: [image], lambda image: {"image": image}], ids=("list", "dictionary"))
def test_the_image_may_be_given_in_a_list_or_by_its_name(inputs: Callable[[Any], Any]) -> None:
    image = keras.Input((8, 8, 3), name="image")
    network = keras.Model(inputs(image), keras.layers.Conv2D(3, 3, name="conv")(image))
    randomize(network)
    truncated = cut(network, "conv", "net")
    baked, _ = embed_preprocessing(truncated, read_graph(truncated, "net"), CAFFE)
    assert_takes_pixels(baked, truncated, CAFFE, images((8, 8, 3)))


# The model is the same but for its first nodes.


@each_kind
def test_names_levels_and_all_else_stay_and_the_model_it_came_from(name: str, residual: keras.Model) -> None:
    model, graph = canonical(residual)
    graph = graph.knowing({"C1": "stem", "C2": "pool"})
    before = model.get_config(), [weight.numpy() for weight in model.weights], fingerprint(graph)
    baked, after = embed_preprocessing(model, graph, CARDS[name].preprocessing)
    assert [node.name for node in after] == ["image", *STEPS[name], *[node.name for node in graph][1:]]
    assert after.levels == graph.levels
    for node in graph.nodes[1:]:
        same = after[node.name]
        assert (same.kind, same.shape, same.stride, same.parameters) == (node.kind, node.shape, node.stride, node.parameters)
    assert {node.name for node in graph.clean} | set(STEPS[name]) == {node.name for node in after.clean}
    assert [weight.path for weight in baked.weights] == [weight.path for weight in model.weights]
    assert baked.name == model.name
    if baked is not model:
        for weight in baked.weights:
            weight.assign(weight * 0)
    assert (model.get_config(), fingerprint(graph)) == (before[0], before[2])
    for weight, value in zip(model.weights, before[1], strict=True):
        np.testing.assert_array_equal(weight, value)


def test_where_there_is_nothing_to_compute_the_model_stays_itself(residual: keras.Model) -> None:
    model, graph = canonical(residual)
    for numbers in BUILT_IN, Preprocessing(), Preprocessing(source="nobody"):
        baked, after = embed_preprocessing(model, graph, numbers)
        assert baked is model
        assert after is graph


@pytest.mark.parametrize("numbers", [CAFFE, TORCH, TF], ids=("caffe", "torch", "tf"))
def test_the_graph_does_not_depend_on_what_the_process_has_built(numbers: Preprocessing, residual: keras.Model) -> None:
    first = fingerprint(embed_preprocessing(*canonical(residual), numbers)[1])
    for _ in range(2):
        embed_preprocessing(*canonical(residual), TORCH)
        keras.Input((2,)) / 3.0 - 1.0  # Keras counts them
    again = embed_preprocessing(*canonical(residual), numbers)[1]
    assert fingerprint(again) == first
    assert first != fingerprint(canonical(residual)[1])


# The whole way.

SPECS: dict[str, dict[str, Any]] = {
    "caffe": {"architecture": "VGG16", "input": {"size": [32, 32]}, "truncate": {"level": "C2"}},
    "caffe, any size": {"architecture": "VGG16", "input": {"size": [None, None]}, "truncate": {"level": "C2"}},
    "torch": {"architecture": "DenseNet121", "input": {"size": [32, 32]}, "truncate": {"level": "C1"}},
    "tf, a pyramid": {
        "architecture": "MobileNetV2", "options": {"alpha": 0.35}, "input": {"size": [64, 64]},
        "truncate": {"levels": ["C2", "C3"]},
    },
    "built in": {"architecture": "EfficientNetB0", "input": {"size": [32, 32]}, "truncate": {"level": "C1"}},
    "divided": {"architecture": "TinyNet"},
    "no numbers": {"architecture": "TinyNet", "input": {"channels": 1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(registry: torso.Registry) -> Callable[[str], tuple[torso.Backbone, torso.Backbone]]:
    """A backbone of the table without and with its preprocessing, of the same values; built once."""

    @cache
    def pair(name: str) -> tuple[torso.Backbone, torso.Backbone]:
        spec = {**SPECS[name], "weights": "none", "registry": registry}
        plain, baked = (torso.create_backbone(**spec, preprocess={"include": include}) for include in (False, True))
        settle(plain.model, np.asarray(plain.preprocess(pixels_for(plain))))
        baked.model.set_weights(plain.model.get_weights())
        derive(baked.model)
        return plain, baked

    return pair


def pixels_for(backbone: torso.Backbone) -> np.ndarray:
    height, width, channels = backbone.manifest["plan"]["input_shape"]
    return images((height or 40, width or 48, channels))


Pair = Callable[[str], tuple[torso.Backbone, torso.Backbone]]
SLOW = ("caffe", "torch")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SPECS])
def test_a_backbone_with_its_preprocessing_gives_the_same_bits_and_is_frozen(name: str, pair: Pair) -> None:
    plain, baked = pair(name)
    pixels = pixels_for(plain)
    for given in pixels, pixels.astype("uint8"):
        expected = arrays(plain.model(plain.preprocess(given)))
        found = baked.model(given), baked.model(baked.preprocess(given)), baked.model(given, training=True)
        for features in map(arrays, found):
            for ours, own in zip(features, expected, strict=True):
                assert_same_and_meaningful(ours, own)
    assert baked.manifest["frozen"]["everything"]
    assert baked.model.trainable_weights == []
    names = [node.name for node in plain.graph]
    steps = [node.name for node in baked.graph if node.name not in names]
    assert [node.name for node in baked.graph] == [names[0], *steps, *names[1:]]
    assert bool(steps) == (name not in ("built in", "no numbers"))
    assert baked.features == plain.features
    assert baked.graph.levels == plain.graph.levels
    assert (fingerprint(baked.graph) == fingerprint(plain.graph)) == (not steps)
    assert {key for key in baked.manifest if baked.manifest[key] != plain.manifest[key]} <= {
        "spec", "plan", "graph", "preprocessing_included", "built",
    }  # fmt: skip
    assert (plain.manifest["preprocessing_included"], baked.manifest["preprocessing_included"]) == (False, True)


@pytest.mark.parametrize("name", ["caffe, any size", "tf, a pyramid"])
def test_a_saved_backbone_takes_pixels_in_plain_keras_and_in_torso(name: str, pair: Pair, tmp_path: Path) -> None:
    _, baked = pair(name)
    pixels = pixels_for(baked).astype("uint8")
    folder = baked.save(tmp_path / "there")
    plain = keras.models.load_model(folder / "model.keras", compile=False)
    again = torso.load(folder)
    for features in plain(pixels), again.model(pixels), again.model(again.preprocess(pixels)):
        for ours, own in zip(arrays(features), arrays(baked.model(pixels)), strict=True):
            assert_same_and_meaningful(ours, own)
    assert again.graph.nodes == baked.graph.nodes
    assert again.manifest["preprocessing_included"]
