"""The only module that uses private names of Keras; each use has a public way to fall back to.

| private name | used for | without it |
|---|---|---|
| ``keras.src.utils.file_utils.get_file`` | build the graph that belongs to published weights without fetching them | Keras fetches them itself; the graph is the same |
| ``keras.src.backend.common.global_state`` | forget the variables that were made without values, which Keras would fill later on | they are made with values: slower, and the graph is the same |
| the same: its count of names | tell a name that Keras numbered from one that an author wrote alike | the author's ``conv2d_7`` counts as numbered by Keras |
"""  # noqa: E501

from __future__ import annotations

import importlib
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

_FILE_UTILS = "keras.src.utils.file_utils"
_GLOBAL_STATE = "keras.src.backend.common.global_state"
_PENDING = "uninitialized_variables"
_COUNTS = "object_name_uids"
_lock = threading.Lock()
_current = threading.local()  # .requests: the list that this thread's builder is recorded in
_originals: list[Any] = []  # what is to be restored once the last thread is done
_users = 0
_numbered: weakref.WeakSet[Any] = weakref.WeakSet()  # layers and ops that Keras named while a builder ran


@dataclass(frozen=True)
class WeightsRequest:
    """A file that a builder wanted to download."""

    fname: str
    origin: str
    cache_subdir: str
    file_hash: str | None


@contextmanager
def without_weights() -> Iterator[list[WeightsRequest]]:
    """Let builders of this thread draw their pretrained graph, but neither fetch nor load the weights.

    Yields:
        The downloads that were asked for, in order. It stays empty where Keras has moved ``get_file``: then Keras
        fetches the file by itself, and only the loading is left out.
    """
    requests: list[WeightsRequest] = []
    previous = getattr(_current, "requests", None)
    _install()
    _current.requests = requests
    try:
        yield requests
    finally:
        _current.requests = previous
        _uninstall()


def can_intercept() -> bool:
    """Whether this Keras has the private name that keeps builders from downloading."""
    return _file_utils() is not None


@contextmanager
def without_values() -> Iterator[bool]:
    """Let what is built here have variables with a shape and no memory: a graph can be read off it, and nothing else.

    Yields:
        Whether that is so. Where Keras has moved its list of such variables, they are made with values.
    """
    state = _global_state()
    if state is None:
        yield False
        return
    before = list(state.get_global_attribute(_PENDING) or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield True
    finally:
        state.set_global_attribute(_PENDING, before)


@contextmanager
def counting_names() -> Iterator[Callable[[Any], bool]]:
    """Watch which names Keras gives out while a builder runs.

    Yields:
        Whether a layer or op has a name that Keras may have given it: in this time, or when torso saw it made before, as
        where a builder keeps a part of its network. It says yes to all where Keras has moved its count, or where the
        builder set that back.
    """
    before = _name_counts()

    def is_numbered(layer: Any) -> bool:
        counts = _name_counts()
        match = re.fullmatch(r"(.+?)(?:_([1-9][0-9]*))?", layer.name)
        stem, number = (match[1], int(match[2] or 0)) if match else (layer.name, 0)
        first, last = before.get(stem, 0), counts.get(stem, 0)
        if not counts or last < first or first <= number < last:
            _numbered.add(layer)
        return layer in _numbered

    yield is_numbered


def _name_counts() -> Mapping[str, int]:
    state = _global_state()
    return {} if state is None else dict(state.get_global_attribute(_COUNTS) or {})


def can_forget() -> bool:
    """Whether this Keras has the private names that let variables without values be forgotten."""
    return _global_state() is not None


def _global_state() -> Any:
    try:
        module = importlib.import_module(_GLOBAL_STATE)
    except ImportError:
        return None
    names = ("get_global_attribute", "set_global_attribute")
    return module if all(callable(getattr(module, name, None)) for name in names) else None


def _file_utils() -> Any:
    try:
        module = importlib.import_module(_FILE_UTILS)
    except ImportError:
        return None
    return module if callable(getattr(module, "get_file", None)) else None


def _install() -> None:
    global _users
    with _lock:
        _users += 1
        if _users > 1:
            return
        load_weights = keras.Model.load_weights

        def recorded_load(self: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(_current, "requests", None) is None:
                return load_weights(self, *args, **kwargs)
            return None

        keras.Model.load_weights = recorded_load
        _originals.append((keras.Model, "load_weights", load_weights))
        module = _file_utils()
        if module is None:
            return
        get_file = module.get_file

        def recorded_get_file(
            fname: Any = None, origin: Any = None, *args: Any, cache_subdir: str = "datasets", **kwargs: Any
        ) -> Any:
            requests = getattr(_current, "requests", None)
            if requests is None:
                return get_file(fname, origin, *args, cache_subdir=cache_subdir, **kwargs)
            requests.append(WeightsRequest(fname, origin, cache_subdir, kwargs.get("file_hash")))
            return fname

        module.get_file = recorded_get_file
        _originals.append((module, "get_file", get_file))


def _uninstall() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _originals:
                owner, name, original = _originals.pop()
                setattr(owner, name, original)
