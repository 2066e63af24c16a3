"""What a network costs, and what each clean cut would keep of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torso.graph.graph import Graph
from torso.graph.node import Node

BYTES_PER_VALUE = 4
"""Of float32."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network takes for one image; None where it is unknown.

    Attributes:
        nodes: Number of nodes, the input among them.
        parameters: Number of values in its weights; those of a layer called several times count once.
        macs: Multiply-accumulates.
        flops: Floating-point operations.
        peak_bytes: The most memory that activations take at once, in bytes of float32: the nodes run in their order,
            each output is kept until its last reader has run, nothing is done in place and nothing is fused. Where a node
            has several outputs, each counts as much as the first.
    """

    nodes: int
    parameters: int
    macs: int | None
    flops: int | None
    peak_bytes: int | None


def cost_of(graph: Graph) -> Cost:
    """The cost of the whole graph."""
    *_, (_, cost) = _running(graph)
    return cost


def clean_costs(graph: Graph) -> dict[str, Cost]:
    """The cost of the part that each clean cut keeps, by the name of its node; in one sweep.

    Exactly the nodes up to a clean one are kept by a cut there, and up to it every output that somebody still waits for is
    one that the cut needs too.
    """
    clean = {node.name for node in graph.clean}
    return {node.name: cost for node, cost in _running(graph) if node.name in clean}


def _running(graph: Graph) -> Iterator[tuple[Node, Cost]]:
    """Each node with the cost of all up to it."""
    last_reader = graph.last_readers()
    seen: set[str] = set()
    parameters = peak = alive = 0
    macs: int | None = 0
    flops: int | None = 0
    sized = True
    freed: list[list[int]] = [[] for _ in range(len(graph) + 1)]
    for index, node in enumerate(graph):
        if node.weights_of not in seen:
            seen.add(node.weights_of)
            parameters += node.parameters
        macs, flops = _sum((macs, node.macs)), _sum((flops, node.flops))
        sized = sized and node.values is not None
        size = BYTES_PER_VALUE * (node.values or 0) * node.outputs
        alive += size
        peak = max(peak, alive)
        freed[max(index, last_reader[index])].append(size)
        alive -= sum(freed[index])
        yield (
            node,
            Cost(nodes=index + 1, parameters=parameters, macs=macs, flops=flops, peak_bytes=peak if sized else None),
        )


def _sum(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total
