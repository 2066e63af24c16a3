"""Truncate a model: keep the nodes that the end is computed from, and nothing of the original alive.

It is made of the model's own layers, which are detached from the rest, or rebuilt from its pruned configuration and filled.
A model that shares layers with a living one keeps all weights of that in memory: each layer remembers all its calls.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import keras

from torso.contracts.truncation import Cut
from torso.errors import CutError
from torso.model_config.calls import (
    Calls,
    Config,
    History,
    Tensor,
    is_functional,
    is_sequential,
    map_histories,
    visit_tensors,
)
from torso.modeling.functional import functional, remake
from torso.modeling.graph_reader import node_name
from torso.modeling.keras_private import inner_layers

Change = Callable[[Config], Config]
Pairs = list[tuple[Any, Any]]  # each weight of a model that is kept, and the weight of the truncated model in its place


def cut(model: keras.Model, ends: Cut | None, name: str, *, change: Change = lambda config: config) -> keras.Model:
    """A model of its own that ends at some nodes, with the same values; nothing of ``model`` stays alive through it.

    ``ends`` names a node, ``outer/inner`` inside a nested model, or several by the names of the outputs; None keeps all.
    """
    truncated, weights = rebuild(model, ends, name, change=change)
    for old, new in weights:
        new.assign(old)
    derive(truncated)
    return truncated


def rebuild(
    model: keras.Model, ends: Cut | None, name: str, *, change: Change = lambda config: config
) -> tuple[keras.Model, Pairs]:
    """The truncated model as ``cut`` makes it, before it has values; ``change`` may alter its configuration."""
    plain = functional(model, name)
    _refuse_what_cannot_be_written(plain, {})
    config = plain.get_config() if ends is None else _pruned(plain.get_config(), ends)
    truncated = remake(plain, change(config | {"name": name}))
    return truncated, list(_weights(plain, truncated))


def share_layers(model: keras.Model, ends: Cut | None, name: str) -> tuple[keras.Model, Pairs] | None:
    """The truncated model of the very layers of the model, which is of no other use then; None if it must be rebuilt."""
    plain = functional(model, name)
    ops = {op.name: op for op in plain.operations}
    paths = {} if ends is None else {"": ends} if isinstance(ends, str) else ends
    # The output of a nested model is not that of its call, and a layer that is called again has the first call's.
    if any(isinstance(ops.get(path, plain), keras.Model) for path in paths.values()):
        return None
    _refuse_what_cannot_be_written(plain, {})
    outputs: Any = {label: ops[path].output for label, path in paths.items()}
    if ends is None or isinstance(ends, str):
        outputs = plain.output if ends is None else ops[ends].output
    truncated = keras.Model(plain.input, outputs, name=name)
    return truncated, [(weight, weight) for weight in truncated.weights]


def derive(model: keras.Model) -> None:
    """Let layers derive anew what they compute from their weights."""
    for layer in inner_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _weights(source: keras.Model, target: keras.Model) -> Iterator[tuple[Any, Any]]:
    """Each weight of a functional model that its pruned copy has too, with the copy's; random generators start anew."""
    theirs = {layer.name: layer for layer in source.operations}
    for layer in target.operations:
        if isinstance(layer, keras.Model):
            inner = theirs[layer.name]
            yield from _weights(functional(inner, inner.name), functional(layer, layer.name))
        elif getattr(layer, "weights", ()):
            yield from zip(theirs[layer.name].weights, layer.weights, strict=True)


