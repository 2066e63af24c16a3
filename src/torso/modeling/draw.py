"""Draw the headless network as its builder makes it: without values where that fits, and no further than is needed."""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import zip_longest
from pkgutil import resolve_name
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from torso.errors import OptionError, PluginError, TorsoError, did_you_mean
from torso.graph import Graph, describe
from torso.model_config.layer_names import canonical_names
from torso.modeling import keras_private
from torso.modeling.custom_layers import require_copies
from torso.modeling.functional import functional
from torso.modeling.graph_reader import read_graph
from torso.modeling.threads import patched
from torso.planning import Plan
from torso.planning.selection import has_default_options
from torso.plugins.calling import one_line, plugin_errors

PARTIAL: Final = "stopped at the cut"  # the words of the manifest
LEAN: Final = "lean"
EAGER: Final = "ordinary"
BRINGS_VALUES: Final = "the builder sets the values of its weights itself"


class CannotDrawLean(Exception):
    """A network cannot be built in this mode. The text says why, and is ``built.why`` of the manifest."""


@dataclass(frozen=True, kw_only=True)
class DrawnModel:
    """What a builder returned."""

    model: keras.Model  # functional and headless, with canonical names
    graph: Graph  # with levels
    mode: str  # PARTIAL: it ends at the nodes that were asked for, and the rest was not drawn; LEAN or EAGER


def draw_lean(plan: Plan, channels: int, *, until: Collection[str] = ()) -> DrawnModel:
    """The network without values; no further than the nodes ``until`` where there are any. Raises CannotDrawLean."""
    if keras.config.image_data_format() != "channels_last":
        fact = "Keras is set to channels_first, and torso builds for images (N, H, W, C)"
        raise OptionError(fact, notes=[("fix", "call keras.config.set_image_data_format('channels_last')")])
    if not tf.executing_eagerly():
        fact = "a backbone cannot be built inside a tf.function or a graph: it would have no values of its own"
        raise OptionError(fact, notes=[("fix", "build it outside, and call its model inside")])
    if not keras_private.can_draw_lean():
        raise CannotDrawLean("this release of Keras lacks private names that a build without values needs")

    def draw() -> tuple[Any, bool, bool]:
        with keras_private.without_values() as scope, keras_private.without_weights() as requests:
            drawn = _run_builder(plan, channels, until)
            loads = not plan.weights.source and any("origin" not in request for request in requests)
            return *drawn, loads or bool(scope.state_mapping)

    try:
        model, partial, assigned = keras_private.in_fresh_thread(draw)
        graph = again = _graph_of(model, plan, channels, whole=not partial)
        if plan.architecture.plugin.origin != "built-in":
            again = _graph_of(keras_private.in_fresh_thread(draw)[0], plan, channels, whole=not partial)
    except (CannotDrawLean, OptionError):
        raise
    except (Exception, SystemExit) as error:
        raise CannotDrawLean(error.fact if isinstance(error, TorsoError) else one_line(error)) from error
    for name, other in zip_longest(*([node.name for node in one] for one in (graph, again))):
        if name != other:
            what = f"made {name!r}, and in a second call {other!r}"
            raise _fault(plan, what, "let it make the same names in each call")
    _require_lean(model, assigned)
    if old := [variable.path for variable in model.variables if keras_private.has_value(variable)]:
        what = f"returned {old[0]!r}, which an earlier call of it had made"
        raise _fault(plan, what, "let it make new layers in each call")
    require_copies(model, plan)
    return DrawnModel(model=model, graph=graph, mode=PARTIAL if partial else LEAN)


def _fault(plan: Plan, what: str, fix: str) -> PluginError:
    notes = [("plugin", str(plan.architecture.plugin)), ("fix", fix)]
    return PluginError(f"the builder of {plan.architecture.qualified!r} {what}", notes=notes)


def draw_eager(plan: Plan, channels: int) -> DrawnModel:
    """The network as its builder makes it, with the values that its initialisers draw, or that it brings itself."""

    def draw() -> tuple[Any, bool]:
        with keras_private.without_weights(but_own=bool(plan.name and not plan.weights.source)):
            return _run_builder(plan, channels, ())

    model, _ = keras_private.in_fresh_thread(draw)
    graph = _graph_of(model, plan, channels)
    require_copies(model, plan)
    return DrawnModel(model=model, graph=graph, mode=EAGER)


def headless_graph(plan: Plan) -> Graph:
    plan = replace(plan, name="")  # of no backbone: the builder loads no files
    try:
        return draw_lean(plan, plan.source_channels).graph
    except CannotDrawLean:
        return draw_eager(plan, plan.source_channels).graph


