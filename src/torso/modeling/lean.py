"""Run a builder for its graph alone: quickly, and no further than it is needed. Every name of Keras here is public."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import Signature
from types import FunctionType, MethodType
from typing import Any

import keras

from torso.modeling.interception import Interception, garbage_kept

_PLAIN = frozenset(
    {bool, float, int, str, type(None), FunctionType, Signature, keras.DTypePolicy, keras.InputSpec}
    | {kind for kind in vars(keras.initializers).values() if isinstance(kind, type)}
)
"""Kinds of attributes that hold no variable and no layer."""

_set_attribute = Interception(lambda: keras.Layer, "__setattr__")
_layer_call = Interception(lambda: keras.Layer, "__call__")
_op_call = Interception(lambda: keras.Operation, "symbolic_call")


_signature = Interception(lambda: inspect, "signature")
_arguments = Interception(lambda: inspect, "getfullargspec")


@contextmanager
def quickly() -> Iterator[None]:
    """Spend no time on what comes out the same for every layer that is made.

    A layer looks at each attribute that it is given for variables and layers in it, although most cannot hold any; and it
    asks Python for the arguments of its methods, which are those of its class.
    """

    def set_attribute(original: Callable[..., None], layer: Any, name: str, value: Any) -> None:
        if type(value) in _PLAIN:
            object.__setattr__(layer, name, value)
        else:
            original(layer, name, value)

    with garbage_kept(), _set_attribute.by(set_attribute), _signature.by(_remembered()), _arguments.by(_remembered()):
        yield


def _remembered() -> Callable[..., Any]:
    """Answers for a function, or for the method of any instance, what was answered before."""
    answers: dict[Any, Any] = {}

    def ask(original: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not isinstance(function, (FunctionType, MethodType)):
            return original(function, *args, **kwargs)
        key = function.__func__ if isinstance(function, MethodType) else function
        if (key, type(function)) not in answers:
            answers[key, type(function)] = original(function)
        return answers[key, type(function)]

    return ask


class _Reached(BaseException):
    """All that is wanted has been called; no builder's ``except Exception`` is to catch it."""


def build_until(names: Collection[str], build: Callable[[], Any]) -> tuple[Any, bool]:
    """Run a builder, and end it as soon as these layers and ops have been called.

    Args:
        names: Of layers and ops, each called once, outside of any other; none of them to let the builder finish.
        build: Makes and returns a functional model of one input.

    Returns:
        The model, and whether it is the part that ends at ``names`` (in their order) in place of the builder's own; None
        where that part has several inputs.
    """
    if not names:
        return build(), False
    calls = _Calls(names)
    try:
        with calls.recorded():
            return build(), False
    except _Reached:
        return calls.part(), True


class _Calls:
    """The outermost calls of layers and ops, and which tensors each of them read."""

    def __init__(self, names: Collection[str]) -> None:
        self._awaited: dict[str, Any] = dict.fromkeys(names)
        self._missing = set(names)
        self._read: dict[int, tuple[Any, list[Any]]] = {}  # by the identity of an output: it, and what it is made from
        self._depth = 0

    @contextmanager
    def recorded(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(_layer_call.by(self._call_layer))
            stack.enter_context(_op_call.by(self._call_op))
            yield

    def part(self) -> keras.Model | None:
        """The model from its one input to what was awaited."""
        outputs = list(self._awaited.values())
        found: dict[int, Any] = {}
        seen: set[int] = set()
        todo = [*outputs]
        while todo:
            tensor = todo.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if id(tensor) in self._read:
                todo.extend(self._read[id(tensor)][1])
            else:
                found[id(tensor)] = tensor
        if len(found) != 1:
            return None
        return keras.Model(*found.values(), outputs if len(outputs) > 1 else outputs[0])

    def _call_layer(self, original: Callable[..., Any], layer: Any, *args: Any, **kwargs: Any) -> Any:
        self._depth += 1
        try:
            outputs = original(layer, *args, **kwargs)
        finally:
            self._depth -= 1
        self._note(layer, args, kwargs, outputs)
        return outputs

    def _call_op(self, original: Callable[..., Any], op: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(op, *args, **kwargs)
        if not isinstance(op, keras.Layer):  # whose call goes on behind this one
            self._note(op, args, kwargs, outputs)
        return outputs

    def _note(self, op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any) -> None:
        if self._depth:
            return
        read = [tensor for tensor in keras.tree.flatten((args, dict(kwargs))) if isinstance(tensor, keras.KerasTensor)]
        for output in keras.tree.flatten(outputs):
            if isinstance(output, keras.KerasTensor):
                self._read[id(output)] = output, read
        if op.name in self._missing and isinstance(outputs, keras.KerasTensor):
            self._awaited[op.name] = outputs
            self._missing.discard(op.name)
            if not self._missing:
                raise _Reached
