"""Run a builder in a thread of its own, replace functions for that thread alone, and end the builder at the cut."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import keras

T = TypeVar("T")


def start_thread(work: Callable[[], T]) -> Future[T]:
    """Run a function in a new thread that nobody waits for at exit: Ctrl-C ends the process even if a builder sleeps."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that waits
            result.set_exception(error)

    # Not a ThreadPoolExecutor: Python waits for its threads, and shuts it down before atexit functions run, which may save.
    threading.Thread(target=run, name="torso", daemon=True).start()
    return result


_one_at_a_time = threading.RLock()
_is_patching = ContextVar("_is_patching", default=False)


@contextmanager
def patched(owner: Any, name: str, handler: Callable[..., Any]) -> Iterator[None]:
    """Replace a function for this thread alone: ``handler`` takes the original, and its arguments."""
    thread = threading.get_ident()
    # Threads take turns, or the last would put back what the first had replaced. A builder that builds with torso itself
    # does so in the turn of the thread that waits for it.
    with nullcontext() if _is_patching.get() else _one_at_a_time:
        original = getattr(owner, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            return handler(original, *args, **kwargs) if threading.get_ident() == thread else original(*args, **kwargs)

        token = _is_patching.set(True)
        setattr(owner, name, replaced)
        try:
            yield
        finally:
            setattr(owner, name, original)
            _is_patching.reset(token)


class _Reached(BaseException):
    """Everything wanted has been called; no builder's ``except Exception`` is to catch it."""


def stopped_at(names: Collection[str], build: Callable[[], Any]) -> tuple[Any, bool]:
    """Run a builder, and end it as soon as these layers and ops have been called, each outside of any other.

    Returns what the builder returns and False; or the model that ends at ``names``, in their order, and True.
    """
    ends: dict[str, Any] = dict.fromkeys(names)
    # By the identity of an output: it, which has to live as long, and the inputs that it is made from, by theirs.
    inputs_of: dict[int, tuple[Any, dict[int, Any]]] = {}
    depth = 0

    def call(original: Callable[..., Any], op: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            outputs = original(op, *args, **kwargs)
        finally:
            depth -= 1
        if depth:
            return outputs  # within another layer
        inputs: dict[int, Any] = {}
        for tensor in keras.tree.flatten((args, kwargs)):
            if isinstance(tensor, keras.KerasTensor):
                inputs |= inputs_of.get(id(tensor), (tensor, {id(tensor): tensor}))[1]
        for output in keras.tree.flatten(outputs):
            inputs_of[id(output)] = output, inputs
        if op.name in ends and ends[op.name] is None and isinstance(outputs, keras.KerasTensor):
            ends[op.name] = outputs
            if None not in ends.values():
                raise _Reached
        return outputs

    try:
        with patched(keras.Layer, "__call__", call), patched(keras.Operation, "symbolic_call", call):  # and bare ops
            return build(), False
    except _Reached:
        pass
    outputs = list(ends.values())
    read = {key: tensor for output in outputs for key, tensor in inputs_of[id(output)][1].items()}
    if len(read) > 1:
        raise ValueError("the part before the cut has several inputs")
    return keras.Model(*read.values(), outputs if len(outputs) > 1 else outputs[0]), True