def _run_builder(plan: Plan, channels: int, until: Collection[str]) -> tuple[Any, bool]:
    """What the builder returns, with canonical names, and whether it is only the part up to some nodes."""
    architecture = plan.architecture.value
    with plugin_errors(plan.architecture.plugin, f"the builder of {plan.architecture.qualified!r}"):
        given = architecture.builder
        builder: Any = resolve_name(given) if isinstance(given, str) else given
        arguments = {"input_shape": (*plan.input_shape[:2], channels), **plan.arguments}
        place = nullcontext() if plan.weights.seed is None else keras.device("cpu:0")  # GPUs round differently
        with keras_private.seeded(plan.weights.seed), place:
            model, partial = stopped_at(until, lambda: builder(**arguments)) if until else (builder(**arguments), False)
        is_renamed = name_canonically(model, {})
    if partial and is_renamed:  # what is not drawn may have a number too
        raise CannotDrawLean("Keras numbers some of the layers, and layers after the cut may change the numbers")
    return model, partial


def name_canonically(model: Any, before: Mapping[str, int]) -> bool:
    """Count names that Keras has numbered since ``before`` from zero in each model; whether a name of ``model`` changed."""
    if not isinstance(model, keras.Model):
        return False
    counts = keras_private.name_counts()

    def is_numbered(name: str) -> bool:
        match = re.fullmatch(r"(.+?)(?:_([1-9][0-9]*))?", name, re.DOTALL)
        stem, number = match.groups() if match else (name, 0)
        return before.get(stem, 0) <= int(number or 0) < counts.get(stem, 0)

    ops = _operations(model)
    written = [op.name for op in ops if not is_numbered(op.name)]
    names = canonical_names(((op.name, type(op).__name__) for op in ops), keep=written)
    is_renamed = False
    for op in ops:
        is_renamed |= op.name != names[op.name]
        op.name = names[op.name]
        name_canonically(op, before)
    return is_renamed


def _operations(model: keras.Model) -> list[Any]:
    if isinstance(model, keras.Sequential):  # its input layer is known to its graph alone
        return list(functional(model, model.name).operations) if model.built else list(model.layers)
    return list(getattr(model, "operations", model.layers))


def _graph_of(model: Any, plan: Plan, channels: int, *, whole: bool = True) -> Graph:
    """Check that a builder returned a model for these images, and read the graph of what comes before its head."""
    architecture, plugin = plan.architecture.value, plan.architecture.plugin
    shape = (*plan.input_shape[:2], channels)
    shapes = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    is_model = isinstance(model, keras.Model)
    if not is_model or shapes not in ([], [shape]):
        returned = f"a model with the inputs {shapes}, not {[shape]}" if is_model else f"{type(model).__name__}, no model"
        raise _fault(plan, f"returned {returned}", "let it return a keras.Model with one input, of its input_shape")
    with plugin_errors(plugin, f"reading the graph of {plan.architecture.qualified!r}"):
        graph = read_graph(model, architecture.name)
        graph = _headless(graph, plan) if whole else graph
        return graph.with_levels(architecture.levels, as_declared=has_default_options(plan), whole=whole)


def _headless(graph: Graph, plan: Plan) -> Graph:
    """The graph up to the end that the architecture declares; refused where that is no feature map."""
    network, end = plan.architecture.qualified, plan.architecture.value.end
    if end and end not in graph:
        notes = did_you_mean(end, [node.name for node in graph])
        raise PluginError(f"{network!r} declares its end {end!r}, which is not in its network", notes=notes)
    graph = graph.kept(end) if end else graph
    for vector in (graph[name] for name in graph.ends if not graph[name].is_map):
        fact = f"{network!r} has a head: it ends at {vector.name!r}, which gives {vector.channels} values for a whole image"
        maps = [("last feature map", f"{node.name!r}  ({describe(node)})") for node in graph.clean_cuts[-1:]]
        fix = "let the builder leave the head off, or name the last feature map as Architecture(end=…)"
        raise PluginError(fact, notes=[*maps, ("fix", fix)])
    return graph


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
        # Bare ops have no __call__ of their own.
        with patched(keras.Layer, "__call__", call), patched(keras.Operation, "symbolic_call", call):
            return build(), False
    except _Reached:
        pass
    outputs = list(ends.values())
    read = {key: tensor for output in outputs for key, tensor in inputs_of[id(output)][1].items()}
    return keras.Model(*read.values(), outputs if len(outputs) > 1 else outputs[0]), True


def _require_lean(model: keras.Model, assigned: bool) -> None:
    """Make sure that nothing in the model was given a value, or computed from what its variables had in place of one."""
    if assigned:
        raise CannotDrawLean(BRINGS_VALUES)
    for layer in (*keras_private.inner_layers(model), *_operations(model)):
        for name, value in vars(layer).items() if not type(layer).__module__.startswith("keras.") else ():
            is_tensor = keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)
            if is_tensor or isinstance(value, np.ndarray):
                raise CannotDrawLean(f"layer {layer.name!r} stores {name!r}, an array that it computed when it was created")
