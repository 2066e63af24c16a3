"""Read a Keras model into a graph: nodes, edges, shapes, strides and parameters as data."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from torso.errors import CutError
from torso.graph import Feature, Graph, Node, Shape
from torso.model_config.calls import Call, Calls, Config, Tensor
from torso.model_config.flops import cost_of_call
from torso.model_config.layer_settings import settings_of
from torso.model_config.receptive_field import Grid, grid_after, sees_all, window_of, with_sides
from torso.modeling.functional import functional, outputs_of, remake
from torso.modeling.keras_private import without_values


def read_graph(model: keras.Model, name: str) -> Graph:
    """The model as data, under the names that its layers and ops have; ``name`` is the architecture, as errors say it.

    Raises CutError if the model has no graph, two nodes of one name, or one node as two outputs.
    """
    plain = functional(model, name)
    reader = _Reader()
    flat, outputs = reader.read(plain), outputs_of(plain)
    labels = list(outputs) if isinstance(outputs, dict) else range(len(flat))
    given = [flat[sorted(labels).index(label)] for label in labels]  # Keras flattens a dictionary by its sorted names
    ends = tuple(end.node for end in given)
    if twice := next((end for end in ends if ends.count(end) > 1), None):
        fix = "let the builder return each node once"
        raise CutError(f"{name} has several outputs that are of one node, {twice!r}", notes=[("fix", fix)])
    return Graph(name, tuple(reader.nodes({end.node: end for end in given})), ends=ends)


def features_of(model: keras.Model, graph: Graph) -> tuple[Feature, ...]:
    """The outputs of a model that was read into a graph, in their order."""
    outputs = outputs_of(model)
    names = tuple(outputs) if isinstance(outputs, dict) else graph.ends
    return tuple(graph.feature(name, node) for name, node in zip(names, graph.ends, strict=True))


def node_name(call: Call, calls: Calls) -> str:
    """The name of one call: ``name``, or ``name:0``, ``name:1`` where the layer is called several times."""
    return f"{call.layer}:{call.number}" if calls.count(call.layer) > 1 else call.layer


class _End(NamedTuple):  # one output of one node
    node: str
    output: int


@dataclass
class _Draft:
    """A node before its shape is known: only what reads an output knows that."""

    entry: Config
    call: Call
    layer: Any  # a Keras layer or op
    weights_of: str
    inputs: tuple[_End, ...]
    alias: tuple[str, ...] = ()


class _Reader:
    """Walks a model and the models nested in it, in topological order, and drafts the nodes."""

    def __init__(self) -> None:
        self.drafts: dict[str, _Draft] = {}
        self.shapes: dict[_End, Shape] = {}
        self.owners: dict[int, str] = {}  # by the identity of a layer: the name that its weights go by

    def read(
        self,
        model: keras.Model,
        *,
        prefix: str = "",  # outer/ in a nested model
        feeds: Mapping[str, _End] = MappingProxyType({}),  # what the input layers of a nested model stand for outside
        path: str = "",  # the prefix without the numbers of calls
        sized: keras.Model | None = None,  # the same model for images of a known size, where it was made for any
    ) -> list[_End]:
        """Draft the nodes of one functional model; return its outputs in the order in which Keras flattens them."""
        calls = Calls((sized or model).get_config())
        layers = {layer.name: layer for layer in model.operations}
        ends: dict[tuple[str, int], list[_End]] = {(layer, 0): [end] for layer, end in feeds.items()}

        def end_of(tensor: Tensor) -> _End:
            found = ends[tensor.layer, tensor.call]
            return found[tensor.output] if tensor.output < len(found) else _End(found[0].node, tensor.output)

        for call in calls.ordered:
            if call.layer in feeds:
                continue
            inputs = [end_of(tensor) for tensor in call.inputs]
            for end, shape in zip(inputs, call.shapes, strict=True):
                self._learn(end, tuple(shape[1:]))
            name = prefix + node_name(call, calls)
            layer, entry = layers[call.layer], calls.entries[call.layer]
            owner = self.owners.setdefault(id(layer), path + call.layer)
            if isinstance(layer, keras.Model):
                ends[call.layer, call.number] = self._read_nested(layer, name, owner, inputs)
                continue
            if name in self.drafts:
                fix = "give each layer a name of its own, without a colon"
                raise CutError(f"two nodes would be called {name!r}", notes=[("fix", fix)])
            self.drafts[name] = _Draft(entry, call, layer, owner, tuple(dict.fromkeys(inputs)))
            ends[call.layer, call.number] = [_End(name, 0)]
            if entry["class_name"] == "InputLayer":
                self._learn(_End(name, 0), tuple(entry["config"]["batch_shape"][1:]))
        outputs = [end_of(tensor) for tensor in calls.outputs]
        for end, tensor in zip(outputs, (sized or model).outputs, strict=True):
            self._learn(end, tuple(tensor.shape[1:]))
        return outputs

    def _read_nested(self, model: keras.Model, name: str, owner: str, inputs: list[_End]) -> list[_End]:
        inner = functional(model, name)
        feeds = dict(zip((tensor.layer for tensor in Calls(inner.get_config()).inputs), inputs, strict=True))
        sized = _sized(inner, {layer: self.shapes[end] for layer, end in feeds.items()})
        ends = self.read(inner, prefix=f"{name}/", feeds=feeds, path=f"{owner}/", sized=sized)
        if len(ends) == 1 and ends[0].node in self.drafts:
            self.drafts[ends[0].node].alias += (name,)
        return ends

    def _learn(self, end: _End, shape: Shape) -> None:
        """Keep the shape of an output; inside a nested model a side may be open that is known outside."""
        known = self.shapes.get(end, shape)
        self.shapes[end] = tuple(now if before is None else before for before, now in zip(known, shape, strict=True))

    def nodes(self, given: Mapping[str, _End]) -> Iterator[Node]:
        """The finished nodes; ``given`` says which output of a node the model gives."""
        grids: dict[str, Grid | None] = {}
        everywhere: dict[str, bool] = {}
        for name, draft in self.drafts.items():
            grids_in = [grids[end.node] for end in draft.inputs]
            shapes = [self.shapes[end] for end in draft.inputs]
            shape = self.shapes.get(given.get(name, _End(name, 0)))
            if shape is None:  # then that of the first output that is read
                shape = next(shape for end, shape in self.shapes.items() if end.node == name)
            grid = grids[name] = grid_after(draft.entry, grids_in, *with_sides(draft.entry, draft.layer, shapes, shape))
            everywhere[name] = sees_all(draft.entry, grids_in, grid, [everywhere[end.node] for end in draft.inputs])
            macs, flops = cost_of_call(draft.entry, draft.layer, shapes, shape)
            activation = draft.entry["config"].get("activation", "linear")  # a name, or how to make the object
            if not isinstance(activation, str):
                activation = str(activation.get("class_name", "custom"))
            yield Node(
                name=name,
                kind=draft.entry["class_name"],
                inputs=tuple(dict.fromkeys(end.node for end in draft.inputs)),
                shape=shape,
                stride=_stride(grid),
                receptive_field=None if grid is None else max(axis.field for axis in grid),
                sees_all=everywhere[name],
                kernel=window_of(draft.entry),
                activation="" if activation == "linear" else activation,
                parameters=sum(math.prod(weight.shape) for weight in getattr(draft.layer, "weights", ())),
                macs=macs,
                flops=flops,
                outputs=len(keras.tree.flatten(draft.layer.output)),
                is_op=not isinstance(draft.layer, keras.Layer),
                alias=draft.alias,
                settings=settings_of(draft.entry, draft.call.number),
                layer="" if draft.weights_of == name else draft.weights_of,
            )


def _sized(model: keras.Model, shapes: Mapping[str, Shape]) -> keras.Model | None:
    """The same model without values for inputs of these shapes, if it is for any size."""
    if not any(None in tensor.shape[1:] for tensor in model.inputs) or any(None in shape for shape in shapes.values()):
        return None
    config = model.get_config()
    for entry in config["layers"]:
        if entry["name"] in shapes:
            entry["config"]["batch_shape"] = (None, *shapes[entry["name"]])
    with suppress(Exception), without_values():  # what cannot be made anew keeps sizes that are not known
        return remake(model, config)
    return None


def _stride(grid: Grid | None) -> int | None:
    if grid is None or grid[0].stride != grid[1].stride or grid[0].stride.denominator != 1:
        return None
    return int(grid[0].stride)
