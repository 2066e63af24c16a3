"""MACs and FLOPs of single layers by hand, and of whole networks against TensorFlow's own profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import torso
from torso.graph import Graph
from torso.modeling.graph_reader import read_graph

layers = keras.layers

SIZE = (8, 10, 6)  # height, width, channels
CELLS = 8 * 10


def costs(*chain: Callable[[Any], Any], size: tuple[int | None, ...] = SIZE) -> tuple[int | None, int | None]:
    """MACs and FLOPs of the last of these layers."""
    inputs = x = keras.Input(size)
    for link in chain:
        x = link(x)
    node = read_graph(keras.Model(inputs, x), "Net").end
    return node.macs, node.flops


# --- products with kernels ----------------------------------------------------------------------------------------------


def test_a_convolution_multiplies_its_kernel_once_per_cell_of_the_output() -> None:
    macs = 4 * 5 * (3 * 3 * 6) * 7  # cells of the output, values of one window, filters
    assert costs(layers.Conv2D(7, 3, strides=2, padding="same", use_bias=False)) == (macs, 2 * macs)


def test_a_convolution_without_padding_has_fewer_cells() -> None:
    macs = 6 * 8 * (3 * 3 * 6) * 7
    assert costs(layers.Conv2D(7, 3, use_bias=False)) == (macs, 2 * macs)


def test_a_bias_and_a_fused_activation_are_one_flop_per_value_each() -> None:
    macs, values = 6 * 8 * (3 * 3 * 6) * 7, 6 * 8 * 7
    assert costs(layers.Conv2D(7, 3)) == (macs, 2 * macs + values)
    assert costs(layers.Conv2D(7, 3, use_bias=False, activation="relu")) == (macs, 2 * macs + values)
    assert costs(layers.Conv2D(7, 3, activation="relu")) == (macs, 2 * macs + 2 * values)


def test_groups_divide_the_products_and_dilation_does_not_change_them() -> None:
    macs = CELLS * (3 * 3 * 6 // 2) * 4
    assert costs(layers.Conv2D(4, 3, padding="same", groups=2, use_bias=False)) == (macs, 2 * macs)
    macs = CELLS * (3 * 3 * 6) * 4
    assert costs(layers.Conv2D(4, 3, padding="same", dilation_rate=2, use_bias=False)) == (macs, 2 * macs)
    macs = (8 - 4) * (10 - 4) * (3 * 3 * 6) * 4  # a window covers 5 cells, and reads 3
    assert costs(layers.Conv2D(4, 3, dilation_rate=2, use_bias=False)) == (macs, 2 * macs)


def test_a_depthwise_convolution_reads_one_channel_per_value() -> None:
    macs, values = 4 * 5 * 3 * 5 * (6 * 2), 4 * 5 * 12
    layer = layers.DepthwiseConv2D((3, 5), strides=2, padding="same", depth_multiplier=2)
    assert costs(layer) == (macs, 2 * macs + values)


def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one() -> None:
    macs = 4 * 5 * (3 * 3 * 6 * 2 + 6 * 2 * 7)
    layer = layers.SeparableConv2D(7, 3, strides=2, padding="same", depth_multiplier=2, use_bias=False)
    assert costs(layer) == (macs, 2 * macs)


@pytest.mark.parametrize(("padding", "cells"), [("same", 16 * 20), ("valid", 17 * 21)])
def test_a_transposed_convolution_multiplies_its_kernel_once_per_cell_of_the_input(padding: str, cells: int) -> None:
    macs = CELLS * (3 * 3 * 6) * 7
    assert costs(layers.Conv2DTranspose(7, 3, strides=2, padding=padding)) == (macs, 2 * macs + cells * 7)


def test_convolutions_of_one_and_three_axes_are_counted_alike() -> None:
    macs = 6 * (3 * 5) * 4
    assert costs(layers.Conv1D(4, 3, use_bias=False), size=(8, 5)) == (macs, 2 * macs)
    macs = 6**3 * (3**3 * 2) * 4
    assert costs(layers.Conv3D(4, 3, use_bias=False), size=(8, 8, 8, 2)) == (macs, 2 * macs)


def test_a_dense_layer_multiplies_its_kernel_once_per_cell() -> None:
    macs = CELLS * 6 * 7
    assert costs(layers.Dense(7, activation="gelu")) == (macs, 2 * macs + 2 * CELLS * 7)
    assert costs(layers.Dense(7, use_bias=False), size=(6,)) == (6 * 7, 2 * 6 * 7)


def test_einsum_dense_multiplies_over_all_indices_but_the_batch() -> None:
    macs = CELLS * 6 * 2 * 7
    layer = layers.EinsumDense("bhwc,cde->bhwde", output_shape=(8, 10, 2, 7))
    assert costs(layer) == (macs, 2 * macs)


# --- products of tensors ------------------------------------------------------------------------------------------------


def test_einsum_of_two_tensors_multiplies_over_all_indices_but_the_batch() -> None:
    inputs = keras.Input(SIZE)
    other = layers.ReLU()(inputs)[:, :, :4]
    product = keras.ops.einsum("bhwc,bhvc->bhwv", inputs, other)
    node = read_graph(keras.Model(inputs, product), "Net").end
    assert (node.macs, node.flops) == (8 * 10 * 4 * 6, 2 * 8 * 10 * 4 * 6)


def test_einsum_of_a_tensor_with_itself_has_both_factors() -> None:
    macs = 8 * 10 * 10 * 6
    assert costs(lambda x: keras.ops.einsum("bhwc,bhvc->bhwv", x, x)) == (macs, 2 * macs)


def test_einsum_with_an_ellipsis_is_unknown() -> None:
    assert costs(lambda x: keras.ops.einsum("...wc,...vc->...wv", x, x)) == (None, None)


def test_matmul_multiplies_rows_with_columns() -> None:
    macs = 8 * 10 * 10 * 6
    assert costs(lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2)))) == (macs, 2 * macs)


@pytest.mark.parametrize(("axes", "macs"), [(1, 5 * 5 * 7), (2, 7 * 7 * 5), (-1, 7 * 7 * 5), ((1, 1), 5 * 5 * 7)])
def test_a_dot_layer_sums_over_its_axes(axes: int | tuple[int, int], macs: int) -> None:
    assert costs(lambda x: layers.Dot(axes)([x, layers.ReLU()(x)]), size=(7, 5)) == (macs, 2 * macs)


@pytest.mark.parametrize("value_dim", [None, 5])
def test_self_attention_is_four_projections_and_two_products_of_all_pairs(value_dim: int | None) -> None:
    tokens, channels, heads, keys = 64, 6, 2, 3
    values = value_dim or keys
    projections = tokens * channels * heads * (2 * keys + 2 * values)  # queries and keys, values and the output
    pairs = tokens * tokens * heads * (keys + values)
    attention = layers.MultiHeadAttention(heads, keys, value_dim=value_dim)
    macs = projections + pairs
    assert costs(lambda x: attention(x, x), size=(tokens, channels)) == (macs, 2 * macs + tokens * channels)


def test_attention_to_other_tokens_counts_both_lengths() -> None:
    inputs, other = keras.Input((64, 6)), keras.Input((16, 4))
    node = read_graph(keras.Model([inputs, other], layers.MultiHeadAttention(2, 3)(inputs, other)), "Net").end
    queries_and_output, keys_and_values, pairs = 64 * 2 * (6 * 6), 16 * 2 * (4 * 6), 64 * 16 * 2 * 6
    assert node.macs == queries_and_output + keys_and_values + pairs


# --- all the rest -------------------------------------------------------------------------------------------------------

VALUES = CELLS * 6


@pytest.mark.parametrize(
    ("layer", "flops"),
    [
        (layers.BatchNormalization(), 2 * VALUES),
        (layers.Rescaling(2.0, 1.0), 2 * VALUES),
        (layers.Normalization(mean=[0.0] * 6, variance=[1.0] * 6), 2 * VALUES),
        (layers.LayerNormalization(), 7 * VALUES),
        (layers.GroupNormalization(2), 7 * VALUES),
        (layers.Softmax(), 3 * VALUES),
        (layers.ReLU(), VALUES),
        (layers.PReLU(shared_axes=[1, 2]), VALUES),
        (layers.Activation("swish"), VALUES),
        (lambda x: x * 2.0, VALUES),
        (layers.MaxPooling2D(2), 4 * 5 * 6 * 4),
        (layers.MaxPooling2D(3, strides=2), 3 * 4 * 6 * 9),
        (layers.AveragePooling2D((1, 2), strides=1, padding="same"), VALUES * 2),
        (lambda x: keras.ops.max_pool(x, 2, 2), 4 * 5 * 6 * 4),
        (layers.GlobalAveragePooling2D(), VALUES),
        (layers.GlobalMaxPooling2D(keepdims=True), VALUES),
        (lambda x: keras.ops.mean(x, axis=(1, 2)), VALUES),
        (layers.Dropout(0.5), 0),
        (layers.Flatten(), 0),
        (layers.Reshape((80, 6)), 0),
        (layers.ZeroPadding2D(), 0),
        (layers.Cropping2D(), 0),
        (layers.UpSampling2D(), 0),
        (lambda x: x[:, ::2], 0),
    ],
)
def test_layers_without_products_cost_flops_alone(layer: Callable[[Any], Any], flops: int) -> None:
    assert costs(layer) == (0, flops)


def test_pooling_over_one_and_three_axes_costs_one_flop_per_cell_of_the_window() -> None:
    assert costs(layers.MaxPooling1D(2), size=(8, 3)) == (0, 4 * 3 * 2)
    assert costs(layers.AveragePooling3D(2), size=(4, 4, 4, 3)) == (0, 8 * 3 * 8)


def test_a_join_of_n_inputs_costs_n_minus_1_flops_per_value_and_a_concatenation_none() -> None:
    inputs = keras.Input(SIZE)
    branches = [layers.ReLU()(inputs), layers.Softmax()(inputs), inputs]
    for join, flops in ((layers.Add(), 2 * VALUES), (layers.Average(), 2 * VALUES), (layers.Concatenate(), 0)):
        node = read_graph(keras.Model(inputs, join(branches)), "Net").end
        assert (node.macs, node.flops) == (0, flops)


@keras.saving.register_keras_serializable(package="test_cost")
class Mixing(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """A layer with a kernel that no rule knows."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, values: Any) -> Any:
        return keras.ops.matmul(values, self.kernel)


