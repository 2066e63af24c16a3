"""The catalogue and the builder, held against the installed Keras."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pluggy
import pytest

from torso.builtins import keras_applications
from torso.builtins.weight_sources import place_in_cache
from torso.contracts import hookspecs
from torso.contracts.architecture import Architecture, matching_file
from torso.contracts.preprocessing import Preprocessing
from torso.modeling.keras_private import WeightsRequest, without_weights

CARDS = {card.name: card for card in keras_applications.torso_architectures()}
SMALLEST = [
    min((card for card in CARDS.values() if card.family == family), key=lambda card: card.parameters or 0).name
    for family in dict.fromkeys(card.family for card in CARDS.values())
]
each = pytest.mark.parametrize("name", CARDS)
each_family = pytest.mark.parametrize("name", SMALLEST)


def constructor(name: str) -> Callable[..., keras.Model]:
    return getattr(keras.applications, name)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build models without values."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.backend.clear_session(free_memory=False)


def describe(model: keras.Model) -> dict[str, Any]:
    return {
        "layers": [type(layer).__name__ for layer in model.layers],
        "weights": [tuple(weight.shape) for weight in model.weights],
        "output": model.output.shape,
    }


def request(name: str, size: tuple[int, int], **options: Any) -> tuple[WeightsRequest, dict[str, Any]]:
    """The file that Keras asks for, and the graph that it loads it into."""
    with shapes_only(), without_weights() as requests:
        model = constructor(name)(include_top=False, weights="imagenet", input_shape=(*size, 3), **options)
        graph = describe(model)
    (only,) = requests
    return only, graph


@cache
def default(name: str) -> tuple[WeightsRequest, dict[str, Any]]:
    return request(name, CARDS[name].input.default)


def build(card: Architecture, channels: int = 3) -> dict[str, Any]:
    """The graph that a card's own reference leads to, called as torso calls every builder."""
    module, function = card.builder.split(":")
    with shapes_only(), without_weights():
        model = getattr(importlib.import_module(module), function)(
            input_shape=(*card.input.default, channels), **card.arguments
        )
        return describe(model)


class FirstLayer(Exception):
    """Keras accepted the arguments and is about to call its first layer."""


@pytest.fixture
def up_to_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(layer: keras.Layer, images: keras.KerasTensor) -> None:
        raise FirstLayer(images.shape)

    monkeypatch.setattr(keras.Layer, "__call__", stop)


# Names


def test_catalogue_names_are_the_constructors_of_keras():
    constructors = {name for name, value in vars(keras.applications).items() if inspect.isfunction(value)}
    assert set(CARDS) == constructors
    assert len(CARDS) == 40


def test_catalogue_offers_no_module_of_keras():
    modules = {name for name, value in vars(keras.applications).items() if isinstance(value, ModuleType)}
    assert "resnet50" in modules
    assert not modules & set(CARDS)


def test_catalogue_has_fourteen_families():
    assert sorted({card.family for card in CARDS.values()}) == [
        "ConvNeXt", "DenseNet", "EfficientNet", "EfficientNetV2", "Inception", "InceptionResNet", "MobileNet",
        "MobileNetV2", "MobileNetV3", "NASNet", "ResNet", "ResNetV2", "VGG", "Xception",
    ]  # fmt: skip


def test_catalogue_is_offered_through_the_hook():
    manager = pluggy.PluginManager("torso")
    manager.add_hookspecs(hookspecs)
    manager.register(keras_applications, "keras")
    (offered,) = manager.hook.torso_architectures()
    assert [card.name for card in offered] == list(CARDS)


