"""The configuration of a functional model, read as a list of calls.

``get_config()`` is public, is in every saved model, and names bare ops as well as layers. torso therefore reads graphs from
it and truncates it. This module knows the form of that dictionary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

Config = dict[str, Any]  # what Keras writes; its values are JSON

History = list[Any]  # [layer, call, output], as Keras refers to a tensor


@dataclass(frozen=True)
class Tensor:
    """One output of one call: name of the layer, index of the call among those of that layer, index of the output."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Call:
    """One call of a layer or op, with the tensors that it reads."""

    layer: str
    number: int  # 0 for the first call of that layer in this model
    inputs: tuple[Tensor, ...]
    shapes: tuple[tuple[int | None, ...], ...]  # of the inputs, with the batch axis


class Calls:
    """The calls of one functional model, from its configuration."""

    def __init__(self, config: Config) -> None:
        self.entries: dict[str, Config] = {entry["name"]: entry for entry in config["layers"]}
        self.ordered = tuple(self._sorted())  # topologically; where several could come next, in the model's own order
        # In the order in which Keras flattens them: a dictionary by its sorted names.
        self.inputs = [self.end(history) for history in _histories(config["input_layers"])]
        self.outputs = [self.end(history) for history in _histories(config["output_layers"])]

    def count(self, layer: str) -> int:
        """How often a layer is called."""
        return max(1, len(self.entries[layer]["inbound_nodes"]))

    def history(self, tensor: Tensor) -> History:
        """The reference to a tensor in ``input_layers`` and ``output_layers``."""
        return [tensor.layer, tensor.call + _first_call(self.entries[tensor.layer]), tensor.output]

    def end(self, history: History) -> Tensor:
        """The tensor of such a reference."""
        layer, call, output = history
        return Tensor(layer, call - _first_call(self.entries[layer]), output)

    def _calls(self) -> Iterator[Call]:
        for entry in self.entries.values():
            if not entry["inbound_nodes"]:
                yield Call(entry["name"], 0, (), ())
            for number, node in enumerate(entry["inbound_nodes"]):
                found: list[Config] = []
                visit_tensors(node, found.append)
                inputs = tuple(Tensor(*tensor["keras_history"]) for tensor in found)
                yield Call(entry["name"], number, inputs, tuple(tuple(tensor["shape"]) for tensor in found))

    def _sorted(self) -> Iterator[Call]:
        calls = list(self._calls())
        position = {(call.layer, call.number): index for index, call in enumerate(calls)}
        sources = {index: [position[one.layer, one.call] for one in call.inputs] for index, call in enumerate(calls)}
        sorter = TopologicalSorter(sources)
        sorter.prepare()
        ready: list[int] = []
        while sorter.is_active():
            ready = sorted([*ready, *sorter.get_ready()], reverse=True)
            yield calls[ready[-1]]
            sorter.done(ready.pop())


def _first_call(entry: Config) -> int:
    # Keras counts the calls of a nested functional model from 1 in input_layers and output_layers, and from 0 in calls.
    return 1 if is_functional(entry) else 0


def is_functional(entry: Config) -> bool:
    """Whether a layer is itself a functional model."""
    return "layers" in entry["config"] and "output_layers" in entry["config"]


def is_sequential(entry: Config) -> bool:
    return "layers" in entry["config"] and "output_layers" not in entry["config"]


def is_keras(entry: Config) -> bool:
    # others may use the same names in their configuration with another meaning
    return str(entry.get("module", "")).split(".")[0] == "keras"


def visit_tensors(value: Any, visit: Callable[[Config], None]) -> None:
    """Call ``visit`` with the description of each tensor among the arguments of a call, which it may change."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            visit(value["config"])
            return
        value = [value[name] for name in sorted(value)]
    if isinstance(value, (list, tuple)):
        for item in value:
            visit_tensors(item, visit)


def map_histories(value: Any, change: Callable[[History], History]) -> Any:
    """The same nested structure of references, each changed."""
    if _is_history(value):
        return change(list(value))
    if isinstance(value, dict):
        return {name: map_histories(item, change) for name, item in value.items()}
    return [map_histories(item, change) for item in value]


def _histories(value: Any) -> Iterator[History]:
    if _is_history(value):
        yield list(value)
        return
    for item in (value[name] for name in sorted(value)) if isinstance(value, dict) else value:
        yield from _histories(item)


def _is_history(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)
