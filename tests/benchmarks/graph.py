"""What it takes to know every clean cut of the largest networks, against trying each node, in pairs.

    python tests/benchmarks/graph.py [PAIRS]

Both ways give the same nodes. Every figure is a ratio of CPU time of two computations that ran one after the other in this
very run; the median over the pairs is printed with the least and the greatest. The last column is the CPU time of torso's
way on this machine, to set beside the promised tenth of a second.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torso
from torso.graph import Graph

NETWORKS = ("EfficientNetV2L", "NASNetLarge", "ResNet152", "ConvNeXtXLarge")


def one_sweep(graph: Graph) -> list[str]:
    """All that ``torso show`` says of the cuts: clean nodes, blocks, levels, and what each cut keeps."""
    fresh = replace(graph, known_levels=None)  # nothing is remembered of an earlier time
    assert fresh.blocks
    assert fresh.levels
    return list(fresh.clean_costs())


def each_node(graph: Graph) -> list[str]:
    """A node is clean where the end cannot be reached without it."""
    found = []
    for left_out in graph:
        reached: set[str] = set()
        for node in graph:
            if node is not left_out and (not node.inputs or not reached.isdisjoint(node.inputs)):
                reached.add(node.name)
        if graph.end.name not in reached:
            found.append(left_out.name)
    return found


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"torso {torso.__version__}, Python {sys.version.split()[0]}, {count} pairs\n")
    for name in NETWORKS:
        graph = torso.read_graph(name)
        assert one_sweep(graph) == each_node(graph)
        times = [
            (cpu(lambda graph=graph: each_node(graph)), cpu(lambda graph=graph: one_sweep(graph))) for _ in range(count)
        ]
        ratios = [slow / fast for slow, fast in times]
        ours = statistics.median(fast for _, fast in times)
        print(
            f"{name:<16} {len(graph):5} nodes {len(graph.clean):4} clean  each node / one sweep "
            f"{statistics.median(ratios):6.0f} ×  ({min(ratios):.0f} to {max(ratios):.0f})  {ours * 1000:5.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
