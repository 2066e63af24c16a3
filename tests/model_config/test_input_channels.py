from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from graphs import ARCHITECTURES, parameters, registry
from networks import images, randomize

import torso
from torso.builtins.channel_adapters import mapped, repeat
from torso.builtins.keras_applications import build
from torso.contracts.weights import Mix
from torso.errors import OptionError
from torso.model_config.calls import Calls
from torso.model_config.input_channels import adapted, image_weights, widen
from torso.modeling.keras_private import without_values, without_weights
from torso.modeling.truncate import derive

L = keras.layers
FAMILIES = [
    *("ConvNeXtTiny", "EfficientNetB0", "EfficientNetV2B0", "MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50"),
    *("ResNet50V2", "VGG16", "Xception"),
]


def mix_of(*sources: int | None) -> Mix:
    names = tuple("none" if source is None else str(source) for source in sources)
    return tuple(map(tuple, mapped(3, len(names), {"sources": names})))


def rebuilt(model: keras.Model, mix: Mix) -> keras.Model:
    """The model for other channels, with the values that the mix makes of the model's own."""
    new = type(model).from_config(widen(model.get_config(), mix))
    names = image_weights(model)
    for old, target in zip(model.weights, new.weights, strict=True):
        value = np.asarray(old)
        target.assign(adapted(value, target.shape, mix, names[id(old)]) if id(old) in names else value)
    derive(new)
    return new


def behind(*front: Callable[[Any], Any], size: int = 8) -> keras.Model:
    """A network with these in front of a convolution; behind it come layers of three channels that are none of an image."""
    x = inputs = keras.Input((size, size, 3), name="image")
    for layer in front:
        x = layer(x)
    x = L.Conv2D(3, 3, name="stem")(x)
    x = L.Normalization(axis=-1, mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], name="later")(x)
    x = L.BatchNormalization(name="norm")(L.Rescaling([1.0, 2.0, 3.0], name="last_scale")(x))
    model = keras.Model(inputs, L.Conv2D(2, 1, name="body")(x), name="net")
    randomize(model)
    return model


def nested() -> keras.Model:
    inner = keras.Input((8, 8, 3))
    x = L.ZeroPadding2D(name="pad")(L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], name="norm")(inner))
    return keras.Model(inner, x, name="inner")


def stem_in_a_sequential() -> keras.Model:
    stem = [L.Rescaling([0.1, 0.2, 0.3]), L.Conv2D(3, 2, name="conv"), L.BatchNormalization()]
    return keras.Sequential(stem, name="chain")


def gated(x: Any) -> Any:
    return L.Multiply()([x, L.Dense(1, name="gate")(L.GlobalAveragePooling2D(keepdims=True)(x))])


