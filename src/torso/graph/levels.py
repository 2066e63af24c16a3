"""Where blocks end, and the levels C1 to C5: read off the clean nodes of a graph, without a word of any family's names.

A **join** (two branches added or concatenated) ends a block. Where nothing is joined, a block is a run of windows
(convolutions larger than 1×1, pooling) at one stride with the 1×1 convolution that follows them, and the activations and
normalisations behind it. A 1×1 convolution behind a join, or behind a 1×1 convolution without activation (the linear
bottleneck of inverted residuals), belongs to the next block: it widens for it, or reduces for it.

The **level** of stride 2, 4, … 32 is the last block output at that stride, as in the FPN paper (Lin et al. 2017,
arXiv:1612.03144); ``C4@expansion`` is the last clean node at that stride, where it has more channels than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from torso.graph.node import Node

LEVELS: Final[Mapping[str, int]] = {"C1": 2, "C2": 4, "C3": 8, "C4": 16, "C5": 32}
"""Name of each level and its stride in input pixels."""

EXPANSION: Final = "@expansion"

_GATES: Final = frozenset({"Multiply"})
_WEIGHTED: Final = frozenset({"Conv2D", "Dense", "EinsumDense"})
_PADDING: Final = frozenset({"ZeroPadding2D", "Cropping2D", "Pad"})
_ACTIVATIONS: Final = frozenset(
    (
        "Activation",
        "CELU",
        "ELU",
        "Elu",
        "GELU",
        "Gelu",
        "HardSigmoid",
        "HardSilu",
        "LeakyReLU",
        "LeakyRelu",
        "Mish",
        "PReLU",
        "ReLU",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Silu",
        "Softplus",
        "Swish",
        "Tanh",
    )
)


def role(node: Node) -> str:
    """What a node does for the blocks: join, window, pointwise, norm, activation, gate, padding or other."""
    if len(node.inputs) > 1:
        return "gate" if node.kind in _GATES else "join"
    if node.kind in _PADDING:
        return "padding"
    if node.kernel is not None:
        weighted = node.kind in _WEIGHTED and node.kernel == (1, 1)
        return "pointwise" if weighted else "window"
    if node.kind in _WEIGHTED:
        return "pointwise"
    if node.kind.endswith("Normalization"):
        return "norm"
    return "activation" if node.kind in _ACTIVATIONS else "other"


def block_outputs(clean: Sequence[Node]) -> tuple[Node, ...]:
    """The clean nodes that end a block, in order.

    Args:
        clean: The clean nodes of a graph, from the input to the end.
    """
    found: list[Node] = []
    block: Node | None = None  # the output of the block so far
    joined = projected = widened = False  # how it ends so far: by a join; by a linear 1×1 convolution; by a 1×1 convolution

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
            kind = "window"  # whatever changes the resolution begins a block
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
    return _with_the_last_norm(found, clean)


def _with_the_last_norm(found: list[Node], clean: Sequence[Node]) -> tuple[Node, ...]:
    """Networks that normalise in front of each block end in a normalisation of their last one: it belongs to it."""
    if found:
        behind = clean[clean.index(found[-1]) + 1 :]
        if behind and all(role(node) in ("norm", "activation") for node in behind):
            found[-1] = behind[-1]
    return tuple(found)


def infer_levels(clean: Sequence[Node], blocks: Sequence[Node]) -> dict[str, str]:
    """The node of each level that a graph has, the expansions among them.

    Args:
        clean: The clean nodes that a backbone can end at.
        blocks: Those among them that end a block.
    """
    levels: dict[str, str] = {}
    for level, stride in LEVELS.items():
        output = _last(node for node in blocks if node.stride == stride)
        last = _last(node for node in clean if node.stride == stride and role(node) != "padding")
        if output is None or last is None:
            continue
        levels[level] = output.name
        if (last.channels or 0) > (output.channels or 0):
            levels[level + EXPANSION] = last.name
    return levels


def _last(nodes: Iterable[Node]) -> Node | None:
    return next(reversed(list(nodes)), None)
