"""Strides and receptive fields, against the pixels that a position really depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from torso.graph import Graph
from torso.modeling.graph_reader import read_graph

layers = keras.layers

POSITIVE = {"kernel_initializer": "ones", "use_bias": False}
ONES = {"filters": 1, **POSITIVE}
DEPTHWISE = {"depthwise_initializer": "ones", "use_bias": False}
SEPARABLE = {**DEPTHWISE, "filters": 1, "pointwise_initializer": "ones"}


def model_of(*chain: Callable[[Any], Any], size: tuple[int, int] = (64, 64)) -> keras.Model:
    """A network that calls these layers or functions one after the other."""
    inputs = x = keras.Input((*size, 3))
    for link in chain:
        x = link(x)
    return keras.Model(inputs, x)


def graph_of(model: keras.Model) -> Graph:
    return read_graph(model, "Net")


def pixels_of(model: keras.Model, axis: int, position: int) -> tuple[int, int]:
    """By brute force: the first and the last pixel along an axis that a position of the output depends on.

    The model is linear, with weights above 0 alone: what lights up after one row of white pixels depends on that row.
    """
    size = model.input_shape[1 + axis]
    images = np.zeros((size, *model.input_shape[1:]), "float32")
    np.moveaxis(images, 1 + axis, 1)[np.arange(size), np.arange(size)] = 1
    outputs = np.moveaxis(computed(model, images), 1 + axis, 1)
    pixels = np.flatnonzero(outputs[:, position].reshape(size, -1).max(axis=1) > 0)
    return int(pixels[0]), int(pixels[-1])


def computed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a model gives, twice the same: Conv2DTranspose of TensorFlow 2.21 is now and then wrong.

    With oneDNN and several threads, 11 of 150 runs lit up positions that see no pixel; with one thread, or without oneDNN
    (``TF_ENABLE_ONEDNN_OPTS=0``), none of 150 did.
    """
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    while not np.array_equal(outputs, again := keras.ops.convert_to_numpy(model(images, training=False))):
        outputs = again
    return outputs


# --- by brute force -----------------------------------------------------------------------------------------------------

Chain = list[tuple[str, dict[str, Any]]]


@st.composite
def links(draw: st.DrawFn, exact: bool = True) -> tuple[str, dict[str, Any]]:
    """One layer and its arguments; ``exact`` without those for which a bound is all that is told."""
    kinds = ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dilated", "AveragePooling2D", "ZeroPadding2D", "Cropping2D"]
    kind = draw(st.sampled_from(kinds if exact else [*kinds, "bilinear", "nearest", "Conv2DTranspose"]))
    if kind in ("ZeroPadding2D", "Cropping2D"):
        sides = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
        return kind, {"padding" if kind == "ZeroPadding2D" else "cropping": sides}
    if kind in ("bilinear", "nearest"):
        return "UpSampling2D", {"size": draw(st.integers(1, 3)), "interpolation": kind}
    # a transposed window smaller than the stride would leave positions that depend on nothing
    extent, step = st.integers(2 if kind == "Conv2DTranspose" else 1, 4), st.integers(1, 2)
    windows, padding = (draw(extent), draw(extent)), draw(st.sampled_from(["same", "valid"]))
    if kind == "Dilated":
        return "Conv2D", {"kernel_size": windows, "dilation_rate": draw(st.integers(2, 3)), "padding": padding, **ONES}
    strides = (draw(step),) * 2 if kind in ("DepthwiseConv2D", "SeparableConv2D") else (draw(step), draw(step))
    if kind == "AveragePooling2D":
        return kind, {"pool_size": windows, "strides": strides, "padding": padding}
    own = {"Conv2D": ONES, "Conv2DTranspose": ONES, "DepthwiseConv2D": DEPTHWISE}.get(kind, SEPARABLE)
    return kind, {"kernel_size": windows, "strides": strides, "padding": padding, **own}


def through(chain: Chain, x: Any) -> Any:
    for kind, arguments in chain:
        x = getattr(layers, kind)(**arguments)(x)
    return x


SIDE = 96


