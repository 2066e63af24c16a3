"""The built-in architectures: which tests run by default, their graphs, each read once a process, and records of those.

    python tests/support/graphs.py [NAME ...]

records the graphs anew, all or some, once it is known that a change is meant.
"""

from __future__ import annotations

import json
import os
import random
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

import torso
from torso.artifact.manifest import fingerprint
from torso.graph import Graph, Node
from torso.model_config.layer_names import canonical_names

PATH: Final = Path(__file__).parents[1] / "fixtures" / "graphs.json"
# Of what is sampled in this run. The workers of pytest-xdist inherit it; the header of pytest shows it.
SEED: Final = os.environ.setdefault("TORSO_TEST_SEED", str(random.randrange(10**6)))

Record = Mapping[str, Any]  # JSON: keras, nodes, fingerprint, kinds, levels, stretches


@cache
def registry() -> torso.Registry:
    return torso.Registry.load(discover=False)


ARCHITECTURES = {contribution.value.name: contribution.value for contribution in registry().architectures}
SMALLEST = {  # of each family
    one.family: one.name for one in sorted(ARCHITECTURES.values(), key=lambda one: one.parameters or 0, reverse=True)
}


def parameters(names: Iterable[str], always: Collection[str] = tuple(SMALLEST.values())) -> list[Any]:
    """Parameters of a test: some in every run, the others are slow."""
    return [pytest.param(name, id=name, marks=() if name in always else pytest.mark.slow) for name in names]


each_architecture = pytest.mark.parametrize("name", parameters(ARCHITECTURES))


@cache
def graph_of(name: str) -> Graph:
    """The whole headless network at its default size and options, as torso reads it."""
    return torso.read_graph(name, registry=registry())


@dataclass(frozen=True)
class DrawnByKeras:
    """What the constructor of Keras draws for its published weights."""

    request: Any  # the file that it asks for
    layers: list[str]  # their classes, in order
    weights: list[tuple[str, str, list[tuple[int, ...]]]]  # name, class and shapes of each layer that has weights
    output: tuple[int | None, ...]  # the shape of the features


@cache
def drawn_by_keras(name: str, size: tuple[int | None, int | None] | None = None, **options: Any) -> DrawnByKeras:
    """Have Keras draw a headless network, at its default size or another one."""
    model, request = skeleton(name, size, **options)
    names = canonical_names((operation.name, type(operation).__name__) for operation in model.operations)
    weights = [
        (names[layer.name], type(layer).__name__, [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers
        if layer.weights
    ]
    return DrawnByKeras(request, [type(layer).__name__ for layer in model.layers], weights, model.output.shape)


def skeleton(name: str, size: tuple[int | None, int | None] | None = None, **options: Any) -> tuple[Any, Any]:
    """A headless network without values, as Keras draws it for its published weights; and the file that it asks for."""
    import keras

    from torso.modeling.keras_private import without_values, without_weights

    shape = (*(size or ARCHITECTURES[name].input.default), 3)
    with warnings.catch_warnings(), without_values(), without_weights() as requests:
        warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")  # that it takes the file of 224
        model = getattr(keras.applications, name)(include_top=False, weights="imagenet", input_shape=shape, **options)
    (request,) = requests
    return model, SimpleNamespace(**{"file_hash": None, **request})


def record_of(graph: Graph, keras: str) -> Record:
    """What is recorded of a graph, with the release of Keras that drew it.

    A stretch is a clean node, the number of nodes after the clean one before it, itself included, and a hash of them.
    """
    return {
        "keras": keras,
        "nodes": len(graph),
        "fingerprint": fingerprint(graph),
        "kinds": dict(sorted(Counter(node.kind for node in graph).items())),
        "levels": dict(graph.levels),
        "stretches": [[nodes[-1].name, len(nodes), fingerprint(Graph(graph.name, nodes))[:8]] for nodes in stretches(graph)],
    }


def stretches(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """The nodes from after each clean node up to the next one; the input alone is the first stretch."""
    ends = [-1, *(graph.position(node.name) for node in graph.clean)]
    for before, end in pairwise(ends):
        yield graph.nodes[before + 1 : end + 1]


def read() -> dict[str, Record]:
    """The records, by architecture."""
    records: dict[str, Record] = json.loads(PATH.read_text(encoding="utf-8"))
    return records


def text(records: Mapping[str, Record]) -> str:
    """The file: one line for each fact and each stretch, so that a comparison of two versions shows what changed."""
    blocks = []
    for name, record in records.items():
        facts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != "stretches"]
        rows = ",\n".join(f"   {json.dumps(entry, separators=(',', ':'))}" for entry in record["stretches"])
        blocks.append(f" {json.dumps(name)}: {{\n" + ",\n".join([*facts, f'  "stretches": [\n{rows}\n  ]']) + "\n }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main(names: list[str]) -> None:
    from keras import __version__

    records = read() if names else {}
    for name in names or ARCHITECTURES:
        records[name] = record_of(graph_of(name), __version__)
    PATH.write_text(text({name: records[name] for name in ARCHITECTURES if name in records}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
