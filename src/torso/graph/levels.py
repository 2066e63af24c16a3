"""Where blocks end, and the levels C1 to C5: inferred from the clean nodes, without the names of any family.

A **join** (branches that are added or concatenated) ends a block. Where nothing is joined, a block is a run of windows
(convolutions larger than 1×1, pooling) at one stride with the 1×1 convolution that follows, and the activations and
normalisations after it. A 1×1 convolution after a join, or after a linear 1×1 convolution (the bottleneck of an inverted
residual), belongs to the next block: it widens or reduces for it.

The **level** of stride 2, 4, … 32 is the last block output at that stride, as in the FPN paper (Lin et al. 2017,
arXiv:1612.03144). ``C4@expansion`` is the last clean node at that stride, where it has more channels than C4.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from torso.graph.node import Node

LEVELS: Final[Mapping[str, int]] = {"C1": 2, "C2": 4, "C3": 8, "C4": 16, "C5": 32}
"""Name of each level and its stride in input pixels."""

EXPANSION: Final = "@expansion"  # after the name of a level

_WEIGHTED: Final = frozenset({"Conv2D", "Dense", "EinsumDense"})
_PADDING: Final = frozenset({"ZeroPadding2D", "Cropping2D", "Pad"})
_ACTIVATIONS: Final = frozenset({
    "Activation", "CELU", "ELU", "Elu", "GELU", "Gelu", "HardSigmoid", "HardSilu", "LeakyReLU", "LeakyRelu", "Mish", "PReLU",
    "ReLU", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softplus", "Swish", "Tanh",
})  # fmt: skip


def role(node: Node) -> str:
    """What a node does for the blocks: join, window, pointwise, norm, activation, gate, padding or other."""
    if len(node.inputs) > 1:
        return "gate" if node.kind == "Multiply" else "join"  # squeeze and excitation scales a block, and joins no branch
    if node.kind in _PADDING:
        return "padding"
    if node.kind in _WEIGHTED and node.kernel in (None, (1, 1)):  # a dense layer on a feature map is a 1×1 convolution
        return "pointwise"
    if node.kernel is not None:
        return "window"
    if node.kind.endswith("Normalization"):
        return "norm"
    return "activation" if node.kind in _ACTIVATIONS else "other"


def block_outputs(clean: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes that end a block, in order, of the clean nodes of a graph."""
    found: list[Node] = []
    block: Node | None = None  # the output of the block so far
    # How the block ends so far: with a join, with a linear 1×1 convolution, with any 1×1 convolution.
    joined = projected = widened = False

    def close() -> None:
        nonlocal block
        if block is not None:
            found.append(block)
        block = None

    for before, node in pairwise(clean):
        if node.stride is None:
            continue
        kind = role(node)
        if node.stride != before.stride and kind not in ("join", "padding"):
            kind = "window"  # a change of resolution begins a block
        if kind == "join":
            close()
            block, joined, projected, widened = node, True, False, False
        elif kind == "window":
            if joined or widened or (block is not None and block.stride != node.stride):
                close()
            block, joined, projected, widened = node, False, False, False
        elif block is None:
            continue  # on the way into the next block
        elif kind == "pointwise" and not joined and not projected:
            block, projected, widened = node, not node.activation, True
        elif kind in ("pointwise", "norm") and (joined or kind == "pointwise"):
            close()
        elif kind in ("norm", "activation", "gate"):
            block = node
            projected = projected and kind == "norm"
    close()
    if found:  # networks that normalise before each block end with one more normalisation, of their last block
        after = clean[clean.index(found[-1]) + 1 :]
        if after and all(role(node) in ("norm", "activation") for node in after):
            found[-1] = after[-1]
    return tuple(found)


def infer_levels(clean: Sequence[Node], blocks: Sequence[Node]) -> dict[str, str]:
    """The node of each level, expansions included; ``blocks`` are those of the clean nodes that end a block."""
    levels: dict[str, str] = {}
    for level, stride in LEVELS.items():
        outputs = [node for node in blocks if node.stride == stride]
        ends = [node for node in clean if node.stride == stride and role(node) != "padding"]
        if outputs and ends:
            levels[level] = outputs[-1].name
            if (ends[-1].channels or 0) > (outputs[-1].channels or 0):
                levels[level + EXPANSION] = ends[-1].name
    return levels
