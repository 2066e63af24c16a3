"""From a plan to a finished trunk: build, fill, cut, transform, freeze, in this order and with nothing random left over."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras

from torso.errors import CutError, OptionError, Place, PluginError, TorsoError
from torso.freezing import FreezePlan
from torso.graph import Feature, Graph, Node, clean_around, describe
from torso.keras_bridge.freeze import FreezeReport, freeze
from torso.keras_bridge.loading import fill
from torso.keras_bridge.private import counting_names, without_values, without_weights
from torso.keras_bridge.reading import features_of, read_graph
from torso.keras_bridge.surgery import cut
from torso.planning import Plan
from torso.plugins import PluginInfo
from torso.registry import Registry
from torso.truncation import Cut

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A cut and frozen model, and what was done to make it.

    Attributes:
        model: Functional model from images ``(N, H, W, C)`` to features.
        graph: The trunk as data.
        features: What its outputs are.
        frozen: What does not train.
        dropped_nodes: How many nodes of the headless network the cut left out.
        dropped_parameters: How many parameters they had.
        weights_file: The local file that the values were read from, or None.
    """

    model: keras.Model
    graph: Graph
    features: tuple[Feature, ...]
    frozen: FreezeReport
    dropped_nodes: int
    dropped_parameters: int
    weights_file: str | None


def build_trunk(plan: Plan, registry: Registry, *, progress: Progress = lambda step: None) -> Trunk:
    """Carry out a plan.

    Args:
        plan: What to build.
        registry: Where the plugins are.
        progress: Told what is being done, a few words a step.

    Raises:
        TorsoError: The weights cannot be had, the cut is not in the graph, or a plugin failed.
    """
    card = plan.architecture.value
    progress(f"building {card.name}")
    full, written = _build(plan)
    graph = _read(full, written, plan)
    ends = select_cut(plan, graph)  # before anything is downloaded
    path = None
    if plan.weights.source is not None:
        progress("getting weights")
        source = plan.weights.source
        with _blame(source.plugin, f"weight source {source.qualified!r}", plan.weights.place):
            path = source.value.fetch(plan.weights.request)
        progress("reading weights")
        with _placed(plan.weights.place):
            fill(full, path)
    progress(f"cutting at {', '.join(_nodes_of(ends) or graph.ends)}")
    with _blame(plan.architecture.plugin, f"cutting {plan.architecture.qualified!r}", plan.truncate.place):
        trunk = cut(full, ends and _calls(graph, ends), plan.name, keep=written)
    dropped = full.count_params() - trunk.count_params()
    del full
    kept = read_graph(trunk, card.name, keep=[node.name for node in graph]).knowing(graph.levels)
    dropped_nodes = len(graph) - len(kept)
    trunk, kept = _before_freeze(trunk, kept, plan, registry)
    progress("freezing")
    policy = plan.freeze.contribution
    with _blame(policy.plugin, f"freeze policy {policy.qualified!r}", plan.freeze.place):
        selected = policy.value.select(kept, plan.freeze.options)
    if not isinstance(selected, FreezePlan):
        raise PluginError(f"freeze policy {policy.qualified!r} returned {type(selected).__name__}, not a FreezePlan")
    with _placed(plan.freeze.place):
        frozen = freeze(trunk, kept, selected, repr(policy.qualified))
    return Trunk(
        model=trunk,
        graph=kept,
        features=features_of(trunk, kept),
        frozen=frozen,
        dropped_nodes=dropped_nodes,
        dropped_parameters=dropped,
        weights_file=str(path) if path else None,
    )


def headless_graph(plan: Plan) -> Graph:
    """The graph of the whole headless network, read off a model without values wherever its builder allows that.

    Raises:
        TorsoError: The builder failed, or its model has no graph.
    """
    with suppress(Exception), without_values() as lean:  # as a builder may want to compute with its values
        if lean:
            return _read(*_build(plan), plan)
    return _read(*_build(plan), plan)


def _read(full: keras.Model, written: Collection[str], plan: Plan) -> Graph:
    card = plan.architecture.value
    with _blame(plan.architecture.plugin, f"reading the graph of {plan.architecture.qualified!r}"):
        as_declared = all(plan.options[option.name] == option.default for option in card.options)
        return read_graph(full, card.name, keep=written).with_levels(card.levels, as_declared=as_declared)


