"""The only module that uses private names of Keras; each use has a public way to fall back to.

| private name | used for | without it |
|---|---|---|
| ``keras.src.utils.file_utils.get_file`` | build the graph that belongs to published weights without fetching them | Keras fetches them itself; the graph is the same |
| ``keras.src.backend.common.global_state`` | forget the variables that were made without values, which Keras would fill later on | they are made with values: slower, and the graph is the same |
| the same: its count of names | let Keras number a network's names from zero; tell a name that it numbered from one that an author wrote alike | names are changed afterwards, on a copy; the author's ``conv2d_7`` counts as numbered by Keras |
| ``Variable._value``, ``_initializer``, ``_initialize``, ``_deferred_initialize`` | give memory to a variable that was made without, once its value is there | variables are made with random values and filled |
| ``Operation._outbound_nodes`` | let go of the layers behind a cut | the trunk is built anew from its configuration |
| ``_path`` of layers and variables, ``Layer._flatten_layers`` | take a builder's name scopes out of its variables' paths | the trunk is built anew from its configuration |
| ``Layer._flatten_layers`` | find what a wrapper wraps: a normalisation whose statistics follow the data | it is not found there |
| ``Optimizer._trainable_variables`` | tell at once that what trains was changed after ``compile`` | it is told at the end of the run, by what has not moved |
| the marks ``_keras_call_info_injected`` and, of TensorFlow, ``ag_pass_through`` of an error | let an error of torso's within a layer's call be told in its own words | Keras repeats the images below its first line; TensorFlow makes it another error, with torso's words in it |
| ``saving_lib._save_state`` and its store | learn where in a ``.weights.h5`` each variable belongs | Keras writes such a file of the model, which must have values then |
"""  # noqa: E501

from __future__ import annotations

import importlib
import re
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from torso.modeling.interception import Interception

_FILE_UTILS = "keras.src.utils.file_utils"
_GLOBAL_STATE = "keras.src.backend.common.global_state"
_SAVING = "keras.src.saving.saving_lib"
_PENDING = "uninitialized_variables"
_COUNTS = "object_name_uids"
DROPOUT_RNN_CELL = "DropoutRNNCell"  # classes that Keras does not export, by name: a base of recurrent cells,
STOCHASTIC_DEPTH = "StochasticDepth"  # and a layer of ConvNeXt
_numbered: weakref.WeakSet[Any] = weakref.WeakSet()  # layers and ops that Keras named while a builder ran


def _module(name: str, *functions: str) -> Any:
    """A module of Keras that has these functions, or None."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if all(callable(getattr(module, function, None)) for function in functions) else None


def _file_utils() -> Any:
    return _module(_FILE_UTILS, "get_file")


def _global_state() -> Any:
    return _module(_GLOBAL_STATE, "get_global_attribute", "set_global_attribute")


def _saving() -> Any:
    return _module(_SAVING, "_save_state", "H5IOStore")


_load_weights = Interception(lambda: keras.Model, "load_weights")
_get_file = Interception(_file_utils, "get_file")


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

    def get_file(original: Any, fname: Any = None, origin: Any = None, *args: Any, **kwargs: Any) -> Any:
        requests.append(WeightsRequest(fname, origin, kwargs.get("cache_subdir", "datasets"), kwargs.get("file_hash")))
        return fname

    with ExitStack() as stack:
        stack.enter_context(_load_weights.by(lambda original, model, *args, **kwargs: None))
        stack.enter_context(_get_file.by(get_file))
        yield requests


def can_intercept() -> bool:
    """Whether this Keras has the private name that keeps builders from downloading."""
    return _file_utils() is not None


@dataclass
class Valueless:
    """What was built without values.

    Attributes:
        variables: Those that have a shape and no memory, once it is built.
        assigned: Whether one of them was given a value meanwhile, which is lost.
    """

    variables: list[Any]
    assigned: bool = False


@contextmanager
def without_values() -> Iterator[Valueless | None]:
    """Let what is built here have variables with a shape and no memory.

    Yields:
        What will be known of them afterwards; None where Keras has moved its own list of them: then they have values.
    """
    state = _global_state()
    if state is None:
        yield None
        return
    before = list(state.get_global_attribute(_PENDING) or ())
    built = Valueless([])
    try:
        with keras.StatelessScope(initialize_variables=False) as scope:
            yield built
            built.assigned = bool(scope.state_mapping)
    finally:
        built.variables.extend((state.get_global_attribute(_PENDING) or ())[len(before) :])
        state.set_global_attribute(_PENDING, before)


def can_forget() -> bool:
    """Whether this Keras has the private names that let variables without values be forgotten."""
    return _global_state() is not None


@contextmanager
def fresh_names() -> Iterator[bool]:
    """Let Keras number the names that it gives here from zero, as in a process that has built nothing yet.

    Yields:
        Whether it does.
    """
    state = _global_state()
    if state is None:
        yield False
        return
    before = state.get_global_attribute(_COUNTS)
    state.set_global_attribute(_COUNTS, defaultdict(int))
    try:
        yield True
    finally:
        state.set_global_attribute(_COUNTS, before)


def reserve_names(model: keras.Model) -> None:
    """Let Keras give none of a model's names to a layer that is made later: the two may come to stand in one model."""
    state = _global_state()
    if state is None:
        return
    counts = state.get_global_attribute(_COUNTS, default=defaultdict(int), set_to_default=True)
    for op in model.operations:
        stem, _, number = op.name.rpartition("_")
        name, used = (stem, int(number) + 1) if stem and number.isdecimal() else (op.name, 1)
        counts[name] = max(counts[name], used)


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


