"""Where each cell of an output lies on the image: stride, receptive field and their origin, from windows and paddings alone.

Along one axis, the cell *i* of an output depends on the pixels from ``first + i * stride`` to ``last + i * stride``; a layer
with windows moves both, and a join takes the outermost of its inputs (the derivation of Araujo, Norris and Sim, "Computing
Receptive Fields of Convolutional Neural Networks", Distill 2019, doi:10.23915/distill.00021). Shapes play no part but for
how ``same`` padding splits, so that a stride is exact where valid padding makes a map smaller than the image over it.
Behind up-sampling and transposed convolutions, whose cells differ in what they depend on, the field covers that of any of
them and is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras

from torso.graph import Shape
from torso.model_config.calls import Config, is_keras


@dataclass(frozen=True)
class Axis:
    """The pixels that the cells of an output depend on, along one axis."""

    stride: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)

    @property
    def field(self) -> int:
        """How many pixels one cell depends on."""
        return math.ceil(self.last - self.first) + 1

    def window(self, extent: int, step: int, before: int) -> Axis:
        """Behind windows of so many cells, one every ``step`` cells, with so many cells of padding before the first."""
        return Axis(self.stride * step, self.first - before * self.stride, self.last + (extent - 1 - before) * self.stride)

    def spread(self, extent: int, step: int, before: int = 0) -> Axis:
        """Behind a layer that makes ``step`` cells of one, each from windows of ``extent`` of the new cells."""
        stride = self.stride / step
        return Axis(stride, self.first - (extent - 1 - before) * stride, self.last + before * stride)


Grid = tuple[Axis, Axis]
"""Height and width."""

_SCATTER = frozenset(
    (
        "AffineTransform",
        "Conv",  # ops that take their kernel as an argument: its size stands in no configuration
        "ConvTranspose",
        "DepthwiseConv",
        "SeparableConv",
        "ExtractPatches",
        "Flatten",
        "Flip",
        "Moveaxis",
        "Permute",
        "Repeat",
        "RepeatVector",
        "Reshape",
        "Resize",
        "Resizing",
        "Roll",
        "Rot90",
        "Swapaxes",
        "Take",
        "Tile",
        "Transpose",
    )
)
"""Layers and ops behind which no rule here tells the pixels of a cell."""

_SOME_SIDE = 224
"""Cells that a layer is asked with where it may be any number of them."""

_AXES = 4
"""Batch, height, width and channels."""

_WHOLE: Config = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}

_OVER_ALL_CELLS = frozenset(
    (
        "AdditiveAttention",
        "Attention",
        "Cumprod",
        "Cumsum",
        "GroupNormalization",
        "GroupQueryAttention",
        "MultiHeadAttention",
        "TimeDistributed",
    )
)
_ALONG_AN_AXIS = ("LayerNormalization", "Softmax")


def grid_behind(entry: Config, inputs: Sequence[Grid | None], shapes: Sequence[Shape], shape: Shape) -> Grid | None:
    """The grid of a node's output, or None where it is no map of cells.

    Args:
        entry: Configuration of the layer or op.
        inputs: Grid of each input.
        shapes: Shape of each input, without the batch axis.
        shape: Shape of the output.
    """
    maps = [grid for grid in inputs if grid is not None]
    kind = entry["class_name"]
    if entry["class_name"] == "InputLayer":
        return (Axis(), Axis()) if len(shape) == 3 else None
    if not maps or len(shape) != 3 or kind.startswith("Global"):
        return None
    if kind in _SCATTER and not _turns_channels_alone(entry):
        return None
    joined = (_outermost([grid[0] for grid in maps]), _outermost([grid[1] for grid in maps]))
    if joined[0] is None or joined[1] is None:
        return None
    sides = next(side for grid, side in zip(inputs, shapes, strict=True) if grid is not None)
    axes = [_behind(entry, axis, which, sides[which], shape[which]) for which, axis in enumerate(joined) if axis is not None]
    return None if axes[0] is None or axes[1] is None else (axes[0], axes[1])


def with_sides(entry: Config, layer: Any, shapes: Sequence[Shape], shape: Shape) -> tuple[Sequence[Shape], Shape]:
    """The shapes of a call; where sides are open and no rule here knows the layer, those that it tells for some size.

    Where it tells none, its output has no cells: it is not to be taken for one that leaves a map as it is.
    """
    if is_keras(entry) or not any(None in known for known in (*shapes, shape)):
        return shapes, shape
    sized: list[Shape] = [tuple(_SOME_SIDE if side is None else side for side in known) for known in shapes]
    tensors = [keras.KerasTensor((1, *known)) for known in sized]
    for arguments in (tensors, [tensors]):  # one by one, or as a list
        with suppress(Exception):  # whatever its own code raises
            found: Shape = tuple(layer.compute_output_spec(*arguments).shape[1:])
            if len(found) == len(shape):
                return sized, found
    return sized, (0,) * len(shape)


def window_of(entry: Config) -> tuple[int, int] | None:
    """The cells of the input that one window covers, dilation included."""
    config = entry["config"]
    size = (config.get("kernel_size") or config.get("pool_size")) if is_keras(entry) else None
    if isinstance(size, int):  # an op, as ``keras.ops.max_pool(x, 2)``; layers have a tuple of it
        size = _pair(size)
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        return None
    dilation = _pair(config.get("dilation_rate", 1))
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def sees_all(entry: Config, grids: Sequence[Grid | None], grid: Grid | None, inputs: Sequence[bool]) -> bool:
    """Whether a cell of the output depends on every pixel, by other ways than windows."""
    return (
        any(inputs)
        or entry["class_name"] in _OVER_ALL_CELLS
        or (entry["class_name"] in _ALONG_AN_AXIS and _axes_of(entry) - {-1, _AXES - 1} != set())
        or (grid is None and any(before is not None for before in grids))
    )


def _turns_channels_alone(entry: Config) -> bool:
    """Whether it is a flip from RGB to BGR, which leaves every cell where it is."""
    return entry["class_name"] == "Flip" and is_keras(entry) and entry["config"].get("axis") in (-1, _AXES - 1)


def _axes_of(entry: Config) -> set[int]:
    axes = entry["config"].get("axis", -1)
    return {axes} if isinstance(axes, int) else set(axes)


def _behind(entry: Config, axis: Axis, which: int, cells: int | None, left: int | None) -> Axis | None:
    """Behind one node: as its rule says, or unchanged where it has none and leaves as many cells as there were."""
    kind, config = entry["class_name"], entry["config"]
    if not is_keras(entry):  # the names of its class and of its settings may mean anything
        return axis if cells == left else None
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
        return axis if cells == left else None
    step = _pair(config.get("strides") or config["pool_size"])[which]
    if kind.endswith("Transpose"):
        return axis.spread(window[which], step, max(window[which] - step, 0) // 2 if config["padding"] == "same" else 0)
    return axis.window(window[which], step, _before(config["padding"], window[which], step, cells))


def _before(padding: str, extent: int, step: int, cells: int | None) -> int:
    """Cells of padding in front of the first, as TensorFlow splits them."""
    if padding != "same":
        return 0
    covered = (math.ceil(cells / step) - 1) * step + extent - cells if cells else extent - step
    return max(covered, 0) // 2


def _sliced(entry: Config, axis: Axis, which: int) -> Axis | None:
    """Behind ``x[:, a:b:s]`` or ``x[..., a:b:s, :]``, where both ``a`` and ``s`` are plain numbers from 0 on."""
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


def _outermost(axes: Sequence[Axis]) -> Axis | None:
    """What a join of branches depends on; None where their strides differ, as then no cell lies on another."""
    strides = {axis.stride for axis in axes}
    if len(strides) > 1:
        return None
    return Axis(strides.pop(), min(axis.first for axis in axes), max(axis.last for axis in axes))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
