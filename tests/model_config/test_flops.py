"""MACs and FLOPs of single layers by hand, and of whole networks against TensorFlow's own profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import torso
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


# --- products -----------------------------------------------------------------------------------------------------------

NO_BIAS: dict[str, Any] = {"use_bias": False}
C = layers.Conv2D


def attention(x: Any, **more: Any) -> Any:
    return layers.MultiHeadAttention(2, 3, **more)(x, x)


@pytest.mark.parametrize(
    ("layer", "size", "macs", "more"),
    [
        # convolutions: positions of the output, values of one window, filters
        (lambda: C(7, 3, strides=2, padding="same", **NO_BIAS), SIZE, 4 * 5 * (3 * 3 * 6) * 7, 0),
        (lambda: C(7, 3, **NO_BIAS), SIZE, 6 * 8 * (3 * 3 * 6) * 7, 0),
        (lambda: C(7, 3), SIZE, 6 * 8 * (3 * 3 * 6) * 7, 6 * 8 * 7),
        (lambda: C(7, 3, activation="relu", **NO_BIAS), SIZE, 6 * 8 * (3 * 3 * 6) * 7, 6 * 8 * 7),
        (lambda: C(7, 3, activation="relu"), SIZE, 6 * 8 * (3 * 3 * 6) * 7, 2 * 6 * 8 * 7),
        (lambda: C(4, 3, padding="same", groups=2, **NO_BIAS), SIZE, CELLS * (3 * 3 * 6 // 2) * 4, 0),
        (lambda: C(4, 3, padding="same", dilation_rate=2, **NO_BIAS), SIZE, CELLS * (3 * 3 * 6) * 4, 0),
        (lambda: C(4, 3, dilation_rate=2, **NO_BIAS), SIZE, (8 - 4) * (10 - 4) * (3 * 3 * 6) * 4, 0),
        (lambda: layers.Conv1D(4, 3, **NO_BIAS), (8, 5), 6 * (3 * 5) * 4, 0),
        (lambda: layers.Conv3D(4, 3, **NO_BIAS), (8, 8, 8, 2), 6**3 * (3**3 * 2) * 4, 0),
        (lambda: layers.DepthwiseConv2D((3, 5), strides=2, padding="same", depth_multiplier=2), SIZE,
         4 * 5 * 3 * 5 * (6 * 2), 4 * 5 * 12),
        (lambda: layers.SeparableConv2D(7, 3, strides=2, padding="same", depth_multiplier=2, **NO_BIAS), SIZE,
         4 * 5 * (3 * 3 * 6 * 2 + 6 * 2 * 7), 0),
        # a transposed convolution multiplies its kernel once per position of the input
        (lambda: layers.Conv2DTranspose(7, 3, strides=2, padding="same"), SIZE, CELLS * (3 * 3 * 6) * 7, 16 * 20 * 7),
        (lambda: layers.Conv2DTranspose(7, 3, strides=2, padding="valid"), SIZE, CELLS * (3 * 3 * 6) * 7, 17 * 21 * 7),
        (lambda: layers.Dense(7, activation="gelu"), SIZE, CELLS * 6 * 7, 2 * CELLS * 7),
        (lambda: layers.Dense(7, **NO_BIAS), (6,), 6 * 7, 0),
        (lambda: layers.EinsumDense("bhwc,cde->bhwde", output_shape=(8, 10, 2, 7)), SIZE, CELLS * 6 * 2 * 7, 0),
        # products of tensors: over all indices but the batch
        (lambda: lambda x: keras.ops.einsum("bhwc,bhvc->bhwv", x, layers.ReLU()(x)[:, :, :4]), SIZE, 8 * 10 * 4 * 6, 0),
        (lambda: lambda x: keras.ops.einsum("bhwc,bhvc->bhwv", x, x), SIZE, 8 * 10 * 10 * 6, 0),
        (lambda: lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2))), SIZE, 8 * 10 * 10 * 6, 0),
        *((lambda axes=axes: lambda x: layers.Dot(axes)([x, layers.ReLU()(x)]), (7, 5), macs, 0)
          for axes, macs in ((1, 5 * 5 * 7), (2, 7 * 7 * 5), (-1, 7 * 7 * 5), ((1, 1), 5 * 5 * 7))),
        # attention: four projections, then queries by keys and weights by values
        (lambda: attention, (64, 6), 64 * 6 * 2 * (2 * 3 + 2 * 3) + 64 * 64 * 2 * (3 + 3), 64 * 6),
        (lambda: lambda x: attention(x, value_dim=5), (64, 6), 64 * 6 * 2 * (2 * 3 + 2 * 5) + 64 * 64 * 2 * (3 + 5), 64 * 6),
    ],
)  # fmt: skip
def test_products_are_counted(layer, size, macs, more):
    assert costs(layer(), size=size) == (macs, 2 * macs + more)


def test_attention_to_other_tokens_counts_both_lengths():
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
def test_layers_without_products_cost_flops_alone(layer, flops):
    assert costs(layer) == (0, flops)
    assert costs(layers.MaxPooling1D(2), size=(8, 3)) == (0, 4 * 3 * 2)
    assert costs(layers.AveragePooling3D(2), size=(4, 4, 4, 3)) == (0, 8 * 3 * 8)


def test_a_join_of_n_inputs_costs_n_minus_1_flops_per_value_and_a_concatenation_none():
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


OPEN = (8, None, 3)


@pytest.mark.parametrize(
    ("layer", "size", "found"),
    [
        (lambda: Mixing(), SIZE, (None, None)),
        # named like a layer of Keras that costs nothing
        *((lambda name=name: type(name, (Mixing,), {})(), SIZE, (None, None)) for name in ("Dropout", "Identity")),
        (lambda: lambda x: keras.ops.conv(x, keras.ops.ones((3, 3, 6, 4))), SIZE, (None, None)),
        (lambda: lambda x: keras.ops.depthwise_conv(x, keras.ops.ones((3, 3, 6, 1))), SIZE, (None, None)),
        (lambda: lambda x: keras.ops.tensordot(x, keras.ops.ones((6, 4)), 1), SIZE, (None, None)),
        (lambda: lambda x: keras.ops.einsum("...wc,...vc->...wv", x, x), SIZE, (None, None)),
        (lambda: lambda x: layers.Attention()([x, layers.ReLU()(x)]), SIZE, (None, None)),
        (lambda: lambda x: attention(x, attention_axes=(1,)), (8, 8, 4), (None, None)),
        # at any size
        (lambda: C(4, 3), (None, None, 3), (None, None)),
        (lambda: layers.ZeroPadding2D(), (None, None, 3), (0, 0)),
        *((layer, OPEN, (0, None)) for layer in (layers.ReLU, lambda: layers.Rescaling(2), layers.MaxPooling2D,
                                                 layers.BatchNormalization, layers.GlobalMaxPooling2D)),
        (lambda: lambda x: keras.ops.matmul(x, keras.ops.transpose(x, (0, 1, 3, 2))), OPEN, (None, None)),
        (lambda: lambda x: keras.ops.matmul(keras.ops.transpose(x, (0, 1, 3, 2)), x), OPEN, (None, None)),
        (lambda: attention, OPEN, (None, None)),
        (lambda: layers.Dense(4), OPEN, (None, None)),
        (lambda: layers.DepthwiseConv2D(3), OPEN, (None, None)),
        (lambda: layers.Conv2DTranspose(4, 3), OPEN, (None, None)),
    ],
)  # fmt: skip
def test_what_is_not_known_is_none(layer, size, found):
    assert costs(layer(), size=size) == found


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


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["MobileNetV2", "ResNet50", "VGG16"])
def test_whole_networks_cost_what_tensorflow_counts(architecture):
    builder = getattr(keras.applications, architecture)
    model = builder(weights=None, include_top=False, input_shape=(96, 96, 3))
    graph = torso.read_graph(architecture, input={"size": [96, 96]})
    counted = profiled(model)
    assert graph.cost().flops == pytest.approx(counted[""], rel=0.02)
    products = sum(counted.get(kind, 0) for kind in ("Conv2D", "DepthwiseConv2dNative"))
    assert 2 * (graph.cost().macs or 0) == products
