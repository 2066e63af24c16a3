"""Read a Keras model into a graph: nodes, edges, shapes, strides and parameters as data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any

import keras

from torso.errors import CutError
from torso.graph import Graph, Node, Shape
from torso.keras_bridge.config import Calls, Config, Tensor
from torso.keras_bridge.naming import canonical_names


def functional(model: keras.Model, name: str) -> keras.Model:
    """The same layers as a plain functional model.

    Raises:
        CutError: The model has no graph: it is subclassed, or was never built.
    """
    try:
        inputs, outputs = model.inputs, model.outputs
        return keras.Model(
            inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs, name=model.name
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise CutError(
            f"{name} has no graph to cut: its {type(model).__name__} is not a functional model",
            notes=[
                ("cause", "a subclassed model computes in Python code, and that cannot be cut"),
                ("fix", "let the builder return keras.Model(inputs, outputs)"),
            ],
        ) from error


def layer_names(config: Config, keep: Collection[str] = ()) -> Mapping[str, str]:
    """The canonical name for each layer of one model; ``keep`` holds names that are canonical already."""
    return canonical_names(((entry["name"], entry["class_name"]) for entry in config["layers"]), keep=keep)


def read_graph(model: keras.Model, name: str, *, keep: Collection[str] = ()) -> Graph:
    """The model as data, with canonical names.

    Args:
        model: A functional or a built ``Sequential`` model, nested to any depth, with one output.
        name: The architecture, as errors say it.
        keep: Names that are canonical already, as those of a trunk that a plugin has transformed since.

    Raises:
        CutError: The model has no graph, or several outputs.
    """
    plain = functional(model, name)
    if len(plain.outputs) != 1:
        raise CutError(
            f"{name} has {len(plain.outputs)} outputs",
            notes=[("fix", "let the builder return a headless model with one output")],
        )
    reader = _Reader()
    reader.read(plain, prefix="", feeds={}, keep=keep)
    return Graph(name, tuple(reader.node(draft) for draft in reader.drafts.values()))


def node_name(prefix: str, layer: str, number: int, count: int) -> str:
    """The name of one call: ``name``, or ``name:0``, ``name:1`` where the layer is called several times."""
    return f"{prefix}{layer}:{number}" if count > 1 else prefix + layer


_NO_LONGER_A_GRID = ("Flatten", "Reshape", "Permute", "GetItem", "Resizing", "Resize", "Slice")
"""Layers and ops behind which the pixels of a cell are not told by strides alone."""


class _Reader:
    """Walks a model and the models nested in it, in topological order, and drafts the nodes."""

    def __init__(self) -> None:
        self.drafts: dict[str, dict[str, Any]] = {}  # the keywords of each Node, by name
        self.shapes: dict[str, Shape] = {}
        self.strides: dict[str, Fraction | None] = {}

    def read(self, model: keras.Model, *, prefix: str, feeds: Mapping[str, str], keep: Collection[str] = ()) -> list[str]:
        """Draft the nodes of one functional model.

        Args:
            model: The live model; it has the weights.
            prefix: ``outer/`` in a nested model.
            feeds: In a nested model, the node outside that each of its input layers stands for.
            keep: Names that are canonical already.

        Returns:
            The node of each output.
        """
        config = model.get_config()
        calls = Calls(config)
        names = layer_names(config, keep)
        layers = {layer.name: layer for layer in model.operations}
        ends: dict[tuple[str, int], list[str]] = {(layer, 0): [node] for layer, node in feeds.items()}

        def node_of(tensor: Tensor) -> str:
            nodes = ends[tensor.layer, tensor.call]
            return nodes[tensor.output] if len(nodes) > 1 else nodes[0]

        for call in calls.ordered:
            if call.layer in feeds:
                continue
            inputs = [node_of(tensor) for tensor in call.inputs]
            for node, shape in zip(inputs, call.shapes, strict=True):
                self.shapes[node] = tuple(shape[1:])
            name = node_name(prefix, names[call.layer], call.number, calls.count(call.layer))
            layer = layers[call.layer]
            if isinstance(layer, keras.Model):
                ends[call.layer, call.number] = self._read_nested(layer, name, inputs)
            else:
                self._draft(calls.entries[call.layer], layer, name, inputs)
                ends[call.layer, call.number] = [name]
        outputs = [node_of(tensor) for tensor in calls.outputs]
        for node, tensor in zip(outputs, model.outputs, strict=True):
            self.shapes[node] = tuple(tensor.shape[1:])
        return outputs

    def _read_nested(self, model: keras.Model, name: str, inputs: list[str]) -> list[str]:
        inner = functional(model, name)
        ends = self.read(
            inner,
            prefix=f"{name}/",
            feeds=dict(zip((tensor.layer for tensor in Calls(inner.get_config()).inputs), inputs, strict=True)),
        )
        last = self.drafts[ends[-1]]
        last["alias"] = (*last["alias"], name)
        return ends

    def _draft(self, entry: Config, layer: Any, name: str, inputs: list[str]) -> None:
        if entry["class_name"] == "InputLayer":
            self.shapes[name] = tuple(entry["config"]["batch_shape"][1:])
        self.strides[name] = _stride(entry, [self.strides[node] for node in inputs])
        self.drafts[name] = {
            "name": name,
            "kind": entry["class_name"],
            "inputs": tuple(dict.fromkeys(inputs)),
            "parameters": sum(math.prod(weight.shape) for weight in getattr(layer, "weights", ())),
            "outputs": _output_count(layer),
            "is_op": not isinstance(layer, keras.Layer),
            "alias": (),
        }

    def node(self, draft: dict[str, Any]) -> Node:
        """The finished node: by now the shape of every output is known."""
        shape = self.shapes[draft["name"]]
        stride = self.strides[draft["name"]]
        is_map = len(shape) == 3 and stride is not None and stride.denominator == 1
        return Node(**draft, shape=shape, stride=int(stride) if is_map and stride is not None else None)


def _output_count(layer: Any) -> int:
    try:
        return len(keras.tree.flatten(layer.output))
    except (AttributeError, ValueError):  # called several times: then Keras tells no output
        return 1


def _stride(entry: Config, inputs: list[Fraction | None]) -> Fraction | None:
    """Input pixels per cell of this output, or None where it is no map of cells any more."""
    if not inputs:
        return Fraction(1)
    maps = [stride for stride in inputs if stride is not None]
    kind, config = entry["class_name"], entry["config"]
    if not maps or kind.startswith("Global") or kind in _NO_LONGER_A_GRID:
        return None
    factor = Fraction(1)
    if kind.startswith("UpSampling"):
        factor = 1 / Fraction(_first(config["size"]))
    elif "strides" in config or "pool_size" in config:
        factor = Fraction(_first(config.get("strides") or config["pool_size"]))
        if kind.endswith("Transpose"):
            factor = 1 / factor
    return max(maps) * factor


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, (list, tuple)) else value)
