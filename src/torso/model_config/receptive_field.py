"""Stride and receptive field of each output position on the image, computed from windows and paddings.

Along one axis, position *i* of a feature map depends on the pixels from ``first + i * stride`` to ``last + i * stride``.
A layer with windows moves both ends; a join takes the outermost of its inputs (Araujo, Norris and Sim, "Computing Receptive
Fields of Convolutional Neural Networks", Distill 2019, doi:10.23915/distill.00021). Shapes matter only for how ``same``
padding splits, so the stride is exact also where valid padding makes a map smaller. After up-sampling and transposed
convolutions, whose positions differ in what they depend on, the receptive field is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from torso.graph import Shape
from torso.model_config.calls import Config, is_keras


@dataclass(frozen=True)
class Axis:
    """The pixels that the positions of an output depend on, along one axis."""

    stride: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)

    @property
    def field(self) -> int:
        """The receptive field in pixels."""
        return math.ceil(self.last - self.first) + 1

    def window(self, extent: int, step: int, before: int) -> Axis:
        """After windows of ``extent`` positions, one every ``step``, with padding ``before`` the first."""
        return Axis(self.stride * step, self.first - before * self.stride, self.last + (extent - 1 - before) * self.stride)

    def spread(self, extent: int, step: int, before: int = 0) -> Axis:
        """After a layer that makes ``step`` positions of one, each from a window of ``extent`` new positions."""
        stride = self.stride / step
        return Axis(stride, self.first - (extent - 1 - before) * stride, self.last + before * stride)


Grid = tuple[Axis, Axis]  # height and width

# Layers and ops after which no rule here knows the pixels of a position. Of the ops Conv, ConvTranspose and so on the
# kernel is an argument: its size is in no configuration.
_SCATTER: Final = frozenset({
    "AffineTransform", "Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv", "ExtractPatches", "Flatten", "Flip",
    "Moveaxis", "Permute", "Repeat", "RepeatVector", "Reshape", "Resize", "Resizing", "Roll", "Rot90", "Swapaxes", "Take",
    "Tile", "Transpose",
})  # fmt: skip
_OVER_ALL_POSITIONS: Final = frozenset({
    "AdditiveAttention", "Attention", "Cumprod", "Cumsum", "GroupNormalization", "GroupQueryAttention",
    "MultiHeadAttention", "TimeDistributed",
})  # fmt: skip
_ALONG_AN_AXIS: Final = ("LayerNormalization", "Softmax")
_SOME_SIDE: Final = 224  # the size with which a layer is asked where the image has any size
_AXES: Final = 4  # batch, height, width and channels
_WHOLE: Final[Config] = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}


def grid_after(entry: Config, inputs: Sequence[Grid | None], shapes: Sequence[Shape], shape: Shape) -> Grid | None:
    """The grid of a node's output from the grids and shapes (without batch) of its inputs; None if it is no feature map."""
    maps = [grid for grid in inputs if grid is not None]
    kind = entry["class_name"]
    if kind == "InputLayer":
        return (Axis(), Axis()) if len(shape) == 3 else None
    if not maps or len(shape) != 3 or kind.startswith("Global"):
        return None
    # A flip from RGB to BGR moves no position.
    if kind in _SCATTER and not (kind == "Flip" and is_keras(entry) and _is_along_channels(entry)):
        return None
    sides = next(side for grid, side in zip(inputs, shapes, strict=True) if grid is not None)
    axes: list[Axis] = []
    for which in (0, 1):
        joined = [grid[which] for grid in maps]
        outermost = Axis(joined[0].stride, min(axis.first for axis in joined), max(axis.last for axis in joined))
        after = _axis_after(entry, outermost, which, sides[which], shape[which])
        if after is None or len({axis.stride for axis in joined}) > 1:
            return None
        axes.append(after)
    return axes[0], axes[1]