def test_listing_imports_neither_keras_nor_numpy():
    code = (
        "import sys; from torso.builtins.keras_applications import torso_architectures; "
        "print(len(list(torso_architectures())), sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "40 []\n"


# Options, sizes, parameters


@each
def test_options_are_those_of_the_constructor_with_its_defaults(name):
    arguments = inspect.signature(constructor(name)).parameters
    offered = {option.name: (option.default, option.type) for option in CARDS[name].options}
    widths = [key for key in ("alpha", "depth_multiplier", "minimalistic") if key in arguments]
    assert offered == {key: (arguments[key].default, type(arguments[key].default)) for key in widths}


@each
def test_default_size_is_that_of_the_full_network(name, up_to_first_layer):
    with pytest.raises(FirstLayer) as seen:
        constructor(name)(include_top=True, weights=None)
    height, width = seen.value.args[0][1:3]
    if CARDS[name].family == "MobileNetV3":  # takes any size; its weights are those of 224, as their names say
        assert (height, width) == (None, None)
        height = width = 224
    assert CARDS[name].input.default == (height, width)


@each
def test_minimum_is_the_least_size_that_keras_accepts(name, up_to_first_layer):
    least = CARDS[name].input.minimum
    with pytest.raises(FirstLayer):
        constructor(name)(include_top=False, weights=None, input_shape=(least, least, 3))
    for size in ((least - 1, least), (least, least - 1)):
        with pytest.raises(ValueError, match=f"Input size must be at least {least}x{least}"):
            constructor(name)(include_top=False, weights=None, input_shape=(*size, 3))


@each
def test_parameters_are_those_of_the_headless_network(name):
    _, graph = default(name)
    assert CARDS[name].parameters == sum(math.prod(shape) for shape in graph["weights"])


# Weights


@each
def test_weights_file_is_the_one_that_keras_requests(name):
    asked, _ = default(name)
    options = {option.name: option.default for option in CARDS[name].options}
    file, trained = matching_file(CARDS[name].weights[0], options, CARDS[name].input.default)
    assert trained
    assert (file.source, file.address, file.md5 or file.sha256) == ("url", asked.origin, asked.file_hash)
    assert len(file.md5 or " " * 32) == 32
    assert len(file.sha256 or " " * 64) == 64
    assert file.file_name == asked.fname
    assert place_in_cache(file.request).parts[-2:] == (asked.cache_subdir, asked.fname)


MOBILENETS = [name for name in CARDS if CARDS[name].options]


@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenet_files_are_those_that_keras_requests_for_every_width_and_size(name):
    weights = CARDS[name].weights[0]
    for file in weights.files:
        side = file.when["size"]
        options = {key: value for key, value in file.when.items() if key != "size"}
        asked, _ = request(name, (side, side), **options)
        assert (file.address, file.file_name, file.md5) == (asked.origin, asked.fname, asked.file_hash)
        assert place_in_cache(file.request).parts[-2:] == (asked.cache_subdir, asked.fname)
        assert matching_file(weights, options, (side, side)) == (file, True)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")  # says that it takes those of 224
@pytest.mark.parametrize("size", [(200, 200), (224, 160)])
@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenets_of_other_sizes_take_the_file_that_keras_takes(name, size):
    options = {option.name: option.default for option in CARDS[name].options}
    asked, _ = request(name, size)
    file, trained = matching_file(CARDS[name].weights[0], options, size)
    assert file.address == asked.origin
    assert not trained


@pytest.mark.parametrize("name", MOBILENETS)
def test_the_last_mobilenet_file_of_each_width_is_that_of_224(name):
    last = {}
    for file in CARDS[name].weights[0].files:
        last[file.when["alpha"], file.when.get("minimalistic")] = file.when["size"]
    assert set(last.values()) == {224}


@pytest.mark.parametrize("alpha", [1.3, 1.4])
@pytest.mark.parametrize("side", [96, 128, 160, 192])
def test_wide_mobilenet_v2_takes_the_weights_of_224_where_keras_asks_for_a_file_that_is_not_there(alpha, side):
    # keras-team/keras-applications#169 and keras-team/keras#16452: the server answers 404
    asked, _ = request("MobileNetV2", (side, side), alpha=alpha)
    assert asked.fname.endswith(f"_{alpha}_{side}_no_top.h5")
    file, trained = matching_file(CARDS["MobileNetV2"].weights[0], {"alpha": alpha}, (side, side))
    assert file.file_name.endswith(f"_{alpha}_224_no_top.h5")
    assert not trained


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large"])
def test_top1_of_mobilenet_v3_is_that_of_its_docstring(name):
    row = re.search(rf"\| mobilenet_v3_{name[11:].lower()}_1\.0_224 (.*)\|", constructor(name).__doc__)
    assert CARDS[name].weights[0].top1 == float(row[1].split("|")[3])


@each
def test_every_statement_names_its_source(name):
    card = CARDS[name]
    (weights,) = card.weights
    assert re.search(r"arXiv:\d{4}\.\d{5}$|arXiv:1409\.1556$", card.paper)
    assert card.source
    assert card.preprocessing.source
    assert ("accuracy" in weights.source) == (weights.top1 is not None)
    assert ("licence" in weights.source) == (card.license.weights is not None)


# Preprocessing


def preprocess(numbers: Preprocessing, pixels: np.ndarray) -> np.ndarray:
    """The formula of ``Preprocessing`` in float32; neutral steps are not computed."""
    if numbers.order == "BGR":
        pixels = pixels[..., ::-1]
    if numbers.divide != 1.0:
        pixels = pixels / np.float32(numbers.divide)
    if numbers.mean:
        pixels = pixels - np.array(numbers.mean, "float32")
    if numbers.std:
        pixels = pixels / np.array(numbers.std, "float32")
    return pixels


@each
def test_preprocessing_equals_that_of_keras_to_the_last_bit(name):
    module = importlib.import_module(f"keras.applications.{constructor(name).__module__.rsplit('.', 1)[-1]}")
    draw = np.random.default_rng(0)
    whole = draw.permuted(np.tile(np.arange(256, dtype="float32"), (3, 1)), axis=1).T.reshape(1, 16, 16, 3)
    between = draw.uniform(0, 255, (1, 16, 16, 3)).astype("float32")
    for pixels in (whole, between):
        ours = preprocess(CARDS[name].preprocessing, pixels)
        theirs = module.preprocess_input(pixels.copy())  # it writes into its argument
        assert ours.dtype == theirs.dtype == np.float32
        assert ours.tobytes() == theirs.tobytes()


@each
def test_built_in_preprocessing_is_a_layer_of_the_network(name):
    _, graph = default(name)
    scaling = {"Rescaling", "Normalization"} & set(graph["layers"][:3])
    assert bool(scaling) == CARDS[name].preprocessing.built_in


# The builder


@each_family
def test_builder_gives_the_graph_that_the_weights_belong_to(name):
    _, graph = default(name)
    assert build(CARDS[name]) == graph


@pytest.mark.slow
@each
def test_builder_gives_the_graph_that_the_weights_belong_to_for_every_card(name):
    _, graph = default(name)
    assert build(CARDS[name]) == graph


def test_builder_does_not_touch_the_network(monkeypatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert build(CARDS["EfficientNetB0"])["layers"].count("Rescaling") == 2


@pytest.mark.parametrize("channels", [1, 4])
@each_family
def test_builder_takes_any_number_of_channels(name, channels):
    assert_takes(CARDS[name], channels)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
@each
def test_builder_takes_any_number_of_channels_for_every_card(name, channels):
    assert_takes(CARDS[name], channels)


def assert_takes(card: Architecture, channels: int) -> None:
    _, graph = default(card.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This model usually expects 1 or 3 input channels")
        built = build(card, channels)
    assert built["output"] == graph["output"]
    assert next(shape for shape in built["weights"] if len(shape) == 4)[2] == channels
    assert card.input.channels == ()


def test_efficientnet_for_other_than_three_channels_is_the_graph_without_weights():
    assert build(CARDS["EfficientNetB0"], channels=1)["layers"].count("Rescaling") == 1