def _build(plan: Plan) -> tuple[keras.Model, Collection[str]]:
    """The headless model, and the names in it that look like Keras' own numbering and are its author's."""
    card, plugin = plan.architecture.value, plan.architecture.plugin
    if keras.config.image_data_format() != "channels_last":
        raise OptionError(
            "Keras is set to channels_first, and torso builds for images (N, H, W, C)",
            notes=[("fix", "call keras.config.set_image_data_format('channels_last')")],
        )
    with _blame(plugin, f"the builder of {plan.architecture.qualified!r}"):
        module, _, function = card.builder.partition(":")
        builder = getattr(importlib.import_module(module), function)
        with without_weights(), counting_names() as is_numbered:
            model = builder(input_shape=plan.input_shape, **plan.arguments)
    if not isinstance(model, keras.Model):
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned {type(model).__name__}, not a keras.Model",
            notes=[("plugin", str(plugin))],
        )
    shapes = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or ()]
    if len(shapes) > 1:
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned a model with {len(shapes)} inputs, and a backbone "
            "takes one batch of images",
            notes=[("plugin", str(plugin)), ("fix", "let it return the part that reads the images, with that one input")],
        )
    if shapes and shapes != [plan.input_shape]:
        raise PluginError(
            f"the builder of {plan.architecture.qualified!r} returned a model for images {shapes}, not {[plan.input_shape]}",
            notes=[("plugin", str(plugin)), ("fix", "let it take its input_shape")],
        )
    return model, {layer.name for layer in _layers(model) if not is_numbered(layer)}


def _layers(model: keras.Model) -> Iterator[Any]:
    for layer in getattr(model, "operations", None) or model.layers:  # a Sequential has no operations
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def select_cut(plan: Plan, graph: Graph) -> Cut | None:
    """What the strategy selects, with every name canonical and every node one that a backbone can end at.

    Returns:
        The cut, or None where the whole network is kept.
    """
    strategy = plan.truncate.contribution
    with _blame(strategy.plugin, f"truncation strategy {strategy.qualified!r}", plan.truncate.place):
        selected = strategy.value.select(graph, plan.truncate.options)
    if selected == graph.ends:
        return None
    several = dict(selected) if isinstance(selected, Mapping) else {"": selected}
    known = [graph[end] for end in several.values() if isinstance(end, str) and end in graph]
    if not several or len(set(known)) < len(several):
        raise PluginError(
            f"truncation strategy {strategy.qualified!r} returned {selected!r}, and that is no cut of {graph.name}",
            notes=[("plugin", str(strategy.plugin)), ("fix", "return one node's name, or different ones by their labels")],
        )
    with _placed(plan.truncate.place):
        for node in known:
            _refuse_end(node, graph)
    names = [node.name for node in known]
    return dict(zip(several, names, strict=True)) if isinstance(selected, Mapping) else names[0]


def _nodes_of(ends: Cut | None) -> tuple[str, ...]:
    if ends is None:
        return ()
    return (ends,) if isinstance(ends, str) else tuple(ends.values())


def _calls(graph: Graph, ends: Cut) -> Cut:
    """The same cut, where a nested model ends by the name of that model's call: nothing inside it is to be cut off."""

    def outermost(name: str) -> str:
        return [name, *graph[name].alias][-1]

    return outermost(ends) if isinstance(ends, str) else {label: outermost(name) for label, name in ends.items()}


def _refuse_end(node: Node, graph: Graph) -> None:
    """Refuse a node that no backbone can end at; the network's own ends are its provider's business."""
    if not node.inputs:
        raise CutError(
            f"a cut at {node.name!r} would leave nothing of {graph.name}: that is its input",
            notes=[("fix", "name a node behind it, or write truncate: none")],
        )
    if node.outputs > 1:
        raise CutError(
            f"{node.name!r} of {graph.name} has {node.outputs} outputs, and a backbone ends at one",
            notes=[("fix", "end at a node that reads one of them, or write truncate: none to keep what the network gives")],
        )
    if len(node.shape) < 2 and node.name not in graph.ends:
        around = zip(("clean before", "clean after"), clean_around(graph, node.name), strict=True)
        raise CutError(
            f"{node.name!r} of {graph.name} is no map of cells any more: it gives {node.channels} values for a whole image",
            notes=[(label, f"{clean.name!r}  ({describe(clean)})") for label, clean in around if clean is not None],
        )


def _before_freeze(trunk: keras.Model, graph: Graph, plan: Plan, registry: Registry) -> tuple[keras.Model, Graph]:
    """Let the plugins transform the trunk, each what the one before it made."""
    for plugin, transform in registry.plugins.callers("torso_before_freeze"):
        changed = transform(model=trunk, plan=plan)
        if changed is None:
            continue
        if not isinstance(changed, keras.Model):
            raise PluginError(
                f"torso_before_freeze returned {type(changed).__name__}, not a keras.Model or None",
                notes=[("plugin", str(plugin))],
            )
        names = [node.name for node in graph]
        graph = read_graph(changed, graph.name, keep=names).knowing(graph.levels)
        trunk = cut(changed, None, plan.name, keep=names)
    return trunk, graph


@contextmanager
def _placed(place: Place | None) -> Iterator[None]:
    """Give torso's own errors the place of the words that led to them."""
    try:
        yield
    except TorsoError as error:
        error.at(place)
        raise


@contextmanager
def _blame(plugin: PluginInfo, what: str, place: Place | None = None) -> Iterator[None]:
    """Turn whatever a plugin's code raises into an error that names the plugin; torso's own errors get the place."""
    try:
        with _placed(place):
            yield
    except TorsoError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what} failed: {_one_line(error)}", notes=[("plugin", str(plugin)), ("see", "--debug for its traceback")]
        ) from error


def _one_line(error: BaseException) -> str:
    text: Any = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
