"""Read a Keras model into a graph: nodes, edges, shapes, strides and parameters as data."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from torso.errors import CutError
from torso.graph import Feature, Graph, Node, Shape
from torso.keras_bridge.config import Calls, Config, Tensor
from torso.keras_bridge.cost import cost_of_call
from torso.keras_bridge.geometry import Grid, grid_behind, sees_all, window_of
from torso.keras_bridge.naming import canonical_names


def functional(model: keras.Model, name: str) -> keras.Model:
    """The same layers as a plain functional model.

    Raises:
        CutError: The model has no graph: it is subclassed, or was never built.
    """
    try:
        inputs, outputs = model.inputs, _outputs(model)
        return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)
    except (AttributeError, ValueError, TypeError) as error:
        raise CutError(
            f"{name} has no graph to cut: its {type(model).__name__} is not a functional model",
            notes=[
                ("cause", "a subclassed model computes in Python code, and that cannot be cut"),
                ("fix", "let the builder return keras.Model(inputs, outputs)"),
            ],
        ) from error


def _outputs(model: keras.Model) -> Any:
    """The output tensors: one alone, several as a list, or as the dictionary that the model returns."""
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output  # a Sequential's may be another call's
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs


def layer_names(entries: Iterable[Config], keep: Collection[str] = ()) -> Mapping[str, str]:
    """The canonical name for each layer of one model; ``keep`` holds names that are canonical already."""
    return canonical_names(((entry["name"], entry["class_name"]) for entry in entries), keep=keep)


def read_graph(model: keras.Model, name: str, *, keep: Collection[str] = ()) -> Graph:
    """The model as data, with canonical names.

    Args:
        model: A functional or a built ``Sequential`` model, nested to any depth.
        name: The architecture, as errors say it.
        keep: Names that are canonical already, as those of a trunk that a plugin has transformed since.

    Returns:
        The graph; its ends stand in the order of the model's outputs.

    Raises:
        CutError: The model has no graph, two nodes of one name, or one node as two outputs.
    """
    plain = functional(model, name)
    reader = _Reader()
    ends = tuple(reader.read(plain, prefix="", feeds={}, keep=keep))
    if len(set(ends)) < len(ends):
        twice = next(end for end in ends if ends.count(end) > 1)
        raise CutError(
            f"{name} gives the output of {twice!r} more than once", notes=[("fix", "let the builder return it once")]
        )
    return Graph(name, tuple(reader.nodes()), ends=ends)


def features_of(model: keras.Model, graph: Graph) -> tuple[Feature, ...]:
    """The outputs of a model that was read into a graph, in their order."""
    outputs = _outputs(model)
    names = tuple(outputs) if isinstance(outputs, dict) else graph.ends
    return tuple(graph.feature(name, node) for name, node in zip(names, graph.ends, strict=True))


def node_name(prefix: str, layer: str, number: int, count: int) -> str:
    """The name of one call: ``name``, or ``name:0``, ``name:1`` where the layer is called several times."""
    return f"{prefix}{layer}:{number}" if count > 1 else prefix + layer


@dataclass
class _Draft:
    """What is known of a node when its call is read; the shape of its output stands with whoever reads it."""

    entry: Config
    layer: Any  # a Keras layer or op
    name: str
    weights_of: str
    inputs: tuple[str, ...]
    alias: tuple[str, ...] = ()


class _Reader:
    """Walks a model and the models nested in it, in topological order, and drafts the nodes."""

    def __init__(self) -> None:
        self.drafts: dict[str, _Draft] = {}
        self.shapes: dict[str, Shape] = {}

    def read(
        self, model: keras.Model, *, prefix: str, feeds: Mapping[str, str], keep: Collection[str] = (), path: str = ""
    ) -> list[str]:
        """Draft the nodes of one functional model.

        Args:
            model: The live model; it has the weights.
            prefix: ``outer/`` in a nested model.
            feeds: In a nested model, the node outside that each of its input layers stands for.
            keep: Names that are canonical already.
            path: The prefix without the numbers of calls.

        Returns:
            The node of each output.
        """
        calls = Calls(model.get_config())
        names = layer_names(calls.entries.values(), keep)
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
            owner = path + names[call.layer]
            layer = layers[call.layer]
            if isinstance(layer, keras.Model):
                ends[call.layer, call.number] = self._read_nested(layer, name, owner, inputs)
            else:
                entry = calls.entries[call.layer]
                self._draft(_Draft(entry, layer, name, owner, tuple(dict.fromkeys(inputs))))
                ends[call.layer, call.number] = [name]
        outputs = [node_of(tensor) for tensor in calls.outputs]
        tensors = _outputs(model)
        listed = list(tensors.values()) if isinstance(tensors, dict) else keras.tree.flatten(tensors)
        for node, tensor in zip(outputs, listed, strict=True):
            self.shapes[node] = tuple(tensor.shape[1:])
        return outputs

    def _read_nested(self, model: keras.Model, name: str, owner: str, inputs: list[str]) -> list[str]:
        inner = functional(model, name)
        feeds = dict(zip((tensor.layer for tensor in Calls(inner.get_config()).inputs), inputs, strict=True))
        ends = self.read(inner, prefix=f"{name}/", feeds=feeds, path=f"{owner}/")
        if len(ends) == 1:
            self.drafts[ends[0]].alias += (name,)
        return ends

    def _draft(self, draft: _Draft) -> None:
        if draft.name in self.drafts:
            raise CutError(
                f"two nodes would be called {draft.name!r}",
                notes=[("fix", "give that layer a name without a colon, and each layer one of its own")],
            )
        if draft.entry["class_name"] == "InputLayer":
            self.shapes[draft.name] = tuple(draft.entry["config"]["batch_shape"][1:])
        self.drafts[draft.name] = draft

    def nodes(self) -> Iterator[Node]:
        """The finished nodes: by now the shape of every output is known."""
        grids: dict[str, Grid | None] = {}
        everywhere: dict[str, bool] = {}
        for name, draft in self.drafts.items():
            inputs = [grids[node] for node in draft.inputs]
            shapes = [self.shapes[node] for node in draft.inputs]
            grid = grids[name] = grid_behind(draft.entry, inputs, shapes, self.shapes[name])
            everywhere[name] = sees_all(draft.entry, inputs, grid, [everywhere[node] for node in draft.inputs])
            macs, flops = cost_of_call(draft.entry, draft.layer, shapes, self.shapes[name])
            activation = draft.entry["config"].get("activation", "linear")
            yield Node(
                name=name,
                kind=draft.entry["class_name"],
                inputs=draft.inputs,
                shape=self.shapes[name],
                stride=_stride(grid),
                receptive_field=None if grid is None else max(axis.field for axis in grid),
                sees_all=everywhere[name],
                kernel=window_of(draft.entry),
                activation="" if activation == "linear" else _name_of(activation),
                parameters=sum(math.prod(weight.shape) for weight in getattr(draft.layer, "weights", ())),
                macs=macs,
                flops=flops,
                outputs=_output_count(draft.layer),
                is_op=not isinstance(draft.layer, keras.Layer),
                alias=draft.alias,
                layer="" if draft.weights_of == name else draft.weights_of,
            )


def _stride(grid: Grid | None) -> int | None:
    if grid is None or grid[0].stride != grid[1].stride or grid[0].stride.denominator != 1:
        return None
    return int(grid[0].stride)


def _name_of(activation: Any) -> str:
    """The name of a function, whether Keras wrote that alone or how to make the object."""
    return activation if isinstance(activation, str) else str(activation.get("class_name", "custom"))


def _output_count(layer: Any) -> int:
    try:
        return len(keras.tree.flatten(layer.output))
    except (AttributeError, ValueError):  # called several times: then Keras tells no output
        return 1
