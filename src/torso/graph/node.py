"""A node, which is one call of a layer or op, and a feature, which is one output of a backbone: as data."""

import math
import re
from dataclasses import dataclass

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of a Keras layer or of a bare op."""

    # Canonical: a function of the architecture alone. "outer/inner" inside a nested model; "name:0" and "name:1" where one
    # layer is called several times.
    name: str
    kind: str  # class of the layer or op: "Conv2D", "Add"
    inputs: tuple[str, ...] = ()  # names of the nodes whose outputs this one reads, in order
    shape: Shape = ()  # of the output, without the batch axis; None for an axis of any size
    # Input pixels from one position of the output to the next; None where it is no feature map, or not the same along both
    # sides.
    stride: int | None = None
    # The longer side, in input pixels, of the area that reaches a position through windows (convolution, pooling); an upper
    # bound after up-sampling. None where the output is no feature map.
    receptive_field: int | None = None
    sees_all: bool = False  # a position also depends on the whole image: global pooling, or no feature map any more
    kernel: tuple[int, int] | None = None  # height and width of the window over the input
    activation: str = ""  # the function that the node applies last: "relu"; empty for none
    parameters: int = 0  # values in the node's weights; repeated at each call of one layer
    macs: int | None = 0  # multiply-accumulates for one image, None where unknown; counted as torso.model_config.flops says
    flops: int | None = 0  # floating-point operations, likewise
    outputs: int = 1  # number of output tensors; a backbone cannot end at a node with several
    is_op: bool = False  # a bare op: it has no weights, and Keras' get_layer cannot reach it
    alias: tuple[str, ...] = ()  # names of the nested models that end with the node, the outermost last
    settings: str = ""  # what it computes with: "max_value=6 threshold=0"
    layer: str = ""  # of a layer that is called several times, its name

    @property
    def channels(self) -> int | None:
        """Size of the last axis."""
        return self.shape[-1] if self.shape else None

    @property
    def values(self) -> int | None:
        """Number of output values for one image; None where an axis is of any size."""
        sides = [side for side in self.shape if side is not None]
        return math.prod(sides) if len(sides) == len(self.shape) else None

    @property
    def can_end(self) -> bool:
        """Whether a backbone can end here: at one tensor that is computed from the image and has positions left."""
        return bool(self.inputs) and self.outputs == 1 and self.is_map

    @property
    def is_map(self) -> bool:
        """Whether the output has positions, and is not one vector for a whole image."""
        return len(self.shape) > 1 and (self.stride is not None or self.shape[:-1] != (1, 1))

    @property
    def weights_of(self) -> str:
        """Name of the layer that has the weights: calls of one layer share them."""
        return self.layer or self.name

    @property
    def is_numbered(self) -> bool:
        """Whether Keras made the name by counting, as ``conv2d_7``: other options may shift the count."""
        stem = re.sub(r"_[0-9]+$", "", self.name.rsplit("/", 1)[-1])
        return stem.replace("_", "") == re.sub(r"\W|_", "", self.kind).lower()


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One output of a backbone."""

    name: str  # of the output: its level where it was chosen by level, its node otherwise
    node: str  # name of the node
    stride: int | None  # input pixels from one position to the next; None where it is no feature map
    channels: int | None  # size of the last axis
    shape: Shape  # without the batch axis
    level: str | None = None  # "C1" to "C5", where the output is one of those


def channels_of(number: int | None) -> str:
    """``1 channel``, ``64 channels``."""
    return "1 channel" if number == 1 else f"{'?' if number is None else number} channels"


def describe(node: Node) -> str:
    """``Conv2D, stride 16, 96 channels``."""
    stride = [] if node.stride is None else [f"stride {node.stride}"]
    channels = [] if node.channels is None else [channels_of(node.channels)]
    return ", ".join([node.kind, *stride, *channels])
