"""Parameters, MACs, FLOPs and receptive fields against published ones, which nobody here computed.

Papers count the network with its classifier; torso reads it without. The classifier is therefore added by hand: it is
nothing but dense layers. fixtures/published.json holds the figures with their sources. Where one differs, its row says why
and holds what is measured instead.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import graphs
import pytest

import torso
from torso import Graph

PUBLISHED: dict[str, Any] = json.loads((graphs.FIXTURES / "published.json").read_text(encoding="utf-8"))
HIDDEN = {"MobileNetV3Large": (1280,), "MobileNetV3Small": (1024,), "VGG16": (4096, 4096), "VGG19": (4096, 4096)}
"""Widths of the dense layers before the last one; VGG's read the flattened map, all others its mean."""


@cache
def graph_of(architecture: str, size: int = 0, alpha: float = 1) -> Graph:
    """The network at the size of its paper, which is torso's default, or at another one."""
    if not size and alpha == 1:
        return graphs.graph_of(architecture)
    options = {} if alpha == 1 else {"alpha": alpha}
    return torso.read_graph(architecture, options=options, input={"size": [size, size]} if size else {})


def head_of(graph: Graph) -> list[tuple[int, int]]:
    """The dense layers of the classifier for 1000 classes: inputs and outputs of each."""
    end = math.prod(side or 0 for side in graph.end.shape) if graph.name.startswith("VGG") else graph.end.channels or 0
    return list(pairwise((end, *HIDDEN.get(graph.name, ()), 1000)))


def macs_of(row: dict[str, Any]) -> int:
    """Of the full network."""
    graph = graph_of(row["architecture"], row.get("size", 0), row.get("alpha", 1))
    return (graph.cost().macs or 0) + sum(inputs * outputs for inputs, outputs in head_of(graph))


def trainable_of(graph: Graph) -> int:
    """Trainable parameters of the full network: all but the moving statistics of normalisations."""
    statistics = sum(2 * (node.channels or 0) for node in graph if node.kind == "BatchNormalization")
    statistics += sum(node.parameters for node in graph if node.kind == "Normalization")
    return graph.cost().parameters - statistics + sum((inputs + 1) * outputs for inputs, outputs in head_of(graph))


def each_row(rows: list[dict[str, Any]]) -> Any:
    """A parameter ``row`` for each; those of all but the smallest architectures are slow."""
    marked = []
    for row in rows:
        marks = () if row["architecture"] in graphs.SMALLEST.values() else pytest.mark.slow
        marked.append(pytest.param(row, id="-".join(str(row[key]) for key in SHOWN if key in row), marks=marks))
    return pytest.mark.parametrize("row", marked)


SHOWN = ("architecture", "macs", "alpha", "size", "node")  # in the name of a test


@each_row(PUBLISHED["trainable parameters"])
def test_trainable_parameters_are_the_published_number(row: dict[str, Any]) -> None:
    assert trainable_of(graph_of(row["architecture"])) == row["published"], row["source"]


@each_row(PUBLISHED["resnet parameters"]["rows"])
def test_resnets_have_the_published_parameters_and_keras_own_biases(row: dict[str, Any]) -> None:
    graph = graph_of(row["architecture"])
    assert sum(node.channels or 0 for node in graph if node.kind == "Conv2D") == row["biases"]
    assert trainable_of(graph) == row["published"] + row["biases"]


def test_inception_v3_has_the_published_parameters_without_auxiliary_classifier() -> None:
    """torchvision's 27,161,264 are with the auxiliary classifier; Keras' normalisations only shift."""
    auxiliary = (768 * 128 + 2 * 128) + (128 * 768 * 5 * 5 + 2 * 768) + (768 * 1000 + 1000)  # two convolutions, one dense
    graph = graph_of("InceptionV3")
    scales = sum(node.channels or 0 for node in graph if node.kind == "BatchNormalization")
    assert trainable_of(graph) == 27_161_264 - auxiliary - scales


@each_row(PUBLISHED["macs to the last digit"])
def test_macs_are_the_published_ones_to_their_last_digit(row: dict[str, Any]) -> None:
    published = Decimal(row["macs"])
    last_digit = Decimal(1).scaleb(int(published.as_tuple().exponent))
    assert Decimal(macs_of(row)).quantize(last_digit) == published, row["source"]


@each_row(PUBLISHED["macs within 2 percent"])
def test_macs_are_the_published_ones_within_2_percent_or_their_rounding(row: dict[str, Any]) -> None:
    published, measured = Decimal(row["macs"]), macs_of(row)
    allowed = max(Decimal("0.02") * published, Decimal("0.5").scaleb(int(published.as_tuple().exponent)))
    assert (abs(measured - published) <= allowed) == ("why" not in row), row["source"]
    assert measured == row.get("measured", measured), row.get("why")


@pytest.mark.parametrize("name", graphs.parameters(PUBLISHED["receptive fields"]["nodes"]))
def test_receptive_fields_and_strides_are_the_published_ones(name: str) -> None:
    published = PUBLISHED["receptive fields"]["nodes"][name]
    nodes = [graph_of(name)[node] for node, _, _ in published]
    assert [[node.name, node.receptive_field, node.stride] for node in nodes] == published


@each_row(PUBLISHED["flops"]["rows"])
def test_flops_are_the_published_ones_within_2_percent(row: dict[str, Any]) -> None:
    size = 224 if row["architecture"] == "InceptionV3" else 0
    found = graph_of(row["architecture"], size, row["alpha"]).clean_costs()[row["node"]]
    assert found.flops == pytest.approx(row["flops"], rel=0.02)
