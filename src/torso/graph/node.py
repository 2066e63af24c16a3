"""A node: one call of a layer or op, and all that is known of it as data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of a Keras layer or of a bare op.

    Attributes:
        name: Canonical name: a function of the architecture alone. ``outer/inner`` inside a nested model; ``name:0``,
            ``name:1`` where one layer is called several times.
        kind: Class of the layer or op: ``Conv2D``, ``Add``.
        inputs: Names of the nodes whose outputs this one reads, in order.
        shape: Output shape without the batch axis; None for an axis of any size.
        stride: Input pixels from one cell of the output to the next, or None where it is no map of cells, or not the same
            along both sides.
        receptive_field: Input pixels along one side that a cell can depend on through windows (convolution, pooling); the
            longer side where they differ; an upper bound behind up-sampling. None where the output is no map of cells.
        sees_all: A cell depends on the whole image besides, through a mean over all cells (squeeze and excitation), or
            because the output is no map any more.
        kernel: Cells of the input that one window covers, (height, width), or None where the node has no window.
        activation: Function that the node applies at its end: ``relu``; empty where it applies none.
        parameters: Number of values in the node's weights. Those of a layer called several times stand at each call;
            ``layer`` tells such calls.
        macs: Multiply-accumulates for one image, or None where unknown. The conventions are those of
            ``torso.model_config.flops``.
        flops: Floating-point operations for one image, or None where unknown; same conventions.
        outputs: How many tensors it gives; a backbone cannot end at a node with several.
        is_op: A bare op: it has no weights, and Keras' ``get_layer`` cannot reach it.
        alias: Other names by which a user may call the node: those of the nested models that it is the end of, the
            outermost last.
        layer: Name of the layer that is called, where that is called several times; empty where it is the node's name.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    shape: Shape = ()
    stride: int | None = None
    receptive_field: int | None = None
    sees_all: bool = False
    kernel: tuple[int, int] | None = None
    activation: str = ""
    parameters: int = 0
    macs: int | None = 0
    flops: int | None = 0
    outputs: int = 1
    is_op: bool = False
    alias: tuple[str, ...] = ()
    layer: str = ""

    @property
    def channels(self) -> int | None:
        """Size of the last axis."""
        return self.shape[-1] if self.shape else None

    @property
    def values(self) -> int | None:
        """How many numbers the output has for one image; None where an axis is of any size."""
        sides = [side for side in self.shape if side is not None]
        return math.prod(sides) if len(sides) == len(self.shape) else None

    @property
    def can_end(self) -> bool:
        """Whether a backbone can end here: it is computed from the image, gives one tensor, and that has cells left."""
        return bool(self.inputs) and self.outputs == 1 and len(self.shape) > 1

    @property
    def weights_of(self) -> str:
        """Name of the layer that has the weights: calls of one layer share them."""
        return self.layer or self.name

    @property
    def is_numbered(self) -> bool:
        """Whether the name is one that Keras makes by counting, as ``conv2d_7``: another option may shift the count."""
        stem = re.sub(r"_[0-9]+$", "", self.name.rsplit("/", 1)[-1])
        return stem.replace("_", "") == re.sub(r"\W|_", "", self.kind).lower()


def channels_of(number: int | None) -> str:
    """``1 channel``, ``64 channels``."""
    return "1 channel" if number == 1 else f"{'?' if number is None else number} channels"


def describe(node: Node) -> str:
    """A node's kind, stride and channels in a few words."""
    words = [node.kind]
    if node.stride is not None:
        words.append(f"stride {node.stride}")
    if node.channels is not None:
        words.append(channels_of(node.channels))
    return ", ".join(words)
