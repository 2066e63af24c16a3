"""Where a frozen part may end: against brute force on random graphs, and on the architectures as Keras draws them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
from graphs import graph_of as architecture
from hypothesis import given, strategies as st
from random_graphs import graph_of, networks, paths

from torso.errors import CutError, Note, UnknownNameError
from torso.graph import LEVELS, Graph

SEVEN = ("ResNet50", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121", "NASNetMobile", "VGG16")
JUMPING_LEVELS = {"NASNetMobile"}  # cells there read the one before the last too, so that no level is on every path


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
def test_what_trains_after_a_level_of_a_real_network_reads_its_node_alone(name: str) -> None:
    graph = architecture(name)
    assert set(LEVELS) - set(graph.levels) == ({"C1"} if name == "ConvNeXtTiny" else set())  # its stem has stride 4
    for level in LEVELS.keys() & graph.levels.keys():
        end = graph.block_boundary(level)
        assert end == graph.levels[level]
        frozen = graph.ancestors(end)
        read = {source for node in graph if node.name not in frozen for source in node.inputs if source in frozen}
        if name in JUMPING_LEVELS and level in ("C2", "C3", "C4"):
            assert read > {end}
        else:
            assert read == ({end} if end != graph.end.name else set())


@pytest.mark.parametrize("name", SEVEN)
def test_every_block_end_of_a_real_network_is_a_boundary_and_no_node_between_two_is(name: str) -> None:
    graph = architecture(name)
    legal = {graph.nodes[0].name, graph.end.name, *(node.name for node in graph.blocks)}
    legal |= {node for level, node in graph.levels.items() if level in LEVELS}
    assert len(legal) < len(graph)
    for node in graph:
        with nullcontext() if node.name in legal else pytest.raises(CutError):
            assert graph.block_boundary(node.name) == node.name


WITHIN = "lies within a block of {}, and a block is frozen or trains as a whole"
RESNET_ENDS = "  block ends: " + ", ".join(
    f"conv{stage}_block{block}_out" for stage, block in [(5, 3), (5, 2), (5, 1), (4, 6), (4, 5), (4, 4)]
)


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
         f"  did you mean: 'conv4_block3_out', 'conv5_block3_out', 'conv4_block6_out'\n{RESNET_ENDS}"),
        ("ResNet50", "C6", f"'C6' is neither a level nor a node of {{}}\n{RESNET_ENDS}"),
        ("ConvNeXtTiny", "C1",
         "{} has no level C1\n"
         "  C2: 'add_2'  (Add, stride 4, 96 channels)\n"
         "  C3: 'add_5'  (Add, stride 8, 192 channels)\n"
         "  C4: 'add_14'  (Add, stride 16, 384 channels)\n"
         "  C5: 'layer_normalization'  (LayerNormalization, stride 32, 768 channels)"),
    ],
)  # fmt: skip
def test_what_is_no_boundary_is_refused_with_those_that_are(name: str, at: str, text: str) -> None:
    with pytest.raises(CutError if WITHIN in text else UnknownNameError) as caught:
        architecture(name).block_boundary(at)
    assert str(caught.value) == text.format(name)


def test_what_begins_a_block_of_resnet50_ends_after_the_block_before() -> None:
    ends = {
        "input_layer": "input_layer",
        "conv1_pad": "input_layer",
        "pool1_pad": "conv1_relu",
        "conv4_block1_0_conv": "conv3_block4_out",  # both branches of a block begin it
        "conv4_block1_1_conv": "conv3_block4_out",
        "conv4_block3_1_conv": "conv4_block2_out",
    }
    assert {node: architecture("ResNet50").block_boundary_before(node=node) for node in ends} == ends


@pytest.mark.parametrize(
    ("name", "node", "notes"),
    [
        ("ResNet50", "conv4_block3_2_conv",
         [("begins before", "'conv4_block3_1_conv', after 'conv4_block2_out'"),
          ("begins after", "'conv4_block4_1_conv', after 'conv4_block3_out'")]),
        ("ResNet50", "pool1_pool",
         [("begins before", "'pool1_pad', after 'conv1_relu'"),
          ("begins after", "'conv2_block1_1_conv' or 'conv2_block1_0_conv', after 'pool1_pool'")]),
        ("MobileNetV2", "out_relu", [("begins before", "'Conv_1', after 'block_16_project_BN'")]),
    ],
)  # fmt: skip
def test_what_begins_no_block_is_refused_with_the_nodes_that_do(name: str, node: str, notes: list[Note]) -> None:
    with pytest.raises(CutError) as caught:
        architecture(name).block_boundary_before(node=node)
    assert caught.value.fact == f"{node!r} does not begin a block of {name}, and a block is frozen or trains as a whole"
    assert list(caught.value.notes) == notes


def test_a_level_to_begin_at_is_one_that_the_network_has() -> None:
    with pytest.raises(UnknownNameError, match=r"^'C4@expansion' is no level\n  known: C1, C2, C3, C4, C5$"):
        architecture("MobileNetV2").block_boundary_before(level="C4@expansion")
    convnext = architecture("ConvNeXtTiny")
    with pytest.raises(UnknownNameError, match=r"^ConvNeXtTiny has no level C1\n  C2: 'add_2'"):
        convnext.block_boundary_before(level="C1")
    assert convnext.block_boundary_before(level="C2") == "input_layer"  # the first level begins at the input
    assert architecture("ResNet50").block_boundary_before(level="C1") == "input_layer"


def test_another_name_of_a_node_is_as_good_as_its_own() -> None:
    graph = graph_of({"image": (), "stem": ("image",), "body": ("stem",), "end": ("body",)})
    aliased = replace(graph, nodes=(*graph.nodes[:2], replace(graph.nodes[2], alias=("outer",)), graph.nodes[3]))
    assert aliased.block_boundary("outer") == "body"
