"""The private names of Keras that torso uses. tests/modeling/test_keras_private.py tells when Keras moves one.

One is used elsewhere too: plugins/calling.py reads ``global_state``, if Keras is imported already.

| private name | used for | without it |
|---|---|---|
| ``keras.src.utils.file_utils.get_file`` | draw the graph of published weights without downloading them | Keras downloads them |
| ``keras.src.backend.common.global_state`` | hand a thread's settings to the thread that draws; the list of variables without values; the count of names | build mode ``ordinary``; names stay as Keras gives them |
| ``Variable._value``, ``_initializer``, ``_initialize`` | give memory to a variable that was made without | build mode ``ordinary`` |
| ``make_default_seed`` of two modules | seeds for ``weights: {none: {seed: N}}`` | such a build fails |
| ``Operation._outbound_nodes`` | release the layers after a cut | build mode ``ordinary`` |
| ``Operation._inbound_nodes`` | compare what a layer of unknown code computes in training | such a layer cannot be frozen |
| ``Layer._flatten_layers`` | find what a wrapper or nested model holds | only the wrapper is seen |
| ``Optimizer._trainable_variables`` | report at once that flags were changed after ``compile`` | reported at the end of the run |
| ``Optimizer._var_key``, ``_apply_weight_decay`` | learning rates per level | they cannot be scaled |
| the marks ``_keras_call_info_injected`` and, of TensorFlow, ``ag_pass_through`` of an error | an error of torso within a layer's call keeps its own words | Keras repeats the images below its first line |
| ``saving_lib._save_state`` and ``NpzIOStore`` | where in a ``.weights.h5`` each variable belongs | such a file is refused |
| ``saving_lib._serialize_model_as_json`` | the same model gives the same bytes when it is saved | they hold the time and memory addresses |
| ``MultiHeadAttention._dropout`` | turn its dropout off, and on again | a network with it cannot be frozen |
| the class names below | recognise classes that Keras does not export | they are taken for somebody else's |
"""  # noqa: E501

import importlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar
from zipfile import ZipFile, ZipInfo

import keras

from torso.modeling.threads import patched, start_thread

FUNCTIONAL = "Functional"
DROPOUT_RNN_CELL = "DropoutRNNCell"  # a base of recurrent cells
STOCHASTIC_DEPTH = "StochasticDepth"  # of ConvNeXt
ATTENTION_DROPOUT = "_dropout"  # the rate of a MultiHeadAttention
VARIABLE_KEY, WEIGHT_DECAY = "_var_key", "_apply_weight_decay"  # methods of an optimizer

_PENDING = "uninitialized_variables"
_COUNTS = "object_name_uids"
# What belongs to the place in the program where a build was asked for, and would change what is drawn.
_LEFT_BEHIND = {_PENDING, _COUNTS, "name_scope_stack", "stateless_scope", "symbolic_scope", "autocast_scope"}

T = TypeVar("T")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:  # Keras has moved it
        return None


_file_utils = _module("keras.src.utils.file_utils")
_global_state = _module("keras.src.backend.common.global_state")
_saving = _module("keras.src.saving.saving_lib")
_seed_makers = _module("keras.src.random.seed_generator"), _module("keras.src.backend.tensorflow.random")


def in_fresh_thread(call: Callable[[], T]) -> T:
    """Return what a function returns in a new thread, in which Keras has given no names yet; its errors pass."""
    # Keras' state belongs to a thread: names are counted from zero, and nothing of the call stays in this thread. What the
    # user has set (dtype policy, seed, custom objects) is handed over.
    policy = keras.config.dtype_policy()
    mine = vars(_global_state.GLOBAL_STATE_TRACKER) if _global_state else {}
    handed = {name: value for name, value in mine.items() if name not in _LEFT_BEHIND}

    def run() -> T:
        for name, value in handed.items():
            _global_state.set_global_attribute(name, value)
        keras.config.set_dtype_policy(policy)
        return call()

    return start_thread(partial(copy_context().run, run)).result()