FRONTS: dict[str, Callable[[], list[Callable[[Any], Any]]]] = {
    "nothing": list,
    "one number for all": lambda: [L.Rescaling(1 / 127.5, offset=-1.0), L.ZeroPadding2D()],
    "a scale and an offset each": lambda: [L.Rescaling([0.1, 0.2, 0.3], offset=[1.0, 2.0, 3.0])],
    "an array as scale": lambda: [L.Rescaling(np.array([0.1, 0.2, 0.3]))],
    "statistics in the configuration": lambda: [L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])],
    "statistics in weights": lambda: [L.Normalization(axis=3, name="by_weights")],
    "one statistic for all": lambda: [L.Normalization(axis=None, mean=3.0, variance=2.0)],
    "a batch normalisation": lambda: [L.BatchNormalization(), L.ReLU()],
    "a nested model": lambda: [nested()],
    "a stem in a Sequential": lambda: [stem_in_a_sequential()],
    "a pass in a Sequential": lambda: [keras.Sequential([L.ZeroPadding2D(), L.Normalization(name="deep")]), L.ReLU()],
    "ops": lambda: [lambda x: (x / 255.0 - np.array([0.4, 0.5, 0.6], "float32")) / np.array([0.1, 0.2, 0.4], "float32")],
    "a tensor as constant": lambda: [lambda x: x * keras.ops.convert_to_tensor([1.0, 2.0, 3.0])],
    "a sum with itself": lambda: [lambda x: L.Add()([L.ReLU()(x), x])],
    "a share of all": lambda: [gated],
    "a layer that is called twice": lambda: [L.ReLU()] * 2,
    "a dense layer": lambda: [L.Dense(3)],
}


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_a_copied_image_gives_what_the_image_gives(front):
    model, pixels = behind(*front()), images((8, 8, 3))
    expected = np.asarray(model(pixels))
    assert expected.std() > 1e-3 * np.abs(expected).max()
    for sources in [(2, 1, 0), (2, None, 0, 1, 1)]:
        copied = np.stack([pixels[..., 0] * 0 + 7 if one is None else pixels[..., one] for one in sources], axis=-1)
        found = np.asarray(rebuilt(model, mix_of(*sources))(copied))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    config = model.get_config()
    before = copy.deepcopy(config)
    wide = widen(config, mix_of(0, 1, 2, 0, 1))
    assert config == before, "what was given is not what was changed"
    again = keras.Model.from_config(copy.deepcopy(wide))
    assert (again.input_shape, again.output_shape) == ((None, 8, 8, 5), model.output_shape)
    for name in ("later", "norm", "body"):  # the new channels are followed no further than the first kernels
        shapes = [[weight.shape for weight in one.get_layer(name).weights] for one in (again, model)]
        assert shapes[0] == shapes[1]
    entries = Calls(wide).entries
    assert (entries["later"]["config"]["mean"], entries["last_scale"]["config"]["scale"]) == ([1.0, 2.0, 3.0],) * 2
    assert plain(wide) == plain(again.get_config()), "as Keras itself writes it"


def plain(config: Any) -> Any:
    """A configuration as JSON, without what its layers were built for."""
    return json.loads(json.dumps(config), object_hook=lambda item: {key: item[key] for key in item if key != "build_config"})


def test_the_weights_of_the_images_are_named():
    shared = L.Conv2D(3, 1, name="shared")
    for front, expected in (
        (L.Normalization(axis=3, name="first"), ["first/mean", "first/variance", "stem/kernel"]),
        (stem_in_a_sequential(), ["chain/conv/kernel"]),
        (lambda x: shared(x) + shared(L.ReLU()(x)), ["shared/kernel"]),
    ):
        model = behind(front)
        found = image_weights(model)
        assert [weight.path for weight in model.weights if id(weight) in found] == expected


def model_of(make: Callable[[Any], Any], size: int | None = 8) -> keras.Model:
    inputs = keras.Input((size, size, 3), name="image")
    model = keras.Model(inputs, make(inputs))
    randomize(model)
    return model


def shared_activation(x: Any) -> Any:
    """The same ReLU for the images and for three other channels."""
    relu = L.ReLU(name="relu")
    return relu(L.Conv2D(3, 1, name="stem")(relu(x)))


@pytest.mark.parametrize(
    ("make", "size", "outputs"),
    [(lambda x: L.Conv2D(2, 3)(L.ReLU()(x)), None, (None, None, None, 2)), (shared_activation, 8, (None, 8, 8, 3))],
)
def test_the_shapes_of_a_wide_network(make, size, outputs):
    new = rebuilt(model_of(make, size), mix_of(0, 1, 2, 0))
    assert (new.input_shape, new.output_shape) == ((None, size, size, 4), outputs)