def test_an_unknown_layer_with_a_kernel_is_unknown() -> None:
    assert costs(Mixing()) == (None, None)


@pytest.mark.parametrize("name", ["Dropout", "ZeroPadding2D", "Identity"])
def test_a_layer_with_a_kernel_that_is_called_as_a_free_one_of_keras_is_unknown(name: str) -> None:
    assert costs(type(name, (Mixing,), {})()) == (None, None)


@pytest.mark.parametrize(
    "product",
    [
        lambda x: keras.ops.conv(x, keras.ops.ones((3, 3, 6, 4))),
        lambda x: keras.ops.depthwise_conv(x, keras.ops.ones((3, 3, 6, 1))),
        lambda x: keras.ops.tensordot(x, keras.ops.ones((6, 4)), 1),
        lambda x: layers.Attention()([x, layers.ReLU()(x)]),
    ],
)
def test_a_product_that_no_rule_counts_is_unknown(product: Callable[[Any], Any]) -> None:
    assert costs(product) == (None, None)


def test_an_axis_of_any_size_makes_the_cost_unknown_but_where_nothing_is_computed() -> None:
    assert costs(layers.Conv2D(4, 3), size=(None, None, 3)) == (None, None)
    assert costs(layers.ZeroPadding2D(), size=(None, None, 3)) == (0, 0)


