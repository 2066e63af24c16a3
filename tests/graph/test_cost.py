"""Costs of graphs without Keras: sums over nodes, and the memory of a run that is played through step by step."""

from __future__ import annotations

from dataclasses import replace

import random_graphs
from hypothesis import given, strategies as st

from torso.graph import Graph, Node
from torso.graph.cost import BYTES_PER_VALUE


@st.composite
def networks(draw: st.DrawFn, unknown: bool = False) -> Graph:
    """Random networks with random costs, and one or two ends. Some calls share their layer."""
    graph = draw(random_graphs.networks())
    numbers = st.none() | st.integers(0, 50) if unknown else st.integers(0, 50)
    sides = st.lists(st.none() | st.integers(1, 9) if unknown else st.integers(1, 9), max_size=3)

    def with_costs(node: Node) -> Node:
        layer = draw(st.sampled_from(["shared", "", "", ""]))
        parameters = 7 if layer else draw(st.integers(0, 50))
        shape = tuple(draw(sides))
        return replace(node, shape=shape, layer=layer, parameters=parameters, macs=draw(numbers), flops=draw(numbers))

    other = draw(st.sampled_from([node.name for node in graph]))
    return Graph("Net", tuple(map(with_costs, graph)), ends=tuple(dict.fromkeys((other, graph.end.name))))


@given(networks())
def test_peak_bytes_are_those_of_a_run_step_by_step(graph: Graph) -> None:
    """The most held at once, when each output is kept exactly as long as a later node, or the caller, needs it."""
    most, held = 0, set()
    for index, node in enumerate(graph.nodes):
        held.add(node.name)
        most = max(most, sum(graph[name].values or 0 for name in held))
        held &= {name for later in graph.nodes[index + 1 :] for name in later.inputs} | set(graph.ends)
    assert graph.cost().peak_bytes == BYTES_PER_VALUE * most


@given(networks())
def test_cost_of_sums_over_nodes_and_counts_shared_parameters_once(graph: Graph) -> None:
    cost = graph.cost()
    assert cost.nodes == len(graph)
    assert cost.parameters == sum({node.layer or node.name: node.parameters for node in graph}.values())
    assert cost.macs == sum(node.macs or 0 for node in graph)
    assert cost.flops == sum(node.flops or 0 for node in graph)


@given(networks(unknown=True))
def test_clean_costs_are_those_of_what_each_clean_cut_keeps(graph: Graph) -> None:
    costs = graph.clean_costs()
    assert list(costs) == [node.name for node in graph.clean]
    assert costs == {name: graph.kept(name).cost() for name in costs}


@given(networks(unknown=True))
def test_one_unknown_makes_the_sum_unknown(graph: Graph) -> None:
    cost = graph.cost()
    assert (cost.macs is None) == any(node.macs is None for node in graph)
    assert (cost.flops is None) == any(node.flops is None for node in graph)
    assert (cost.peak_bytes is None) == any(None in node.shape for node in graph)