def test_what_nobody_reads_has_neutral_numbers():
    model = behind(
        L.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0], name="first"),
        L.Rescaling([2.0, 3.0, 4.0], offset=[5.0, 6.0, 7.0], name="scale"),
        L.Normalization(axis=3, name="by_weights"),
        L.BatchNormalization(name="batch"),
    )
    new = rebuilt(model, mix_of(2, None))
    assert (new.get_layer("first").input_mean, new.get_layer("first").input_variance) == ([3.0, 0.0], [6.0, 1.0])
    assert (new.get_layer("scale").scale, new.get_layer("scale").offset) == ([4.0, 1.0], [7.0, 0.0])
    values = {weight.path: float(np.asarray(weight)[1]) for weight in new.weights if weight.shape == (2,)}
    assert values == {
        "by_weights/mean": 0, "by_weights/variance": 1,
        "batch/gamma": 1, "batch/beta": 0, "batch/moving_mean": 0, "batch/moving_variance": 1,
        "body/bias": float(np.asarray(model.get_layer("body").bias)[1]),
    }  # fmt: skip


def test_what_nobody_reads_has_neutral_constants():
    keras.utils.clear_session(free_memory=False)  # ops are numbered from the start
    one, two = np.array([1.0, 2.0, 3.0], "float32"), np.array([4.0, 5.0, 6.0], "float32")
    model = behind(lambda x: (x - one) / two * one + two)
    entries = Calls(widen(model.get_config(), mix_of(2, None))).entries
    assert {name: entries[name]["inbound_nodes"][0]["args"][1]["config"]["value"] for name in ARITHMETIC} == ARITHMETIC


ARITHMETIC = {"subtract": [3.0, 0.0], "true_divide": [6.0, 1.0], "multiply": [3.0, 1.0], "add": [6.0, 0.0]}


@keras.saving.register_keras_serializable("torso_test_widening")
class Odd(keras.Layer):
    def call(self, x: Any) -> Any:
        return x


class ReLU(Odd):
    """Of the same name as a layer of Keras, and no more."""


def twice(x: Any) -> Any:
    conv = L.Conv2D(3, 1, name="x")
    return conv(conv(x))


UNEQUAL = "may treat channels differently"
OTHERS = "is also called on other tensors than the images"


@pytest.mark.parametrize(
    ("kind", "layer", "reason"),
    [
        ("DepthwiseConv2D", lambda: L.DepthwiseConv2D(2, name="x"), UNEQUAL),
        ("LayerNormalization", lambda: L.LayerNormalization(name="x"), UNEQUAL),
        ("Flip", lambda: lambda x: keras.ops.flip(x, -1), UNEQUAL),
        ("Odd", lambda: Odd(name="x"), UNEQUAL),
        ("ReLU", lambda: ReLU(name="x"), UNEQUAL),
        ("DepthwiseConv2D", lambda: keras.Sequential([L.DepthwiseConv2D(2, name="x")], name="s"), UNEQUAL),
        ("Concatenate", lambda: lambda x: L.Concatenate(name="x")([x, x]), UNEQUAL),
        ("ZeroPadding2D", lambda: L.ZeroPadding2D(data_format="channels_first", name="x"), "has its channels first"),
        ("Conv2D", lambda: L.Conv2D(6, 1, groups=3, name="x"), "reads the channels in groups"),
        ("Add", lambda: lambda x: L.Add(name="x")([x, L.Conv2D(3, 1)(x)]), "joins the images with other tensors"),
        ("Normalization", lambda: L.Normalization((2, 3), name="x"), "normalises along [2, 3], not along"),
        ("BatchNormalization", lambda: L.BatchNormalization(1, name="x"), "normalises along [1], not along"),
        ("Subtract", lambda: lambda x: x - np.ones((8, 8, 3), "float32"), "holds other numbers than one for each"),
        ("Maximum", lambda: lambda x: keras.ops.maximum(x, np.ones(3, "float32")), "holds other numbers than one"),
        ("Conv2D", lambda: twice, OTHERS),
    ],
)
def test_what_cannot_be_widened_is_named(kind, layer, reason):
    keras.utils.clear_session(free_memory=False)  # ops are numbered from the start
    model = model_of(layer())
    name = {"Flip": "flip", "Subtract": "subtract", "Maximum": "maximum"}.get(kind, "x")
    name = "s/x" if any(isinstance(one, keras.Sequential) for one in model.layers) else name
    with pytest.raises(OptionError) as caught:
        widen(model.get_config(), mix_of(0, 1, 2, 0))
    fact = f"the network cannot be adapted to images with a different number of channels: {name!r}, a {kind}, {reason}"
    assert caught.value.fact.startswith(fact)