def assert_as_by_brute_force(model: keras.Model, *, exact: bool = True) -> None:
    node = graph_of(model).end
    assert node.receptive_field is not None
    assume(node.receptive_field <= SIDE // 2 and min(model.output_shape[1:3]) >= 4)
    fields, shifts = [], set()
    for axis in (0, 1):
        middle = model.output_shape[1 + axis] // 2
        (first, last), (first_of_next, last_of_next) = (pixels_of(model, axis, at) for at in (middle, middle + 1))
        assume(first > 0 and last_of_next < SIDE - 1)  # no border is in sight
        fields.append(last - first + 1)
        shifts |= {first_of_next - first, last_of_next - last}
    if exact:
        assert node.receptive_field == max(fields)
        assert node.stride == (shifts.pop() if len(shifts) == 1 else None)
    else:
        assert node.receptive_field >= max(fields)


health = {"deadline": None, "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow]}


@settings(max_examples=12, **health)
@given(st.lists(links(), min_size=1, max_size=5))
def test_a_chain_has_the_stride_and_receptive_field_that_brute_force_finds(chain):
    inputs = keras.Input((SIDE, SIDE, 1))
    assert_as_by_brute_force(keras.Model(inputs, through(chain, inputs)))


@settings(max_examples=8, **health)
@given(st.lists(links(exact=False), min_size=1, max_size=4))
def test_the_receptive_field_is_never_too_small_after_a_layer_that_enlarges(chain):
    inputs = keras.Input((SIDE, SIDE, 1))
    assert_as_by_brute_force(keras.Model(inputs, through(chain, inputs)), exact=False)


@st.composite
def branches(draw: st.DrawFn) -> tuple[Chain, list[Chain]]:
    """A stem, and branches that halve the map equally often; all of the same padding, so that their maps have one size."""

    extent = st.integers(1, 4)

    def chain(steps: list[int]) -> Chain:
        return [
            ("Conv2D", {"kernel_size": (draw(extent), draw(extent)), "strides": step, "padding": "same", **ONES})
            for step in steps
        ]

    steps = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    stem = chain(draw(st.lists(st.integers(1, 2), max_size=1)))
    return stem, [chain(draw(st.permutations(steps))) for _ in range(draw(st.integers(2, 3)))]


@settings(max_examples=12, **health)
@given(branches(), st.sampled_from([layers.Add, layers.Concatenate]))
def test_a_join_has_the_stride_and_receptive_field_that_brute_force_finds(network, join):
    stem, chains = network
    inputs = keras.Input((SIDE, SIDE, 1))
    x = through(stem, inputs)
    assert_as_by_brute_force(keras.Model(inputs, join()([through(chain, x) for chain in chains])))


# --- one by one ---------------------------------------------------------------------------------------------------------


ALL, BACK = slice(None), slice(None, None, -1)


def halving(padding: str) -> list[Any]:
    return [layers.Conv2D(4, 3, strides=2, padding=padding) for _ in range(3)]


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        # the stride is that of the layers, not the ratio of the sizes
        (lambda: halving("same"), (8, 1 + 2 * (1 + 2 + 4), False)),
        (lambda: halving("valid"), (8, 1 + 2 * (1 + 2 + 4), False)),
        (lambda: [layers.Conv2D(4, (3, 2), dilation_rate=(2, 4), padding="same")], (1, 5, False)),
        (lambda: [layers.Conv2D(4, (1, 7)), layers.Conv2D(4, (3, 1))], (1, 7, False)),
        (lambda: [layers.Conv2D(4, 3, strides=(2, 1)), layers.ReLU()], (None, 3, False)),
        (lambda: [layers.Conv2D(4, 3, strides=(2, 1)), layers.ReLU(), layers.MaxPooling2D((1, 2))], (2, 4, False)),
        # a flip of the channels moves no position, any other flip does
        *((lambda axis=axis: [lambda x: keras.ops.flip(x, axis=axis), layers.Conv2D(4, 5, strides=2)], (2, 5, False))
          for axis in (-1, 3)),
        *((lambda axis=axis: [lambda x: keras.ops.flip(x, axis=axis), layers.Conv2D(4, 5)], (None, None, True))
          for axis in (None, 0, -2, (2, 3))),
        *((lambda layer=layer: [layers.Conv2D(3, 3), layers.ZeroPadding2D(1), layer], (None, None, True)) for layer in (
            layers.GlobalAveragePooling2D(), layers.GlobalMaxPooling2D(keepdims=True), layers.Flatten(),
            layers.Reshape((225, 25, 3)), layers.Permute((2, 1, 3)))),
        *((lambda layer=layer: [layer], (1, 1, False))
          for layer in (layers.BatchNormalization(), layers.LayerNormalization(), layers.UnitNormalization())),
        *((lambda layer=layer: [layer], (1, 1, True)) for layer in (
            layers.GroupNormalization(3), layers.LayerNormalization(axis=[1, 2, 3]), layers.Softmax(axis=1),
            lambda x: keras.ops.cumsum(x, axis=1))),
        # slices that turn or count from the end are not followed
        *((lambda key=key: [lambda x: x[key]], (None, None, True)) for key in (
            (ALL, BACK), (ALL, slice(-4, None)), (ALL, 3), (ALL, ALL, BACK))),
        (lambda: [lambda x: keras.ops.max_pool(x, 2), lambda x: keras.ops.average_pool(x, (3, 3), 1)], (2, 6, False)),
        (lambda: [lambda x: keras.ops.conv(x, np.ones((3, 3, 3, 4), "float32"), strides=2)], (None, None, True)),
        # nearest up-sampling reads one position, bilinear its neighbours too; a bound, as halves have their own offsets
        (lambda: [layers.MaxPooling2D(4), layers.UpSampling2D(2, interpolation="nearest")], (2, 4 + 2, False)),
        (lambda: [layers.MaxPooling2D(4), layers.UpSampling2D(2, interpolation="bilinear")], (2, 4 + 4 + 2, False)),
        (lambda: [layers.MaxPooling2D(4), layers.UpSampling2D(2), layers.UpSampling2D(4)], (None, 8, False)),
    ],
)  # fmt: skip
def test_stride_receptive_field_and_global_context(chain, found):
    node = graph_of(model_of(*chain(), size=(75, 75))).end
    assert (node.stride, node.receptive_field, node.sees_all) == found