@pytest.mark.parametrize(
    "layer",
    [layers.ReLU(), layers.Rescaling(2), layers.MaxPooling2D(), layers.BatchNormalization(), layers.GlobalMaxPooling2D()],
)
def test_what_multiplies_with_no_kernel_has_no_macs_at_any_size(layer: keras.Layer) -> None:
    assert costs(layer, size=(8, None, 3)) == (0, None)


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2))),
        lambda x: keras.ops.matmul(keras.ops.transpose(x, (0, 1, 3, 2)), x),  # over the open axis
        lambda x: layers.MultiHeadAttention(1, 4)(x, x),
        layers.Dense(4),
        layers.DepthwiseConv2D(3),
        layers.Conv2DTranspose(4, 3),
    ],
    ids=["matmul", "matmul over", "attention", "dense", "depthwise", "transposed"],
)
def test_what_multiplies_is_unknown_at_any_size(layer: Callable[[Any], Any]) -> None:
    assert costs(layer, size=(8, None, 3)) == (None, None)


def test_a_shared_layer_counts_its_parameters_once_and_each_call() -> None:
    inputs = keras.Input(SIZE)
    shared = layers.Conv2D(6, 3, padding="same", use_bias=False)
    graph = read_graph(keras.Model(inputs, shared(layers.ReLU()(shared(inputs)))), "Net")
    once = CELLS * 3 * 3 * 6 * 6
    assert graph.cost().parameters == 3 * 3 * 6 * 6
    assert (graph.cost().macs, graph.cost().flops) == (2 * once, 2 * (2 * once) + VALUES)


# --- TensorFlow's profiler ----------------------------------------------------------------------------------------------


def profiled(model: keras.Model) -> dict[str, int]:
    """FLOPs of one call by kind of operation, and in all, as TensorFlow counts them."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    images = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(images)
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        whole = profiler.profile(graph, options=options)
        by_kind = profiler.profile(graph, cmd="op", options=options)
    found = {"": int(whole.total_float_ops)}
    step = by_kind
    while step.children:
        step = step.children[0]
        found[step.name] = int(step.float_ops)
    return found


@pytest.mark.parametrize("architecture", [pytest.param("ResNet50", marks=pytest.mark.slow), "MobileNetV2", "VGG16"])
def test_whole_networks_cost_what_tensorflow_counts(architecture: str) -> None:
    builder = getattr(keras.applications, architecture)
    model = builder(weights=None, include_top=False, input_shape=(96, 96, 3))
    graph: Graph = torso.read_graph(architecture, input={"size": [96, 96]})
    counted = profiled(model)
    assert graph.cost().flops == pytest.approx(counted[""], rel=0.02)
    products = sum(counted.get(kind, 0) for kind in ("Conv2D", "DepthwiseConv2dNative"))
    assert 2 * (graph.cost().macs or 0) == products