@contextmanager
def without_weights(*, but_own: bool = False) -> Iterator[list[Mapping[str, Any]]]:
    """Let builders of this thread neither download nor load weights (``but_own``: files that they bring are loaded).

    Yields what they ask for, in order; a download has an ``origin``.
    """
    requests: list[Mapping[str, Any]] = []

    def get_file(original: Any, fname: Any = None, origin: Any = None, *args: Any, **kwargs: Any) -> Any:
        requests.append({"fname": fname, "origin": origin, **kwargs})
        return fname

    def load(original: Any, model: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
        if all(request["fname"] != filepath for request in requests):
            requests.append({"fname": filepath})
            if but_own:
                original(model, filepath, *args, **kwargs)

    not_downloaded = patched(_file_utils, "get_file", get_file) if _file_utils else nullcontext()
    with patched(keras.Model, "load_weights", load), not_downloaded:
        yield requests


def name_counts() -> Mapping[str, int]:
    """How often Keras has given out each name in this thread."""
    return dict(_global_state.get_global_attribute(_COUNTS) or {}) if _global_state else {}


def reserve_names(model: keras.Model) -> None:
    """Let Keras give none of a model's names to a layer made later in this thread: one model may hold both."""
    if _global_state is None:
        return
    counts = _global_state.get_global_attribute(_COUNTS, defaultdict(int), set_to_default=True)
    for op in model.operations:
        match = re.fullmatch(r"(.+)_([0-9]+)", op.name)
        name, used = (match[1], int(match[2]) + 1) if match else (op.name, 1)
        counts[name] = max(counts[name], used)


def has_scopes(model: keras.Model) -> bool:
    """Whether a name scope, or an earlier name of a layer, stands in the paths of a model's variables."""
    inner = [one for layer in model.layers if isinstance(layer, keras.Model) for one in layer.layers]
    every = (*model.layers, *inner)  # what is never built, as an activation, has no path
    return any(one.path not in (None, one.name) for one in every) or any(isinstance(one, keras.Model) for one in inner)


@contextmanager
def without_values() -> Iterator[keras.StatelessScope]:
    """Let what is built here have variables with a shape and no memory; yields the scope that holds what is assigned."""
    pending = _global_state.get_global_attribute(_PENDING, [], set_to_default=True)
    before = len(pending)
    try:
        with keras.StatelessScope(initialize_variables=False) as scope:
            yield scope
    finally:
        del pending[before:]  # Keras would fill them when the next scope ends


def can_draw_lean() -> bool:
    """Whether this Keras has the private names that a network without values needs."""
    has_nodes = hasattr(keras.layers.Identity(name="any"), "_outbound_nodes")
    return _global_state is not None and has_nodes and hasattr(keras.Variable, "_initialize")


def has_value(variable: Any) -> bool:
    return getattr(variable, "_value", variable) is not None


def give_value(variable: Any, value: Any) -> None:
    """Give a variable a value; one without memory takes that of this array, which nobody may write to any more."""
    if has_value(variable):
        variable.assign(value)
        return
    try:
        variable._initialize(_AsItIs(value))  # TensorFlow copies an array, and takes over what only says that it is one
    except (TypeError, ValueError):  # a type for which that is not so
        variable._initialize(value)
    variable._initializer = None


@dataclass(frozen=True)
class _AsItIs:
    value: Any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.value


def draw_value(variable: Any, drawn: Any) -> None:
    """Give a variable without value the one that the initialiser of another makes, on the CPU: GPUs round differently."""
    with keras.device("cpu:0"):
        value = drawn._initializer(tuple(variable.shape), dtype=variable.dtype)
    give_value(variable, value)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Let layers and initialisers of this thread take their seeds from this one, as after keras.utils.set_random_seed."""
    numbers = random.Random(seed)
    with ExitStack() as stack:
        for module in _seed_makers if seed is not None else ():
            stack.enter_context(patched(module, "make_default_seed", lambda original: numbers.randint(1, 10**9)))
        yield


def detach(model: keras.Model) -> None:
    """Let the layers and ops of a functional model forget every reader that is not in it, or it stays in memory."""
    kept = {id(op) for op in model.operations}
    for op in model.operations:
        op._outbound_nodes = [node for node in op._outbound_nodes if id(node.operation) in kept]


def places_of(model: keras.Model) -> Mapping[str, tuple[Any, tuple[str, ...]]]:
    """Each variable of a model, with or without a value, by its path in a ``.weights.h5``; empty where Keras has moved.

    Beside it are the names of its layer and of those that it is in, outermost first.
    """
    if _saving is None:
        return {}
    names: dict[str, str] = {}

    class Store(_saving.NpzIOStore):  # type: ignore[misc, name-defined]
        def make(self, path: str, metadata: Any = None) -> Any:
            names[path] = (metadata or {}).get("name", "")
            return super().make(path, metadata)

    store = Store("", mode="w")  # it writes when it is closed: never
    _saving._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
    groups = {path.removeprefix("__root__"): group for path, group in store.contents.items()}
    found: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for path, group in groups.items():
        above = accumulate(path.split("/"), "{}/{}".format) if path else ()
        owner = tuple(names[one] for one in above if names.get(one))
        found |= {f"{path}/vars/{name}".lstrip("/"): (one, owner) for name, one in group.items()}
    return found


@contextmanager
def without_time() -> Iterator[None]:
    """Let ``Model.save`` of this thread write no time and no memory address: the same model gives the same bytes."""

    def texts(original: Any, *args: Any) -> tuple[str, str]:
        config, metadata = original(*args)
        ids: dict[str, str] = {}  # an object that is shared is known by its address, and now by an ordinal
        config = re.sub(r'(?<="shared_object_id": )\d+', lambda found: ids.setdefault(found[0], str(len(ids))), config)
        return config, re.sub(r'(?<="date_saved": )"[^"]*"', '"1980-01-01@00:00:00"', metadata)

    def write(original: Any, archive: Any, name: Any, data: Any) -> None:
        original(archive, ZipInfo(str(name)), data)  # of 1980

    name = "_serialize_model_as_json"
    with patched(ZipFile, "writestr", write), patched(_saving, name, texts) if hasattr(_saving, name) else nullcontext():
        yield


def calls_of(layer: Any) -> list[tuple[Any, Any]]:
    """The arguments of each symbolic call of a layer: those in order, and those by name."""
    return [(node.arguments.args, node.arguments.kwargs) for node in layer._inbound_nodes]


def inner_layers(layer: Any) -> list[Any]:
    """A layer and all that are within it."""
    return list(layer._flatten_layers()) if getattr(layer, "_flatten_layers", None) else [layer]


def optimized(optimizer: Any) -> set[int] | None:
    """The ids of the variables that an optimizer was made for; None where that cannot be known (yet)."""
    variables = getattr(optimizer, "_trainable_variables", None)
    return {id(variable) for variable in variables} if variables else None


def let_pass(error: Exception) -> None:
    """Have Keras and AutoGraph let an error pass that is raised within a layer's call, in place of their own around it."""
    error._keras_call_info_injected = True  # type: ignore[attr-defined]
    error.ag_pass_through = True  # type: ignore[attr-defined]