def can_give_values() -> bool:
    """Whether this Keras has the private names that give memory to a variable which was made without."""
    methods = ("_initialize", "_deferred_initialize")
    return can_forget() and all(callable(getattr(keras.Variable, method, None)) for method in methods)


def has_value(variable: Any) -> bool:
    """Whether a variable has memory; where Keras has moved its name for that, none is made without."""
    return getattr(variable, "_value", variable) is not None


def give_value(variable: Any, value: Any) -> None:
    """Give memory to a variable that was made without: that of this array, which nobody may write to any more.

    TensorFlow copies an array that it is given, for it might be changed, and takes over what says that it is like one.
    """
    try:
        variable._initialize(_AsItIs(value))
    except (TypeError, ValueError):  # a TensorFlow, or a type, for which that is not so
        variable._initialize(value)
    variable._initializer = None


@dataclass(frozen=True)
class _AsItIs:
    """An array that is handed over."""

    value: Any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.value


def draw_value(variable: Any) -> None:
    """Give memory to a variable that was made without, and the value that its initialiser makes."""
    variable._deferred_initialize()


@dataclass(frozen=True)
class _Abandoned:
    """Stands for the initialiser of a variable without memory, which Keras would compute with as if it were a value."""

    path: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{self.path!r} belongs to a network that torso built without values, and has none")


def abandon(variables: Iterable[Any]) -> None:
    """Make sure that nobody computes with those of these variables that have no memory."""
    for variable in variables:
        if not has_value(variable) and not isinstance(variable._initializer, _Abandoned):
            variable._initializer = _Abandoned(variable.path)


def can_detach() -> bool:
    """Whether this Keras has the private name of what reads a layer's outputs."""
    return hasattr(keras.layers.Identity(name="probe"), "_outbound_nodes")


def detach(model: keras.Model) -> None:
    """Let the layers and ops of a functional model forget every reader that is not in it."""
    kept = {id(op) for op in model.operations}
    for op in model.operations:
        op._outbound_nodes = [node for node in op._outbound_nodes if id(node.operation) in kept]


def leave_scopes(model: keras.Model) -> bool:
    """Take the name scopes that a builder worked in out of the paths of a model's variables.

    Keras leaves them out itself where it makes the model anew from its configuration, as when it is loaded.

    Returns:
        Whether no path is within such a scope any more: not so where Keras has moved its name for paths.
    """
    for layer in model.layers:
        scope = (layer.path or "").removesuffix(layer.name)
        if not scope:
            continue
        if not layer.path.endswith(f"/{layer.name}") or not all(hasattr(one, "_path") for one in layer.variables):
            return False
        for owner in (*layer._flatten_layers(), *layer.variables):
            owner._path = (owner.path or "").removeprefix(scope) or None
    return True


def can_tell_places() -> bool:
    """Whether this Keras has the private names that tell where in a ``.weights.h5`` each variable belongs."""
    return _saving() is not None


def places_of(model: keras.Model) -> Mapping[str, Any]:
    """Where Keras would write each variable of a model in a ``.weights.h5``: the variable by its path in the file.

    Only their names are looked at: they need no values.
    """
    saving = _saving()
    found: dict[str, dict[str, Any]] = {}

    class Store(saving.H5IOStore):  # type: ignore[misc,name-defined]  # found at run time
        """Takes what is to be saved, and writes nothing."""

        def __init__(self) -> None:
            pass

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: Any = None) -> dict[str, Any]:
            return found.setdefault(path, {})

    saving._save_state(model, weights_store=Store(), assets_store=None, inner_path="", visited_saveables=set())
    return {f"{path}/vars/{name}".lstrip("/"): one for path, group in found.items() for name, one in group.items()}


def inner_layers(layer: Any) -> list[Any]:
    """A layer and all that are within it; the layer alone where Keras has moved its name for that."""
    flatten = getattr(layer, "_flatten_layers", None)
    return [layer] if flatten is None else list(flatten())


def optimized(optimizer: Any) -> set[int] | None:
    """The ids of the variables that an optimizer was made for; None where that cannot be known (yet)."""
    variables = getattr(optimizer, "_trainable_variables", None)
    return {id(variable) for variable in variables} if variables else None


def let_pass(error: Exception) -> None:
    """Have Keras and AutoGraph let an error pass that is raised within a layer's call, in place of their own around it."""
    error._keras_call_info_injected = True  # type: ignore[attr-defined]
    error.ag_pass_through = True  # type: ignore[attr-defined]
