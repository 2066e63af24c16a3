"""The catalogue and the builder, held against the installed Keras."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable

import keras
import pytest
from graphs import ARCHITECTURES, SMALLEST, drawn_by_keras, each_architecture, graph_of, parameters

from torso.builtins.weight_sources import place_in_cache
from torso.contracts.architecture import Architecture, matching_file
from torso.modeling.keras_private import without_values, without_weights

every = pytest.mark.parametrize("name", ARCHITECTURES)  # cheap: draws nothing
MOBILENETS = [name for name, card in ARCHITECTURES.items() if card.options]
each_mobilenet = pytest.mark.parametrize("name", parameters(MOBILENETS, MOBILENETS))


def constructor(name: str) -> Callable[..., keras.Model]:
    return getattr(keras.applications, name)


def build(card: Architecture, channels: int = 3) -> keras.Model:
    """The network that a card's own reference leads to, called as torso calls every builder."""
    module, function = card.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    with without_values(), without_weights():
        return builder(input_shape=(*card.input.default, channels), **card.arguments)


# Names


def test_catalogue_names_are_the_constructors_of_keras():
    constructors = {name for name, value in vars(keras.applications).items() if inspect.isfunction(value)}
    assert set(ARCHITECTURES) == constructors
    assert len(ARCHITECTURES) == 40
    assert sorted(SMALLEST) == [
        "ConvNeXt", "DenseNet", "EfficientNet", "EfficientNetV2", "Inception", "InceptionResNet", "MobileNet",
        "MobileNetV2", "MobileNetV3", "NASNet", "ResNet", "ResNetV2", "VGG", "Xception",
    ]  # fmt: skip


# Options, sizes, parameters


@every
def test_options_are_those_of_the_constructor_with_its_defaults(name):
    arguments = inspect.signature(constructor(name)).parameters
    offered = {option.name: (option.default, option.type) for option in ARCHITECTURES[name].options}
    widths = [key for key in ("alpha", "depth_multiplier", "minimalistic") if key in arguments]
    assert offered == {key: (arguments[key].default, type(arguments[key].default)) for key in widths}


@every
def test_default_size_is_that_of_the_full_network(name, first_layer):
    with pytest.raises(first_layer) as seen:
        constructor(name)(include_top=True, weights=None)
    height, width = seen.value.args[0][1:3]
    if ARCHITECTURES[name].family == "MobileNetV3":  # takes any size; its weights are those of 224, as their names say
        assert (height, width) == (None, None)
        height = width = 224
    assert ARCHITECTURES[name].input.default == (height, width)


@every
def test_minimum_is_the_least_size_that_keras_accepts(name, first_layer):
    least = ARCHITECTURES[name].input.minimum
    with pytest.raises(first_layer):
        constructor(name)(include_top=False, weights=None, input_shape=(least, least, 3))
    for size in ((least - 1, least), (least, least - 1)):
        with pytest.raises(ValueError, match=f"Input size must be at least {least}x{least}"):
            constructor(name)(include_top=False, weights=None, input_shape=(*size, 3))


@each_architecture
def test_parameters_and_built_in_preprocessing_are_those_of_the_headless_network(name):
    shapes = [shape for _, _, shapes in drawn_by_keras(name).weights for shape in shapes]
    assert ARCHITECTURES[name].parameters == sum(math.prod(shape) for shape in shapes)
    scaling = {"Rescaling", "Normalization"} & set(drawn_by_keras(name).layers[:3])
    assert bool(scaling) == ARCHITECTURES[name].preprocessing.built_in


@each_architecture
def test_macs_are_those_that_torso_counts(name):
    assert ARCHITECTURES[name].macs == graph_of(name).cost().macs


# Weights