def pad(x: Any, *rows: int) -> Any:
    return layers.ZeroPadding2D((rows, (0, 0)))(x)


def op_pad(x: Any, *rows: int) -> Any:
    return keras.ops.pad(x, ((0, 0), rows, (0, 0), (0, 0)))


def token(x: Any) -> Any:
    return layers.Reshape((1, 1, 3))(layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


half = layers.MaxPooling2D()


@pytest.mark.parametrize(
    ("branches", "found"),
    [
        # the outermost pixels of all branches
        (lambda x: [pad(x, 4, 0), pad(x, 0, 4)], (1, 5, False)),
        (lambda x: [op_pad(x, 4, 0), op_pad(x, 0, 4)], (1, 5, False)),
        (lambda x: [x[:, :-3, :], x[:, 3:, :]], (1, 4, False)),
        # branches of different strides are no feature map together
        (lambda x: [layers.Conv2D(3, 1)(layers.Cropping2D(4)(x)), half(x)], (None, None, True)),
        # joined with something else than a feature map
        (lambda x: [token(half(x)), half(x)], (2, 2, True)),
    ],
)
def test_a_join(branches, found):
    inputs = keras.Input((16, 16, 3))
    node = graph_of(keras.Model(inputs, layers.Add()(branches(inputs)))).end
    assert (node.stride, node.receptive_field, node.sees_all) == found


@pytest.mark.parametrize(
    ("key", "stride", "shift"),
    [
        ((slice(None), slice(None, None, 2), slice(1, None, 2)), 2, 1),
        ((slice(None), slice(1, None), slice(2, -1)), 1, 2),
        ((slice(None), slice(3, 60, 3), slice(None, None, 3)), 3, 0),
        ((slice(None), slice(None, None, 2)), None, 0),
        ((..., slice(2, None), slice(0, 2)), 1, 2),
        ((slice(None), ..., slice(None, None, -1)), 1, 0),
    ],
    ids=str,
)
def test_a_slice_moves_and_strides(key, stride, shift):
    model = model_of(layers.Conv2D(3, 3, padding="same", **POSITIVE), lambda x: x[key])
    node = graph_of(model).end
    assert (node.kind, node.stride, node.receptive_field) == ("GetItem", stride, 3)
    first, last = pixels_of(model, 1, 5)
    assert (first + last) // 2 == 5 * (stride or 1) + shift  # what brute force finds for the columns


@pytest.mark.parametrize(("size", "field"), [(63, 3), (64, 4), (None, 4)])
def test_where_same_padding_falls_depends_on_the_size_of_the_image(size, field):
    """TensorFlow pads an even image behind alone, and an odd one on both sides, as the other branch does by itself."""
    inputs = keras.Input((size, size, 1))
    same = layers.Conv2D(1, 3, strides=2, padding="same", **POSITIVE)(inputs)
    both_sides = layers.Conv2D(1, 3, strides=2, **POSITIVE)(layers.ZeroPadding2D(1)(inputs))
    model = keras.Model(inputs, layers.Add()([same, both_sides]))
    assert graph_of(model).end.receptive_field == field
    if size is not None:
        first, last = pixels_of(model, 0, 10)
        assert last - first + 1 == field
