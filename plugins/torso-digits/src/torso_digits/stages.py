"""Where the stages of a network end: what the cut and the freeze policy select, read off the names in its graph.

A graph is plain data, so that all of this runs and is tested without Keras.
"""

from __future__ import annotations

import re

from torso import CutError, FreezePlan, Graph, Options


def select_stage(graph: Graph, options: Options) -> str:
    """The node that ends the stage of that number."""
    return _end_of_stage(graph, options["number"])


def freeze_stages(graph: Graph, options: Options) -> FreezePlan:
    """All nodes that the end of the last frozen stage is computed from."""
    return FreezePlan(weights=graph.ancestors(_end_of_stage(graph, options["count"])))


def _end_of_stage(graph: Graph, stage: object) -> str:
    assert isinstance(stage, int)
    ends: dict[int, str] = {}
    for node in graph:
        block = re.fullmatch(r"stage([0-9]+)_block[0-9]+_out", node.name)
        if block:
            ends[int(block[1])] = node.name  # a later block of the same stage replaces an earlier one
    if stage not in ends:
        raise CutError(
            f"stage {stage} is not in {graph.name}",
            notes=[("known", ", ".join(f"{number} (ends at {name!r})" for number, name in ends.items()) or "no stages")],
        )
    return ends[stage]
