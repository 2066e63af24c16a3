"""What is said of a name that a network does not have, by its whole text."""

from __future__ import annotations

import pytest

from torso.errors import UnknownNameError
from torso.graph import Graph, Node

NAMES = [
    ("input_layer", "InputLayer"),
    ("conv1_conv", "Conv2D"),
    ("conv1_relu", "Activation"),
    *((f"activation{f'_{number}' if number else ''}", "Activation") for number in range(12)),
    ("re_lu", "ReLU"),
    ("twin:0", "Dense"),
    ("twin:1", "Dense"),
]
GRAPH = Graph(
    "Net",
    tuple(
        Node(
            name=name,
            kind=kind,
            inputs=(NAMES[index - 1][0],) if index else (),
            shape=(4, 4, 8),
            stride=2,
            layer="twin" if name.startswith("twin") else "",
            alias=("tower",) if name == "twin:1" else (),
        )
        for index, (name, kind) in enumerate(NAMES)
    ),
)
AUTOMATIC = (
    "  cause: Keras counts {0!r} over everything that the process built; torso counts within Net, {0!r} to {1!r}\n"
    "  did you mean: {2!r}, if only Net was built before\n"
)
CLEAN = "  clean cuts: twin:1, twin:0, re_lu, activation_11, activation_10, activation_9, … and 11 more"


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("conv1_rleu", "  did you mean: 'conv1_relu'  (Activation, stride 2, 8 channels), or 'conv1_conv'\n"),
        ("conv1/relu", "  did you mean: 'conv1_relu'  (Activation, stride 2, 8 channels)\n"),  # of older releases
        ("towre", "  did you mean: 'tower'  (Dense, stride 2, 8 channels)\n"),
        # what Keras calls activation_11 in the third network of a process
        ("activation_35", AUTOMATIC.format("activation", "activation_11", "activation_11")),
        ("activation_24", AUTOMATIC.format("activation", "activation_11", "activation")),
        ("re_lu_7", AUTOMATIC.format("re_lu", "re_lu", "re_lu")),
        ("twin", "  cause: the layer 'twin' is called 2 times\n  did you mean: 'twin:0' or 'twin:1'\n"),
        ("conv1_conv_3", "  did you mean: 'conv1_conv'  (Conv2D, stride 2, 8 channels)\n"),  # Keras numbers none like it
        ("", ""),
    ],
)
def test_an_unknown_node_is_answered_with_what_may_be_meant(name: str, notes: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        GRAPH[name]
    assert str(caught.value) == f"node {name!r} is not in Net\n{notes}{CLEAN}"


def test_a_level_is_no_node() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^node 'C4' is not in Net\n  fix: C4 is a level: truncate by level, not by layer$"
    ):
        GRAPH["C4"]
