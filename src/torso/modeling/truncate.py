"""Cut a model: keep the nodes that the end is computed from, and nothing of the original alive.

The trunk is built anew from the pruned configuration and filled with the kept values. A model that merely shares layers
with the original keeps every weight of it in memory, for each layer remembers all its calls.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from torso.model_config.layer_names import canonical_names
from torso.modeling.graph_reader import custom_classes, functional, inside, layer_names, node_name

Change = Callable[[Config], Config]


def cut(model: keras.Model, ends: Cut | None, name: str, *, keep: Collection[str] = ()) -> keras.Model:
    """A model of its own that ends at some nodes, with canonical names and the same values.

    Args:
        model: Functional model from images ``(N, H, W, C)``.
        ends: Canonical name of the node to end at, ``outer/inner`` inside a nested model; several by the names of the
            model's outputs, which is then a dictionary; None to keep the whole model.
        name: What errors and the new model are called.
        keep: Layer names of the model that are canonical already.

    Returns:
        The trunk; nothing of ``model`` stays alive through it.

    Raises:
        CutError: An end lies inside a model that is called more than once, or is one of several and inside one; or the
            model has what no configuration can carry.
    """
    trunk, weights = regrown(model, ends, name, keep=keep)
    for old, new in weights:
        new.assign(old)
    derive(trunk)
    return trunk


def regrown(
    model: keras.Model, ends: Cut | None, name: str, *, keep: Collection[str] = (), change: Change = lambda config: config
) -> tuple[keras.Model, list[tuple[Any, Any]]]:
    """The trunk as :func:`cut` makes it, before it has the values of the model.

    Args:
        model, ends, name, keep: As there.
        change: What else is to be different in its configuration.

    Returns:
        The trunk, and each weight of the model that is kept beside the weight of the trunk that stands for it.
    """
    plain = functional(model, name)
    _refuse_what_cannot_be_written(plain, {})
    config, names = _pruned(plain.get_config(), ends, keep)
    config["name"] = _bare(name)
    trunk: keras.Model = type(plain).from_config(change(config), custom_objects=custom_classes(plain))
    return trunk, list(_weights(plain, trunk, names, keep))


def shared(model: keras.Model, ends: Cut | None, name: str, *, keep: Collection[str] = ()) -> keras.Model | None:
    """The trunk as the very layers of the model, which are of no use for anything else then.

    Args:
        model, ends, name, keep: As for :func:`cut`.

    Returns:
        The trunk; None where a name is to be changed, an end lies inside a nested model, or a layer is called several
        times: then it can only be made anew.
    """
    plain = functional(model, name)
    paths = {} if ends is None else {"": ends} if isinstance(ends, str) else ends
    ops = {op.name: op for op in plain.operations}
    if not all(path in ops for path in paths.values()) or not _has_canonical_names(plain, keep):
        return None
    outputs: Any = {label: ops[path].output for label, path in paths.items()}
    if ends is None:
        outputs = plain.output
    elif isinstance(ends, str):
        outputs = outputs[""]
    _refuse_what_cannot_be_written(plain, {})
    return keras.Model(plain.input, outputs, name=_bare(name))


def _bare(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _has_canonical_names(model: keras.Model, keep: Collection[str]) -> bool:
    """Whether every layer and op has its canonical name and is called once, in nested models too."""
    names = canonical_names(((op.name, type(op).__name__) for op in model.operations), keep=keep)
    if any(name != canonical for name, canonical in names.items()):
        return False
    for op in model.operations:
        try:
            op.output  # noqa: B018  # Keras tells it of what is called once alone
        except (AttributeError, ValueError):
            return False
        if isinstance(op, keras.Model) and not _has_canonical_names(functional(op, op.name), inside(keep, op.name)):
            return False
    return True


def _weights(
    source: keras.Model, target: keras.Model, names: Mapping[str, str], keep: Collection[str] = ()
) -> Iterator[tuple[Any, Any]]:
    """Each weight of ``source`` that ``target`` has too, and the latter; random generators start anew.

    Args:
        source: A functional model.
        target: A pruned copy of it.
        names: The target's name for each layer name of the source.
        keep: Layer names that are canonical already.
    """
    theirs = {names[layer.name]: layer for layer in source.operations}
    for layer in target.operations:
        if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.Layer):
            continue
        original = theirs[layer.name]
        if isinstance(layer, keras.Model):
            inner = functional(original, original.name)
            inner_keep = inside(keep, layer.name)
            inner_names = layer_names(inner.get_config()["layers"], inner_keep)
            yield from _weights(inner, functional(layer, layer.name), inner_names, inner_keep)
            continue
        yield from zip(original.weights, layer.weights, strict=True)


def derive(model: keras.Model) -> None:
    """Let the layers that compute with something derived from their weights derive it anew, in nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            derive(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _refuse_what_cannot_be_written(model: keras.Model, owners: dict[int, str], prefix: str = "") -> None:
    """Refuse what Keras loses or refuses when it makes a model anew from its configuration."""
    for layer in model.operations:
        path = prefix + layer.name
        other = owners.setdefault(id(layer), path)
        if other != path and getattr(layer, "weights", ()):
            raise CutError(
                f"{other!r} and {path!r} are one layer, and a copy of the network would have two with weights of their own",
                notes=[("fix", "let a layer be called within one model only, nested ones or the outer one")],
            )
        if isinstance(layer, keras.layers.Lambda):
            raise CutError(
                f"{path!r} is a Lambda layer, and Python code in it is neither copied nor saved",
                notes=[("fix", "use an op of keras.ops or a layer of Keras in its place")],
            )
        if isinstance(layer, keras.Model):
            _refuse_what_cannot_be_written(functional(layer, layer.name), owners, f"{path}/")


def _pruned(
    config: Config, ends: Cut | None, keep: Collection[str] = (), *, nested: bool = False
) -> tuple[Config, Mapping[str, str]]:
    """The configuration of the part that ends at some nodes, and the canonical name for each layer of the whole.

    Args:
        config: Configuration of a functional model.
        ends: Where to end; None to keep everything and only rename.
        keep: Layer names that are canonical already.
        nested: Its inputs are given by a call, and all of them stay.
    """
    calls = Calls(config)
    names = layer_names(config["layers"], keep)
    paths: Mapping[str, list[str]] = {}
    if ends is not None:
        paths = {label: path.split("/") for label, path in ({"": ends} if isinstance(ends, str) else ends).items()}
    found = {label: _find(calls, names, path[0]) for label, path in paths.items()}
    deeper = {found[label].layer: path for label, path in paths.items() if len(path) > 1}
    if deeper and len(paths) > 1:
        raise CutError(
            f"{'/'.join(next(iter(deeper.values())))!r} lies inside a nested model, and a backbone of several outputs "
            "cannot end there",
            notes=[("fix", "end at that node alone, or let the builder not nest its models")],
        )
    kept = _needed(calls, found.values() or calls.outputs)
    if nested or ends is None:
        kept |= {(tensor.layer, tensor.call) for tensor in calls.inputs}
    number_of = _renumbered(kept)

    def rewire(tensor: Config) -> None:
        layer, number, output = tensor["keras_history"]
        tensor["keras_history"] = [names[layer], number_of[layer, number], output]

    def end(tensor: Tensor) -> History:
        history = calls.history(replace(tensor, call=number_of[tensor.layer, tensor.call]))
        return [names[tensor.layer], *history[1:]]

    entries = []
    for name, entry in calls.entries.items():
        numbers = [number for number in range(calls.count(name)) if (name, number) in kept]
        if not numbers:
            continue
        path = deeper.get(name, [])
        if path and len(numbers) > 1:
            raise CutError(
                f"{'/'.join(path)!r} lies inside a model that is called {len(numbers)} times",
                notes=[("fix", "cut behind one of its calls, or in front of the first")],
            )
        new = _shortened(entry, path[1:], inside(keep, names[name]))
        new["name"] = new["config"]["name"] = names[name]
        new["inbound_nodes"] = [node for number, node in enumerate(new["inbound_nodes"]) if number in numbers]
        visit_tensors(new["inbound_nodes"], rewire)
        entries.append(new)
    inputs = config["input_layers"]
    if not (nested or ends is None):
        inputs = _unpacked([calls.history(tensor) for tensor in calls.inputs if (tensor.layer, tensor.call) in kept])
    outputs: Any = {label: end(tensor) for label, tensor in found.items()}
    if ends is None:
        outputs = map_histories(config["output_layers"], lambda history: end(calls.end(history)))
    return config | {
        "layers": entries,
        "input_layers": map_histories(inputs, lambda history: end(calls.end(history))),
        "output_layers": outputs[""] if isinstance(ends, str) else outputs,
    }, names


def _shortened(entry: Config, path: Sequence[str], keep: Collection[str]) -> Config:
    """A copy of one layer's entry; if it is a model, with canonical names inside and ending at ``path``."""
    entry = copy.deepcopy(entry)
    if is_functional(entry):
        entry["config"] = _pruned(entry["config"], "/".join(path) or None, keep, nested=True)[0]
    elif is_sequential(entry):
        inner = entry["config"]["layers"]
        names = canonical_names(((layer["config"]["name"], layer["class_name"]) for layer in inner), keep=keep)
        kept = []
        for layer in inner:
            name = names[layer["config"]["name"]]
            last = bool(path) and name == path[0]
            kept.append(_shortened(layer, path[1:] if last else (), inside(keep, name)))
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