KERNEL = np.array([-0.0, 1e-45, np.float32(1) / 3, 3.4e38, -1e-38, 7.0], "float32").reshape(1, 1, 3, 2)


def test_a_channel_that_is_copied_is_so_to_the_last_bit():
    found = adapted(KERNEL, (1, 1, 4, 2), mix_of(2, None, 1, 0))
    assert found.dtype == KERNEL.dtype
    assert found[:, :, [0, 2, 3]].tobytes() == KERNEL[:, :, [2, 1, 0]].tobytes()
    assert not found[:, :, 1].any()
    odd = np.array([np.nan, np.inf, 1.0], "float32").reshape(3, 1)
    assert adapted(odd, (1, 1), mix_of(2)).tolist() == [[1.0]], "what is not read does not count, not even as NaN"


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_kernels_are_sums_and_statistics_are_means(dtype):
    kernel, mix = np.array([1.0, 2.0, 4.0], dtype).reshape(1, 3, 1), ((1.0, 1.0, 0.0), (-0.5, 0.0, 0.5))
    assert adapted(kernel, (1, 2, 1), mix).tolist() == [[[3.0], [1.5]]]
    assert adapted(kernel.reshape(3), (2,), mix, "moving_mean").tolist() == [1.5, 2.5]
    assert adapted(kernel, (1, 2, 1), mix).dtype == kernel.dtype


@pytest.mark.parametrize(
    ("shape", "name", "wanted"),
    [((2, 4), "kernel", (4, 4)), ((3,), "kernel", (4,)), ((4,), "mean", (4,)), ((3, 2), "kernel", (3, 2))],
)
def test_an_array_of_other_channels_is_refused(shape, name, wanted):
    with pytest.raises(ValueError, match=r"argument|axis|shape"):
        adapted(np.zeros(shape), wanted, mix_of(0, 1, 2, 0), name)


@pytest.mark.parametrize("name", parameters(ARCHITECTURES, FAMILIES))
def test_a_network_is_drawn_for_other_channels(name):
    """It has the same nodes and edges, and weights that differ only where it reads the images."""
    plan = torso.plan(name, registry=registry())
    with without_values(), without_weights():
        full = build(input_shape=plan.input_shape, **plan.arguments)
        mixed = image_weights(full)
        assert len(mixed) == (3 if name.startswith("EfficientNetB") else 1)
        for want in (1, 2, 4, 13) if name == "ResNet50" else (4,):
            new = type(full).from_config(widen(full.get_config(), tuple(map(tuple, repeat(3, want, {})))))
            assert (new.input_shape, new.output_shape) == ((*full.input_shape[:3], want), full.output_shape)
            assert calls(new.get_config()) == calls(full.get_config())
            for old, weight in zip(full.weights, new.weights, strict=True):
                part = {"kernel": -2, "mean": 0, "variance": 0}.get(mixed.get(id(old), ""))
                shape = list(old.shape)
                if part is not None:
                    assert shape[part] == 3
                    shape[part] = want
                assert (unnumbered(weight.name), list(weight.shape)) == (unnumbered(old.name), shape)


def unnumbered(name: str) -> str:
    return re.sub("_[0-9]+$", "", name)  # ConvNeXt has a weight that its author gave no name


def calls(config: Any) -> list[Any]:
    entries = Calls(config).entries
    return [(call.layer, entries[call.layer]["class_name"], call.number, call.inputs) for call in Calls(config).ordered]
