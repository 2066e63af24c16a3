"""Cut a model: keep the nodes that the end is computed from, and nothing of the original alive.

The trunk is built anew from the pruned configuration and filled with the kept values. A model that merely shares layers
with the original keeps every weight of it in memory, for each layer remembers all its calls.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from torso.errors import CutError
from torso.keras_bridge.config import Calls, Config, Tensor, is_functional, is_sequential, visit_tensors
from torso.keras_bridge.naming import canonical_names
from torso.keras_bridge.reading import functional, layer_names, node_name


def cut(model: keras.Model, end: str | None, name: str, *, keep: Collection[str] = ()) -> keras.Model:
    """A model of its own that ends at one node, with canonical names and the same values.

    Args:
        model: Functional model from images ``(N, H, W, C)``.
        end: Canonical name of the last node kept, ``outer/inner`` inside a nested model; None to keep the whole model.
        name: What errors and the new model are called.
        keep: Layer names of the model that are canonical already.

    Returns:
        The trunk; nothing of ``model`` stays alive through it.

    Raises:
        CutError: The end lies inside a model that is called more than once.
    """
    plain = functional(model, name)
    config, names = _pruned(plain.get_config(), end.split("/") if end else [], keep)
    config["name"] = name.rsplit("/", 1)[-1]
    trunk: keras.Model = type(plain).from_config(config, custom_objects=custom_classes(plain))
    copy_values(plain, trunk, names)
    return trunk


def copy_values(source: keras.Model, target: keras.Model, names: Mapping[str, str]) -> None:
    """Give each layer of ``target`` the values of the layer it was made from.

    Args:
        source: Where the values are.
        target: A pruned copy of it.
        names: The target's name for each layer name of the source.
    """
    theirs = {names[layer.name]: layer for layer in source.operations}
    for layer in target.operations:
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            continue
        original = theirs[layer.name]
        if isinstance(layer, keras.Model):
            inner = functional(original, original.name)
            copy_values(inner, functional(layer, layer.name), layer_names(inner.get_config()))
            continue
        for old, new in zip(original.weights, layer.weights, strict=True):  # random generators start anew
            new.assign(old)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with what it derived from its values, not with them


def _pruned(config: Config, path: Sequence[str], keep: Collection[str] = ()) -> tuple[Config, Mapping[str, str]]:
    """The configuration of the part that ends at a node, and the canonical name for each layer of the whole.

    Args:
        config: Configuration of a functional model.
        path: The end, one part for each level of nesting; empty to keep everything and only rename.
        keep: Layer names that are canonical already.
    """
    calls = Calls(config)
    names = layer_names(config, keep)
    ends = [_find(calls, names, path[0])] if path else calls.outputs
    kept = _needed(calls, ends)
    number_of = _renumbered(kept)

    def rewire(tensor: Config) -> None:
        layer, number, output = tensor["keras_history"]
        tensor["keras_history"] = [names[layer], number_of[layer, number], output]

    def end(tensor: Tensor) -> list[Any]:
        history = calls.history(replace(tensor, call=number_of[tensor.layer, tensor.call]))
        return [names[tensor.layer], *history[1:]]

    entries = []
    for name, entry in calls.entries.items():
        numbers = [number for number in range(calls.count(name)) if (name, number) in kept]
        if not numbers:
            continue
        inner_path = path[1:] if path and name == ends[0].layer else ()
        if inner_path and len(numbers) > 1:
            raise CutError(
                f"{'/'.join(path)!r} lies inside a model that is called {len(numbers)} times",
                notes=[("fix", "cut behind one of its calls, or in front of the first")],
            )
        new = _shortened(entry, inner_path)
        new["name"] = new["config"]["name"] = names[name]
        new["inbound_nodes"] = [node for number, node in enumerate(new["inbound_nodes"]) if number in numbers]
        visit_tensors(new["inbound_nodes"], rewire)
        entries.append(new)
    return config | {
        "layers": entries,
        "input_layers": _unpacked([end(tensor) for tensor in calls.inputs if (tensor.layer, tensor.call) in kept]),
        "output_layers": _unpacked([end(tensor) for tensor in ends]),
    }, names


def _shortened(entry: Config, path: Sequence[str]) -> Config:
    """A copy of one layer's entry; if it is a model, with canonical names inside and ending at ``path``."""
    entry = copy.deepcopy(entry)
    if is_functional(entry):
        entry["config"] = _pruned(entry["config"], path)[0]
    elif is_sequential(entry):
        inner = entry["config"]["layers"]
        names = canonical_names((layer["config"]["name"], layer["class_name"]) for layer in inner)
        kept = []
        for layer in inner:
            name = names[layer["config"]["name"]]
            last = bool(path) and name == path[0]
            kept.append(_shortened(layer, path[1:] if last else ()))
            kept[-1]["config"]["name"] = name
            if last:
                break
        entry["config"]["layers"] = kept
    return entry


def _unpacked(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items  # a model of one input takes a tensor, not a list of one


def _find(calls: Calls, names: Mapping[str, str], part: str) -> Tensor:
    for call in calls.ordered:
        if node_name("", names[call.layer], call.number, calls.count(call.layer)) == part:
            return Tensor(call.layer, call.number, 0)
    raise LookupError(part)  # the graph was read from this very model, and had it


def _needed(calls: Calls, ends: Iterable[Tensor]) -> set[tuple[str, int]]:
    needed = {(tensor.layer, tensor.call) for tensor in ends}
    for call in reversed(calls.ordered):
        if (call.layer, call.number) in needed:
            needed.update((tensor.layer, tensor.call) for tensor in call.inputs)
    return needed


def _renumbered(kept: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    counts: dict[str, int] = {}
    numbers: dict[tuple[str, int], int] = {}
    for layer, number in sorted(kept):
        numbers[layer, number] = counts.get(layer, 0)
        counts[layer] = numbers[layer, number] + 1
    return numbers


def custom_classes(model: keras.Model) -> dict[str, type]:
    """The classes of a model's layers that Keras could not find by their name alone."""
    classes: dict[str, type] = {}
    for layer in model.operations:
        if isinstance(layer, keras.Model):
            classes |= custom_classes(functional(layer, layer.name))
        kind = type(layer)
        if not kind.__module__.startswith("keras."):
            classes |= {kind.__name__: kind, keras.saving.get_registered_name(kind): kind}
    return classes
