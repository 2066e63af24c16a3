"""What a network costs, in one sweep over its nodes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torso.graph.node import Node

BYTES_PER_VALUE = 4  # float32


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network takes for one image; None where it is unknown."""

    nodes: int  # the input included
    parameters: int  # values in its weights; those of a layer called several times count once
    macs: int | None  # multiply-accumulates
    flops: int | None  # floating-point operations
    # Peak memory of the activations, in bytes of float32: the nodes run in their order, each output is kept until its last
    # reader has run, and nothing is done in place or fused. Each of several outputs of a node counts as much as the first.
    peak_bytes: int | None


def running_costs(nodes: Sequence[Node], last_readers: Sequence[int]) -> Iterator[tuple[Node, Cost]]:
    """Each node with the cost of all nodes up to it; ``last_readers`` as :meth:`Graph.last_readers` gives them."""
    counted: set[str] = set()
    parameters = peak = alive = 0
    macs: int | None = 0
    flops: int | None = 0
    sized = True
    freed_at: list[list[int]] = [[] for _ in range(len(nodes) + 1)]  # bytes, by the position after which they are free
    for index, node in enumerate(nodes):
        if node.weights_of not in counted:
            counted.add(node.weights_of)
            parameters += node.parameters
        macs, flops = _sum(macs, node.macs), _sum(flops, node.flops)
        sized = sized and node.values is not None
        size = BYTES_PER_VALUE * (node.values or 0) * node.outputs
        alive += size
        peak = max(peak, alive)
        freed_at[max(index, last_readers[index])].append(size)
        alive -= sum(freed_at[index])
        peak_bytes = peak if sized else None
        yield node, Cost(nodes=index + 1, parameters=parameters, macs=macs, flops=flops, peak_bytes=peak_bytes)


def _sum(total: int | None, number: int | None) -> int | None:
    return None if total is None or number is None else total + number
