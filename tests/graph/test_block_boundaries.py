"""Where a frozen part may end: against brute force on random graphs, and on the architectures as Keras draws them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
from graphs import graph_of as architecture
from hypothesis import given, strategies as st
from random_graphs import networks, paths

from torso.errors import CutError, UnknownNameError
from torso.graph import LEVELS, Graph

SEVEN = ("ResNet50", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121", "NASNetMobile", "VGG16")


@st.composite
def with_levels(draw: st.DrawFn) -> Graph:
    """A random network some of whose nodes are levels, in order, on every path or not."""
    graph = draw(networks())
    chosen = sorted(draw(st.sets(st.sampled_from(graph.nodes[1:]), max_size=3)), key=lambda node: graph.position(node.name))
    levels = draw(st.sets(st.sampled_from(sorted(LEVELS)), min_size=len(chosen), max_size=len(chosen)))
    return replace(graph, known_levels=dict(zip(sorted(levels), (node.name for node in chosen), strict=True)))


def partings(graph: Graph) -> list[str]:
    """By brute force: the nodes that a frozen part may end at, in order. No node of a random graph ends a block."""
    every = paths(graph, graph.end.name)
    return [
        node.name
        for node in graph
        if node is graph.nodes[0] or node.name in graph.levels.values() or all(node.name in path for path in every)
    ]


@given(with_levels(), st.data())
def test_every_node_is_a_boundary_or_refused_with_its_neighbours(graph: Graph, data: st.DataObject) -> None:
    """Boundaries are the input, levels, and nodes on every path."""
    legal = partings(graph)
    at = data.draw(st.sampled_from([node.name for node in graph] + list(graph.levels)))
    name = graph.levels.get(at, at)
    if name in legal:
        assert graph.block_boundary(at) == name
        return
    with pytest.raises(CutError) as caught:
        graph.block_boundary(at)
    names = [node.name for node in graph]
    before = [other for other in legal if names.index(other) < names.index(name)][-1:]
    after = [other for other in legal if names.index(other) > names.index(name)][:1]
    labelled = [("before", one) for one in before] + [("after", one) for one in after]
    assert caught.value.notes == tuple((f"block end {where}", f"{one!r}  (Add, 1 channel)") for where, one in labelled)


@given(with_levels())
def test_a_node_that_may_begin_reads_one_parting_alone_and_every_other_is_refused(graph: Graph) -> None:
    legal = partings(graph)
    for node in graph:
        if not node.inputs:
            assert graph.block_boundary_before(node=node.name) == node.name
        elif len(node.inputs) == 1 and node.inputs[0] in legal:
            assert graph.block_boundary_before(node=node.name) == node.inputs[0]
        else:
            with pytest.raises(CutError) as caught:
                graph.block_boundary_before(node=node.name)
            for _, text in caught.value.notes:
                *first, after = (word.strip("',") for word in text.split() if word.startswith("'"))
                assert first
                assert all(graph.block_boundary_before(node=name) == after for name in first)


@given(with_levels())
def test_a_level_begins_after_the_last_level_before_it(graph: Graph) -> None:
    """So the two ways to name a boundary agree: frozen through C3 is unfrozen from C4 on."""
    names = [node.name for node in graph]
    for level, node in graph.levels.items():
        before = [other for other in graph.levels.values() if names.index(other) < names.index(node)]
        assert graph.block_boundary_before(level=level) == (max(before, key=names.index) if before else names[0])
    for lower, upper in pairwise(graph.levels):
        assert graph.block_boundary(lower) == graph.block_boundary_before(level=upper)


@pytest.mark.parametrize("name", SEVEN)
def test_the_boundaries_of_a_real_network_are_its_levels_and_the_ends_of_its_blocks(name: str) -> None:
    graph = architecture(name)
    assert set(LEVELS) - set(graph.levels) == ({"C1"} if name == "ConvNeXtTiny" else set())  # its stem has stride 4
    legal = {graph.nodes[0].name, graph.end.name, *(node.name for node in graph.blocks)}
    legal |= {node for level, node in graph.levels.items() if level in LEVELS}
    assert len(legal) < len(graph)
    for node in graph:
        with nullcontext() if node.name in legal else pytest.raises(CutError):
            assert graph.block_boundary(node.name) == node.name
    for level in LEVELS.keys() & graph.levels.keys():
        end = graph.block_boundary(level)
        assert end == graph.levels[level]
        frozen = graph.ancestors(end)  # what trains after a level reads its node alone
        read = {source for node in graph if node.name not in frozen for source in node.inputs if source in frozen}
        if name == "NASNetMobile" and level in ("C2", "C3", "C4"):  # but cells that read the one before the last too
            assert read > {end}
        else:
            assert read == ({end} if end != graph.end.name else set())


WITHIN = "lies within a block of {}, and a block is frozen or trains as a whole"


@pytest.mark.parametrize(
    ("name", "at", "text"),
    [
        ("ResNet50", "conv4_block3_2_conv",
         f"'conv4_block3_2_conv' {WITHIN}\n"
         "  block end before: 'conv4_block2_out'  (Activation, stride 16, 1024 channels)\n"
         "  block end after: 'conv4_block3_out'  (Activation, stride 16, 1024 channels)"),
        ("MobileNetV2", "C4@expansion",
         f"'block_13_expand_relu' {WITHIN}\n"
         "  block end before: 'block_12_add'  (Add, stride 16, 96 channels)\n"
         "  block end after: 'block_13_project_BN'  (BatchNormalization, stride 32, 160 channels)"),
        ("ResNet50", "conv4_block3_ou",
         "'conv4_block3_ou' is neither a level nor a node of {}\n"
         "  did you mean: 'conv4_block3_out', 'conv5_block3_out', 'conv4_block6_out'\n"
         "  block ends: conv5_block3_out, conv5_block2_out, conv5_block1_out, conv4_block6_out, conv4_block5_out, "
         "conv4_block4_out"),
    ],
)  # fmt: skip
def test_what_is_no_boundary_is_refused_with_those_that_are(name: str, at: str, text: str) -> None:
    with pytest.raises(CutError if WITHIN in text else UnknownNameError) as caught:
        architecture(name).block_boundary(at)
    assert str(caught.value) == text.format(name)


def test_what_begins_no_block_is_refused_with_the_nodes_that_do() -> None:
    with pytest.raises(CutError) as caught:
        architecture("ResNet50").block_boundary_before(node="pool1_pool")
    assert str(caught.value) == (
        "'pool1_pool' does not begin a block of ResNet50, and a block is frozen or trains as a whole\n"
        "  begins before: 'pool1_pad', after 'conv1_relu'\n"
        "  begins after: 'conv2_block1_1_conv' or 'conv2_block1_0_conv', after 'pool1_pool'"
    )


def test_a_level_to_begin_at_is_one_that_the_network_has() -> None:
    with pytest.raises(UnknownNameError, match=r"^'C4@expansion' is no level\n  known: C1, C2, C3, C4, C5$"):
        architecture("MobileNetV2").block_boundary_before(level="C4@expansion")
    convnext = architecture("ConvNeXtTiny")
    with pytest.raises(UnknownNameError, match=r"^ConvNeXtTiny has no level C1\n  C2: 'add_2'"):
        convnext.block_boundary_before(level="C1")
    assert convnext.block_boundary_before(level="C2") == "input_layer"  # the first level begins at the input
    assert architecture("ResNet50").block_boundary_before(level="C1") == "input_layer"
