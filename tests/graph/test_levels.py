"""Where blocks end, on chains of clean nodes: one for each way in which networks are built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from torso.graph import Graph, Node
from torso.graph.levels import block_outputs, infer_levels, role

WORDS = {
    "image": {"kind": "InputLayer"},
    "conv": {"kind": "Conv2D", "kernel": (3, 3)},
    "conv+relu": {"kind": "Conv2D", "kernel": (3, 3), "activation": "relu"},
    "dw": {"kind": "DepthwiseConv2D", "kernel": (3, 3)},
    "sep": {"kind": "SeparableConv2D", "kernel": (3, 3)},
    "pw": {"kind": "Conv2D", "kernel": (1, 1)},
    "pw+relu": {"kind": "Conv2D", "kernel": (1, 1), "activation": "relu"},
    "dense": {"kind": "Dense"},
    "pool": {"kind": "MaxPooling2D", "kernel": (2, 2)},
    "bn": {"kind": "BatchNormalization"},
    "relu": {"kind": "ReLU"},
    "pad": {"kind": "ZeroPadding2D"},
    "drop": {"kind": "Dropout"},
    "add": {"kind": "Add", "inputs": ("left", "right")},
    "concat": {"kind": "Concatenate", "inputs": ("left", "right")},
    "gate": {"kind": "Multiply", "inputs": ("left", "right")},
    "flat": {"kind": "Flatten"},
}


def chain(text: str) -> list[Node]:
    """Nodes from words such as ``conv/2:16``: a kind, its stride and its channels; both are those before if not said."""
    nodes: list[Node] = []
    stride: int | None = 1
    channels = 3
    for position, word in enumerate(text.split()):
        word, _, width = word.partition(":")
        word, _, step = word.partition("/")
        stride, channels = (int(step) if step else stride), (int(width) if width else channels)
        stride = None if word == "flat" else stride
        facts: dict[str, Any] = {"inputs": tuple(node.name for node in nodes[-1:]), **WORDS[word]}
        nodes.append(Node(name=f"{position}:{word}", shape=(4, 4, channels), stride=stride, **facts))
    return nodes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # windows in a row are one block for each stride, as in VGG
        ("image conv+relu conv+relu pool/2 conv+relu conv+relu pool/4", ["conv+relu@2", "conv+relu@5", "pool@6"]),
        # a window and a 1×1 convolution after it, as in MobileNet
        ("image conv/2 bn relu dw bn relu pw bn relu pad dw/4 bn relu pw bn relu", ["relu@9", "relu@16"]),
        # the same at one stride: the window after the 1×1 convolution begins the next block
        ("image conv/2 dw pw relu dw pw relu", ["relu@4", "relu@7"]),
        # 1×1 convolutions with activations belong together, as in network in network
        ("image conv+relu/2 pw+relu pw+relu pool/4 conv+relu pw+relu", ["pw+relu@3", "pw+relu@6"]),
        # the same with the activations as nodes of their own
        ("image conv/2 pw bn relu pw bn relu", ["relu@7"]),
        # a linear bottleneck ends a block, and the 1×1 convolution after it widens for the next
        (
            "image conv/2 bn relu dw bn relu pw:16 bn pw:96 bn relu pad dw/4:96 bn relu pw:24 bn add:24 pw:144 bn relu dw/8",
            ["bn@8", "bn@17", "add@18", "dw@22"],
        ),
        # the same with a gate, as in squeeze and excitation
        ("image conv/2 bn relu dw bn relu gate pw:16 bn pw:96 bn relu dw/4", ["bn@9", "dw@13"]),
        # a join and its activation
        ("image conv/2 bn relu pad pool/4 add relu add relu", ["relu@3", "pool@5", "relu@7", "relu@9"]),
        # a transition after a join belongs to the next block, as in DenseNet
        ("image conv/2 concat:64 concat:96 bn relu pw:48 pool/4", ["conv@1", "concat@2", "concat@3", "pool@7"]),
        # a join may bring the resolution down itself, as in Inception
        ("image conv/2 concat/4 pw conv", ["conv@1", "concat@2", "conv@4"]),
        # a normalisation at the very end completes the last block, as in ResNetV2
        ("image conv/2 add add bn relu", ["conv@1", "add@2", "relu@5"]),
        ("image conv/2 add bn relu pw", ["conv@1", "add@2"]),
        # windows without a join at the end, as in Xception
        ("image conv/2 add sep bn relu sep bn relu", ["conv@1", "add@2", "relu@8"]),
        # dropout and padding are no part of any output
        ("image conv/2 drop pad conv/4 drop", ["conv@1", "conv@4"]),
        # a dense layer on a map is a 1×1 convolution; what is no map any more is no block
        ("image conv/2 dense flat dense", ["dense@2"]),
        ("image flat dense", []),
    ],
)  # fmt: skip
def test_blocks_end(text: str, found: list[str]) -> None:
    assert ["{2}@{0}".format(*node.name.partition(":")) for node in block_outputs(chain(text))] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image conv/2 pool/4 add relu add concat/8 sep/16 pw+relu",
         {"C1": "conv", "C2": "add", "C3": "concat", "C4": "pw+relu"}),  # the last block output at each stride
        ("image conv/3 conv/4 conv/6 conv/64", {"C2": "conv"}),  # strides that are no power of two, or skipped
        ("image conv/2:8 bn relu dw pw:16 bn pw:96 bn relu pad dw/4:96 pw:24 bn add:24 bn",
         {"C1": "bn", "C1@expansion": "relu", "C2": "bn"}),  # the wider node after it
        ("image conv/2 concat:64 bn relu pw:32 pool/4", {"C1": "concat", "C2": "pool"}),  # what narrows is no expansion
    ],
)  # fmt: skip
def test_levels_are_inferred(text: str, found: dict[str, str]) -> None:
    nodes = chain(text)
    assert {level: name.partition(":")[2] for level, name in infer_levels(nodes, block_outputs(nodes)).items()} == found


def test_declared_levels_come_before_inferred_ones() -> None:
    graph = Graph("Net", tuple(chain("image conv/2 relu relu conv/4 relu")))
    names = [node.name for node in graph]
    assert graph.levels == {"C1": names[3], "C2": names[5]}
    assert graph.with_levels({"C1": names[2]}).levels == {"C1": names[2], "C2": names[5]}
    levels = graph.with_levels({"C2@expansion": names[5], "C1": names[2]}).levels
    assert list(levels.items()) == [("C1", names[2]), ("C2", names[5]), ("C2@expansion", names[5])]  # in their order


def test_a_declared_level_that_the_graph_contradicts_is_an_error_with_default_options() -> None:
    graph = Graph("Net", tuple(chain("image conv/2 conv/4")))
    name = graph.nodes[1].name
    with pytest.raises(ValueError, match=f"^level C2 is declared to be {name!r}, whose stride is 2, not 4$"):
        graph.with_levels({"C2": name})
    with pytest.raises(ValueError, match=r"^level C3 is declared to be 'nowhere', whose stride is absent, not 8$"):
        graph.with_levels({"C3": "nowhere"})
    assert graph.with_levels({"C3": "nowhere"}, whole=False).levels == graph.levels
    assert graph.with_levels({"C2": name, "C3": "nowhere"}, as_declared=False).levels == graph.levels


def test_a_declared_name_that_keras_numbers_holds_with_default_options_only() -> None:
    names = ("image", "stem", "re_lu", "re_lu_1")
    nodes = enumerate(chain("image conv/2 relu relu"))
    graph = Graph("Net", tuple(replace(node, name=names[at], inputs=names[at - 1 : at]) for at, node in nodes))
    assert graph.levels == {"C1": "re_lu_1"}
    assert graph.with_levels({"C1": "re_lu"}).levels == {"C1": "re_lu"}
    assert graph.with_levels({"C1": "re_lu"}, as_declared=False).levels == {"C1": "re_lu_1"}
    assert graph.with_levels({"C1": "stem"}, as_declared=False).levels == {"C1": "stem"}


def test_names_that_keras_numbers_are_told_by_their_kind() -> None:
    numbered = [("Conv2D", "conv2d_7"), ("ReLU", "re_lu"), ("GlobalAveragePooling2D", "outer/global_average_pooling2d_1")]
    others = [("Conv2D", "stem_conv2d"), ("Activation", "activation_out"), ("Conv2D", "conv_7")]
    assert [Node(name=name, kind=kind).is_numbered for kind, name in numbered + others] == [True] * 3 + [False] * 3


def test_roles_of_layers_that_look_like_others() -> None:
    for kind in ("DepthwiseConv2D", "MaxPooling2D"):  # a window of one position that mixes no channels is a window
        assert role(Node(name="one", kind=kind, inputs=("a",), kernel=(1, 1))) == "window"
    assert role(Node(name="scale", kind="CustomScaleLayer", inputs=("a", "b"))) == "join"