@each_architecture
def test_weights_file_is_the_one_that_keras_requests(name):
    asked = drawn_by_keras(name).request
    options = {option.name: option.default for option in ARCHITECTURES[name].options}
    file, trained = matching_file(ARCHITECTURES[name].weights[0], options, ARCHITECTURES[name].input.default)
    assert trained
    assert (file.source, file.address, file.md5 or file.sha256) == ("url", asked.origin, asked.file_hash)
    assert len(file.md5 or " " * 32) == 32
    assert len(file.sha256 or " " * 64) == 64
    assert file.file_name == asked.fname
    assert place_in_cache(file.request).parts[-2:] == (asked.cache_subdir, asked.fname)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param(name, file, id=f"{name}-{file.file_name}", marks=pytest.mark.slow if at % 8 else ())
        for name in MOBILENETS
        for at, file in enumerate(ARCHITECTURES[name].weights[0].files)
    ],
)
def test_mobilenet_files_are_those_that_keras_requests_for_every_width_and_size(name, file):
    side = file.when["size"]
    options = {key: value for key, value in file.when.items() if key != "size"}
    asked = drawn_by_keras(name, (side, side), **options).request
    assert (file.address, file.file_name, file.md5) == (asked.origin, asked.fname, asked.file_hash)
    assert place_in_cache(file.request).parts[-2:] == (asked.cache_subdir, asked.fname)
    assert matching_file(ARCHITECTURES[name].weights[0], options, (side, side)) == (file, True)


@pytest.mark.parametrize("size", [(200, 200), pytest.param((224, 160), marks=pytest.mark.slow)])
@each_mobilenet
def test_mobilenets_of_other_sizes_take_the_file_that_keras_takes(name, size):
    options = {option.name: option.default for option in ARCHITECTURES[name].options}
    asked = drawn_by_keras(name, size).request
    file, trained = matching_file(ARCHITECTURES[name].weights[0], options, size)
    assert file.address == asked.origin
    assert not trained


@pytest.mark.parametrize("alpha", [1.3, 1.4])
@pytest.mark.parametrize("side", [96, *(pytest.param(side, marks=pytest.mark.slow) for side in (128, 160, 192))])
def test_wide_mobilenet_v2_takes_the_weights_of_224_where_others_are_missing(alpha, side):
    # keras-team/keras-applications#169 and keras-team/keras#16452: the server answers 404
    asked = drawn_by_keras("MobileNetV2", (side, side), alpha=alpha).request
    assert asked.fname.endswith(f"_{alpha}_{side}_no_top.h5")
    file, trained = matching_file(ARCHITECTURES["MobileNetV2"].weights[0], {"alpha": alpha}, (side, side))
    assert file.file_name.endswith(f"_{alpha}_224_no_top.h5")
    assert not trained


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large"])
def test_top1_of_mobilenet_v3_is_that_of_its_docstring(name):
    row = re.search(rf"\| mobilenet_v3_{name[11:].lower()}_1\.0_224 (.*)\|", constructor(name).__doc__)
    assert ARCHITECTURES[name].weights[0].top1 == float(row[1].split("|")[3])


@every
def test_every_statement_names_its_source(name):
    card = ARCHITECTURES[name]
    (weights,) = card.weights
    assert re.search(r"arXiv:\d{4}\.\d{5}$|arXiv:1409\.1556$", card.paper)
    assert card.source
    assert card.preprocessing.source
    assert ("accuracy" in weights.source) == (weights.top1 is not None)
    assert ("licence" in weights.source) == (card.license.weights is not None)


# The builder


@pytest.mark.filterwarnings("ignore:This model usually expects 1 or 3 input channels")
@pytest.mark.parametrize("channels", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", parameters(ARCHITECTURES, ["ConvNeXtTiny", "EfficientNetB0", "MobileNetV2", "VGG16"]))
def test_builder_takes_any_number_of_channels(name, channels):
    card = ARCHITECTURES[name]
    model = build(card, channels)
    assert model.output.shape == drawn_by_keras(name).output
    assert next(weight.shape for weight in model.weights if len(weight.shape) == 4)[2] == channels
    assert card.input.channels == ()


def test_efficientnet_divides_once_more_where_it_has_weights_as_in_keras():
    for channels, count in ((3, 2), (1, 1)):
        layers = build(ARCHITECTURES["EfficientNetB0"], channels).layers
        assert sum(isinstance(layer, keras.layers.Rescaling) for layer in layers) == count
