"""The built-in architectures: which tests run by default, and their graphs, as recorded in the package and as drawn.

    python tests/support/graphs.py

records the graphs anew, once it is known that a change is meant.
"""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

import torso
from torso.builtins import keras_applications
from torso.builtins.keras_applications import record_name
from torso.graph import Graph, Node
from torso.model_config.layer_names import canonical_names
from torso.specs.options import Value

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
PATH: Final = Path(str(keras_applications.__file__)).with_name("graphs.zip")
# Of what is sampled in this run. The workers of pytest-xdist inherit it; the header of pytest shows it.
SEED: Final = os.environ.setdefault("TORSO_TEST_SEED", str(random.randrange(10**6)))


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
    """The whole headless network at its default size and options, as it is recorded."""
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


def recorded() -> Iterator[tuple[str, tuple[str, dict[str, Value]]]]:
    """What is recorded: each architecture with its default options, and with the others of its published weights."""
    for name, card in ARCHITECTURES.items():
        default = {option.name: option.default for option in card.options}
        for when in [{}, *(file.when for weights in card.weights for file in weights.files)]:
            options = {key: {**default, **when}[key] for key in default}
            yield record_name(card, options), (name, options)


def drawn(name: str, **spec: Any) -> Graph:
    """The whole headless network as Keras draws it now."""
    from torso.modeling.draw import headless_graph

    return headless_graph(torso.plan(name, weights="none", registry=registry(), **spec))


def main() -> None:
    """Write the graphs: each field of the nodes as a column, but for those that are at their defaults in all of them."""
    defaults = {field.name: field.default for field in fields(Node)}
    with ZipFile(PATH, "w", ZIP_DEFLATED, compresslevel=9) as file:
        for record, (name, options) in dict(recorded()).items():
            graph = drawn(name, options=options)
            columns = {field: [getattr(node, field) for node in graph] for field in defaults}
            columns = {field: column for field, column in columns.items() if set(column) != {defaults[field]}}
            content = {"ends": graph.ends, "levels": dict(graph.levels), "nodes": columns}
            entry = ZipInfo(record)  # of the year 1980
            file.writestr(entry, json.dumps(content, separators=(",", ":")), ZIP_DEFLATED, 9)


if __name__ == "__main__":
    main()