def with_sides(entry: Config, layer: Any, shapes: Sequence[Shape], shape: Shape) -> tuple[Sequence[Shape], Shape]:
    """The shapes of a call; for images of any size and a layer that is not Keras' own, those it computes for some size."""
    if is_keras(entry) or not any(None in known for known in (*shapes, shape)):
        return shapes, shape
    sized: list[Shape] = [tuple(_SOME_SIDE if side is None else side for side in known) for known in shapes]
    import keras  # not at module level: the rest needs the configuration only

    tensors = [keras.KerasTensor((1, *known)) for known in sized]
    for arguments in (tensors, [tensors]):  # one by one, or as a list
        with suppress(Exception):  # the layer's own code may raise anything
            found: Shape = tuple(layer.compute_output_spec(*arguments).shape[1:])
            if len(found) == len(shape):
                return sized, found
    return sized, (0,) * len(shape)  # not the shape of the input: that would mean that positions stay as they are


def window_of(entry: Config) -> tuple[int, int] | None:
    """Height and width of one window in positions of the input, with dilation; None for a layer without windows."""
    config = entry["config"]
    size = (config.get("kernel_size") or config.get("pool_size")) if is_keras(entry) else None
    if isinstance(size, int):  # an op, as ``keras.ops.max_pool(x, 2)``; layers have a tuple of it
        size = _pair(size)
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        return None
    dilation = _pair(config.get("dilation_rate", 1))
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def sees_all(entry: Config, grids: Sequence[Grid | None], grid: Grid | None, inputs: Sequence[bool]) -> bool:
    """Whether every output position depends on all pixels, not only through windows."""
    return (
        any(inputs)
        or entry["class_name"] in _OVER_ALL_POSITIONS
        or (entry["class_name"] in _ALONG_AN_AXIS and not _is_along_channels(entry))
        or (grid is None and any(before is not None for before in grids))
    )


def _is_along_channels(entry: Config) -> bool:
    axes = entry["config"].get("axis", -1)
    return (set(axes) if isinstance(axes, (list, tuple)) else {axes}) <= {-1, _AXES - 1}


def _axis_after(entry: Config, axis: Axis, which: int, size: int | None, left: int | None) -> Axis | None:
    """The axis after one node: by its rule, or unchanged if it has none and leaves the size as it was."""
    kind, config = entry["class_name"], entry["config"]
    if not is_keras(entry):  # its names may mean anything
        return axis if size == left else None
    if kind.startswith("UpSampling"):
        step = _pair(config["size"])[which]
        return axis.spread(step, step) if config["interpolation"] == "nearest" else axis.spread(2 * step, step, step)
    if kind.startswith("ZeroPadding"):
        return axis.window(1, 1, config["padding"][which][0])
    if kind.startswith("Cropping"):
        return axis.window(1, 1, -config["cropping"][which][0])
    if kind == "Pad":
        return axis.window(1, 1, config["pad_width"][which + 1][0])
    if kind == "GetItem":
        return _sliced(entry, axis, which)
    if kind == "Concatenate" and config.get("axis", -1) in (which + 1, which + 1 - _AXES):
        return None
    window = window_of(entry)
    if window is None or not (config.get("strides") or config.get("pool_size")):
        return axis if size == left else None
    extent, step = window[which], _pair(config.get("strides") or config["pool_size"])[which]
    is_transposed = kind.endswith("Transpose")
    spare = (math.ceil(size / step) - 1) * step + extent - size if size and not is_transposed else extent - step
    before = max(spare, 0) // 2 if config["padding"] == "same" else 0  # as TensorFlow splits it
    return axis.spread(extent, step, before) if is_transposed else axis.window(extent, step, before)


def _sliced(entry: Config, axis: Axis, which: int) -> Axis | None:
    """After ``x[:, a:b:s]`` or ``x[..., a:b:s, :]`` with ``a`` >= 0 and ``s`` > 0."""
    # a tuple in the configuration of a live model, a list in that of a saved one
    keys = next((list(keys) for keys in entry["inbound_nodes"][0]["args"] if isinstance(keys, (list, tuple))), [])
    for index, key in enumerate(keys):
        if isinstance(key, dict) and key.get("class_name") == "__ellipsis__":
            keys[index : index + 1] = [_WHOLE] * (_AXES - len(keys) + 1)
            break
    if any(not isinstance(key, dict) or key.get("class_name") != "__slice__" for key in keys):
        return None
    if len(keys) < which + 2:
        return axis
    cut = keys[which + 1]["config"]
    start, step = cut["start"] or 0, cut["step"] or 1
    return axis.window(1, step, -start) if start >= 0 and step > 0 else None


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
