"""MACs and FLOPs of one call, for one image at inference, by fixed conventions.

**MACs** (multiply-accumulates, the "mult-adds" of papers) are the products with a kernel or between two tensors:
convolutions, dense layers, ``matmul``, ``einsum`` and attention. **FLOPs** are 2 per MAC, and for each value of the output

==============================================  ==========================================================
a bias, an activation, any other layer or op    1
BatchNormalization, Normalization, Rescaling    2 (one product, one sum, as at inference)
LayerNormalization, GroupNormalization          7 (mean 1, difference 1, square and its mean 2, quotient 1, scale, shift)
Softmax                                         3
a join of n inputs                              n - 1
a pooling window                                one per value of the window; a global pooling one per value of the input
layers that only move or copy values            0
==============================================  ==========================================================

Multiplications by zero (padding, dilation) count, as in the papers. None means not known: a layer with kernels that torso
does not know, or an image of any size.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from torso.graph import Shape
from torso.model_config.calls import Config, is_keras

_FREE: Final = frozenset({
    "InputLayer", "Flatten", "Reshape", "Permute", "Concatenate", "RepeatVector", "Identity", "GetItem", "Transpose",
    "Squeeze", "ExpandDims", "Split", "Pad", "BroadcastTo", "Cast", "Stack", "Unstack", "Slice", "Dropout", "AlphaDropout",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise", "ZeroPadding1D",
    "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D",
})  # fmt: skip
_PER_VALUE: Final = {
    "BatchNormalization": 2, "Normalization": 2, "Rescaling": 2, "LayerNormalization": 7, "GroupNormalization": 7,
    "Softmax": 3, "PReLU": 1,
}  # fmt: skip
# Layers and ops that multiply tensors and that no rule here counts. Of Conv and the like the kernel is an argument.
_UNCOUNTED: Final = frozenset({
    "AdditiveAttention", "Attention", "Conv", "ConvTranspose", "DepthwiseConv", "DotProductAttention", "Inner",
    "SeparableConv", "Tensordot", "Vdot",
})  # fmt: skip


def cost_of_call(entry: Config, layer: Any, inputs: Sequence[Shape], output: Shape) -> tuple[int | None, int | None]:
    """MACs and FLOPs of one call for one image; shapes are without the batch axis, and the live layer knows its weights."""
    kind, config = entry["class_name"], entry["config"]
    if kind in _FREE and is_keras(entry):
        return 0, 0
    weights = [tuple(weight.shape) for weight in getattr(layer, "weights", ())]
    values = _size(output)
    macs = _macs(entry, weights, inputs, output)
    if any(side is None for shape in (*inputs, output) for side in shape):
        return (0 if macs == 0 else None), None  # a layer without products has none at any size
    if macs is None:
        return None, None
    if macs:
        applies = config.get("activation", "linear") != "linear"
        return macs, 2 * macs + values * (bool(config.get("use_bias")) + applies)
    if kind.startswith("Global") or kind in ("Mean", "Sum", "Max"):
        return 0, _size(inputs[0])
    pool = config.get("pool_size")
    if pool is not None:
        return 0, values * math.prod([pool] * (len(output) - 1) if isinstance(pool, int) else pool)
    if len(inputs) > 1 and not weights:
        return 0, values * (len(inputs) - 1)
    return 0, values * _PER_VALUE.get(kind, 1)


def _macs(entry: Config, weights: Sequence[tuple[int, ...]], inputs: Sequence[Shape], output: Shape) -> int | None:
    kind, config = entry["class_name"], entry["config"]
    kernels = [shape for shape in weights if len(shape) > 1]
    if kind in _UNCOUNTED:
        return None
    if not is_keras(entry):
        return None if kernels else 0
    if kind.startswith("Conv") and "kernel_size" in config:
        positions = inputs[0] if kind.endswith("Transpose") else output
        return math.prod(kernels[0]) * _size(positions[:-1])
    if kind.startswith(("DepthwiseConv", "SeparableConv")):
        return sum(math.prod(kernel) for kernel in kernels) * _size(output[:-1])
    if kind == "Dense":
        return math.prod(kernels[0]) * _size(inputs[0][:-1])
    if kind == "EinsumDense":
        return _einsum(config["equation"], [inputs[0], kernels[0]])
    if kind == "Einsum":
        return _einsum(config["subscripts"], list(inputs))
    if kind in ("Matmul", "Dot"):
        axes = config.get("axes", -1)  # that a product sums over, of each factor
        axis = axes if isinstance(axes, int) else axes[0]
        return _size(output) * (inputs[0][axis - 1 if axis > 0 else axis] or 1)  # shapes are without the batch
    if kind == "MultiHeadAttention":
        return _attention(config, kernels, inputs)
    return None if kernels and kind not in _PER_VALUE else 0


def _einsum(equation: str, shapes: Sequence[Shape]) -> int | None:
    """The product of the sizes of all indices but the batch's; None for an ellipsis."""
    terms = equation.split("->")[0].replace(" ", "").split(",")
    if len(shapes) == 1:
        shapes = [*shapes] * len(terms)  # a tensor times itself
    if "." in equation or len(terms) != len(shapes):
        return None
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        letters = term[len(term) - len(shape) :]  # an activation's shape lacks the batch
        sides.update({letter: side for letter, side in zip(letters, shape, strict=True) if side is not None})
    return math.prod(sides.values())


def _attention(config: Config, kernels: Sequence[tuple[int, ...]], inputs: Sequence[Shape]) -> int | None:
    """Projections, queries times keys, and weights times values; None if not every query meets every key."""
    if len(config.get("attention_axes") or inputs[0][:-1]) != len(inputs[0][:-1]):
        return None
    queries = _size(inputs[0][:-1])
    keys = _size(inputs[-1][:-1])
    query, key, value, out = (math.prod(kernel) for kernel in kernels if len(kernel) > 2)  # a bias has one side per head
    per_pair = int(config["num_heads"] * (config["key_dim"] + (config["value_dim"] or config["key_dim"])))
    return queries * (query + out) + keys * (key + value) + queries * keys * per_pair


def _size(shape: Shape) -> int:
    return math.prod(1 if side is None else side for side in shape)
