"""The headless network as its builder draws it: without values wherever that fits, and no further than is needed."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from torso.errors import OptionError, PluginError, TorsoError
from torso.graph import Graph
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import (
    abandon,
    can_give_values,
    counting_names,
    fresh_names,
    has_value,
    without_values,
    without_weights,
)
from torso.modeling.lean import build_until, quickly
from torso.planning import Plan
from torso.plugins.calling import one_line, plugin_errors


class Unfit(Exception):
    """A network cannot be had in this way; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a builder returned.

    Attributes:
        model: Functional model; headless.
        graph: The model as data, with levels.
        written: Names in it that look as if Keras had given them, and are its author's.
        valueless: Its variables, where they have no memory yet, and those that were made on the way; empty where they have
            values.
        part: It ends at the nodes that were asked for; the rest was not drawn.
    """

    model: keras.Model
    graph: Graph
    written: Collection[str]
    valueless: Collection[Any] = field(default=(), repr=False)
    part: bool = False


def lean_network(plan: Plan, channels: int, *, until: Collection[str] = ()) -> Network:
    """The network without values.

    Args:
        plan: What to build.
        channels: Number of channels of its images.
        until: Names of the nodes behind which nothing is needed; none of them for the whole network.

    Raises:
        Unfit: The builder needs values, makes some itself, returns what it made before, or fails.
    """
    if not can_give_values():
        raise Unfit("this Keras has moved the names by which variables get their memory")
    built: Any = None
    try:
        with without_values() as built, fresh_names():
            network = _run(plan, channels, until)
        _require_fit(network.model, built)
    except (Exception, SystemExit) as error:
        abandon(built.variables if built else ())
        if isinstance(error, (Unfit, OptionError)):
            raise
        fact = error.fact if isinstance(error, TorsoError) else one_line(error)
        raise Unfit(fact) from error
    return Network(
        model=network.model, graph=network.graph, written=network.written, valueless=built.variables, part=network.part
    )


def ordinary_network(plan: Plan, channels: int) -> Network:
    """The network as its builder makes it, with the values that its initialisers draw.

    Raises:
        TorsoError: The builder failed, or returned something else than a model for these images.
    """
    return _run(plan, channels, ())


def headless_graph(plan: Plan) -> Graph:
    """The graph of the whole headless network, read off a model without values wherever its builder allows that.

    Raises:
        TorsoError: The builder failed, or its model has no graph.
    """
    try:
        with quickly():
            network = lean_network(plan, plan.source_channels)
    except Unfit:
        return ordinary_network(plan, plan.source_channels).graph
    abandon(network.valueless)
    return network.graph


def _run(plan: Plan, channels: int, until: Collection[str]) -> Network:
    card, plugin = plan.architecture.value, plan.architecture.plugin
    if keras.config.image_data_format() != "channels_last":
        raise OptionError(
            "Keras is set to channels_first, and torso builds for images (N, H, W, C)",
            notes=[("fix", "call keras.config.set_image_data_format('channels_last')")],
        )
    if not tf.executing_eagerly():
        raise OptionError(
            "a backbone cannot be built inside a tf.function or a graph: it would have no values of its own",
            notes=[("fix", "build it outside, and call its model inside")],
        )
    shape = (*plan.input_shape[:2], channels)
    with plugin_errors(plugin, f"the builder of {plan.architecture.qualified!r}"):
        module, _, function = card.builder.partition(":")
        builder = getattr(importlib.import_module(module), function)
        with without_weights(), counting_names() as is_numbered:
            model, part = build_until(until, lambda: builder(input_shape=shape, **plan.arguments))
            if part and model is None:
                raise Unfit("the part in front of the cut has several inputs")
            if isinstance(model, keras.Model):
                written = {layer.name for layer in _layers(model) if not is_numbered(layer)}
    _require_model(model, shape, plan)
    with plugin_errors(plugin, f"reading the graph of {plan.architecture.qualified!r}"):
        as_declared = all(plan.options[option.name] == option.default for option in card.options)
        graph = read_graph(model, card.name, keep=written).with_levels(card.levels, as_declared=as_declared)
    return Network(model=model, graph=graph, written=written, part=part)


def _require_model(model: Any, shape: tuple[int | None, ...], plan: Plan) -> None:
    plugin = ("plugin", str(plan.architecture.plugin))
    if not isinstance(model, keras.Model):
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned {type(model).__name__}, not a keras.Model",
            notes=[plugin],
        )
    shapes = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) > 1:
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned a model with {len(shapes)} inputs, and a backbone "
            "takes one batch of images",
            notes=[plugin, ("fix", "let it return the part that reads the images, with that one input")],
        )
    if shapes and shapes != [shape]:
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned a model for images {shapes}, not {[shape]}",
            notes=[plugin, ("fix", "let it take its input_shape")],
        )


def _require_fit(model: keras.Model, built: Any) -> None:
    """Make sure that nothing in the model has a value, or was computed from what its variables had in place of one."""
    if built.assigned:
        raise Unfit("the builder gives values to its weights itself")
    made = {id(variable) for variable in built.variables}
    for variable in model.variables:
        if has_value(variable) or id(variable) not in made:
            raise Unfit(f"the builder returns {variable.path!r}, which it made before")
    for layer in _layers(model):
        derived = None if type(layer).__module__.startswith("keras.") else _derived(vars(layer).items())
        if derived is not None:
            raise Unfit(f"layer {layer.name!r} keeps {derived!r}, which it computed when it was made")


def _derived(attributes: Iterable[tuple[str, Any]]) -> str | None:
    """The first attribute that holds numbers of its own."""
    for name, value in attributes:
        is_tensor = keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)
        if is_tensor or isinstance(value, np.ndarray):
            return name
    return None


def _layers(model: keras.Model) -> Iterator[Any]:
    for layer in getattr(model, "operations", None) or model.layers:  # a Sequential has no operations
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