def _refuse_what_cannot_be_written(model: keras.Model, owners: dict[int, str], prefix: str = "") -> None:
    """Refuse what Keras loses or refuses when it makes a model anew from its configuration."""
    for layer in model.operations:
        path = prefix + layer.name
        one = owners.setdefault(id(layer), path)
        if one != path and getattr(layer, "weights", ()):
            fact = f"{one!r} and {path!r} are one layer, and a copy of the network would have two with weights of their own"
            fix = "let a layer be called within one model only, nested ones or the outer one"
            raise CutError(fact, notes=[("fix", fix)])
        if isinstance(layer, keras.layers.Lambda):
            fact = f"{path!r} is a Lambda layer, and Python code in it is neither copied nor saved"
            raise CutError(fact, notes=[("fix", "use an op of keras.ops, a layer of Keras, or your own: docs/plugins.md")])
        if isinstance(layer, keras.Model):
            _refuse_what_cannot_be_written(functional(layer, layer.name), owners, f"{path}/")


def _pruned(config: Config, ends: Cut, *, nested: bool = False) -> Config:
    """The configuration of the part that ends at some nodes, made of the same entries; a nested one keeps all inputs."""
    calls = Calls(config)
    by_name = {node_name(call, calls): Tensor(call.layer, call.number, 0) for call in calls.ordered}
    paths = {"": ends} if isinstance(ends, str) else ends
    found = {label: by_name[path.split("/")[0]] for label, path in paths.items()}
    kept = _needed(calls, found.values())
    for label, path in paths.items():
        _, _, inner = path.partition("/")
        times = sum(layer == found[label].layer for layer, _ in kept)
        if inner and (times > 1 or len(paths) > 1):
            fact = f"{path!r} lies inside a nested model: only one output can end there, and if that model is called once"
            raise CutError(fact, notes=[("fix", "cut after a call of that model, or let the builder not nest its models")])
        if inner:
            _shorten(calls.entries[found[label].layer], inner)
    if nested:
        kept |= {(tensor.layer, tensor.call) for tensor in calls.inputs}
    # Each layer's kept calls are numbered anew.
    number_of = {call: number for _, same in groupby(sorted(kept), itemgetter(0)) for number, call in enumerate(same)}

    def rewire(tensor: Config) -> None:
        layer, number, output = tensor["keras_history"]
        tensor["keras_history"] = [layer, number_of[layer, number], output]

    def end(tensor: Tensor) -> History:
        return calls.history(replace(tensor, call=number_of[tensor.layer, tensor.call]))

    entries = []
    for name, entry in calls.entries.items():
        numbers = [number for number in range(calls.count(name)) if (name, number) in kept]
        if not numbers:
            continue
        entry["inbound_nodes"] = [node for number, node in enumerate(entry["inbound_nodes"]) if number in numbers]
        visit_tensors(entry["inbound_nodes"], rewire)
        entries.append(entry)
    inputs = config["input_layers"]
    if not nested:
        inputs = [calls.history(tensor) for tensor in calls.inputs if (tensor.layer, tensor.call) in kept]
        inputs = inputs[0] if len(inputs) == 1 else inputs  # a model of one input takes a tensor, not a list of one
    outputs: Any = {label: end(tensor) for label, tensor in found.items()}
    return config | {
        "layers": entries,
        "input_layers": map_histories(inputs, lambda history: end(calls.end(history))),
        "output_layers": outputs[""] if isinstance(ends, str) else outputs,
    }


def _shorten(entry: Config, path: str) -> None:
    """Let the entry of a nested model end at a path within it."""
    if is_functional(entry):
        entry["config"] = _pruned(entry["config"], path, nested=True)
    elif is_sequential(entry):
        name, _, inner = path.partition("/")
        layers = entry["config"]["layers"]
        last = next(index for index, layer in enumerate(layers) if layer["config"]["name"] == name)
        entry["config"]["layers"] = layers[: last + 1]
        if inner:
            _shorten(layers[last], inner)


def _needed(calls: Calls, ends: Iterable[Tensor]) -> set[tuple[str, int]]:
    needed = {(tensor.layer, tensor.call) for tensor in ends}
    for call in reversed(calls.ordered):
        if (call.layer, call.number) in needed:
            needed.update((tensor.layer, tensor.call) for tensor in call.inputs)
    return needed
