"""From a plan to a truncated model with its values, in the leanest build mode that fits.

1. *Stopped at the cut*: the builder is ended once the nodes that the cut needs have been called. Only where the strategy
   knows them beforehand, and where the names in the weights file tell what belongs to a part of the network.
2. *Lean*: the whole network is drawn without values; only what is kept is given memory, and that straight from the file.
3. *Ordinary*: the network is built as its author wrote it, and a copy of what is kept is filled. It always fits.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cache

import keras
import numpy as np

from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.truncation import Cut
from torso.errors import IntegrityError, OptionError, PluginError, TorsoError
from torso.files.download import progress_to
from torso.graph import FreezeReport, Graph
from torso.model_config.calls import Config
from torso.model_config.input_channels import adapted, image_weights, widen
from torso.modeling import keras_private
from torso.modeling.draw import EAGER, PARTIAL, CannotDrawLean, DrawnModel, draw_eager, draw_lean, name_canonically
from torso.modeling.embed_preprocessing import embed_preprocessing
from torso.modeling.freeze import freeze
from torso.modeling.graph_reader import read_graph
from torso.modeling.load_weights import Match, OtherWidth, match, read_value
from torso.modeling.pooling import pool
from torso.modeling.truncate import Pairs, cut, derive, rebuild, share_layers
from torso.planning import Chosen, Plan, preprocessing_for
from torso.planning.channel_mix import network_mix
from torso.planning.known_graph import known_graph
from torso.planning.selection import nodes_of, outermost, select_cut, select_frozen, static_cut
from torso.plugins import PluginInfo
from torso.plugins.calling import at_location, plugin_errors
from torso.plugins.registry import Registry
from torso.weights_files import StoredWeights, open_weights

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """A truncated model with its values, and how it came to be."""

    model: keras.Model  # functional, from images (N, H, W, C) to features
    graph: Graph  # it knows the levels of the network that was cut
    mode: str  # the build mode
    why: str  # it was not one of those before
    dropped_nodes: int | None  # None where they were not drawn
    dropped_parameters: int
    weights_file: StoredWeights | None  # closed by now
    weights_channels: int  # of the images that the file is for
    transformed_by: tuple[PluginInfo, ...] = ()


def build_model(plan: Plan, progress: Progress) -> BuiltModel:
    """Draw the network, select the cut, truncate and fill; with a seed, twice, as not all that is random heeds one."""
    built = _build(plan, progress)
    again = _build(plan, lambda text: None).model.variables if plan.weights.seed is not None else ()
    for one, other in zip(built.model.variables, again, strict=False):
        if np.asarray(one).tobytes() != np.asarray(other).tobytes():
            fact = f"{one.path!r} has a different value at each build, whatever the seed: what draws it is not Keras' own"
            raise OptionError(fact, place=plan.weights.place, notes=[("fix", "leave the seed out, or name a weights file")])
    return built


def _build(plan: Plan, progress: Progress) -> BuiltModel:
    with ExitStack() as stack:
        # Opened once, when the cut is known to be right, for all modes that are tried.
        weights = cache(lambda: _open_weights(plan, progress, stack)) if plan.weights.source else None
        channels, why = plan.source_channels, ""
        draws: list[Callable[[], DrawnModel]] = [lambda: draw_lean(plan, channels), lambda: draw_eager(plan, channels)]
        until = static_cut(plan)
        if until and weights:
            draws.insert(0, lambda: draw_lean(plan, channels, until=until))
        while True:
            try:
                return truncate_and_fill(draws[0](), plan, weights, progress, channels, why)
            except CannotDrawLean as reason:
                why = str(reason)
                draws.pop(0)
            except OtherWidth as error:
                if plan.adapt is None or channels != plan.source_channels:
                    raise _other_width(error, plan) from error
                channels = error.channels


def transform(built: BuiltModel, plan: Plan, registry: Registry) -> BuiltModel:
    """Let the plugins change the truncated model before it is frozen; embed preprocessing and pooling as planned."""
    keras_private.reserve_names(built.model)
    for plugin, hook in registry.plugins.callers("torso_before_freeze"):
        before = keras_private.name_counts()
        with keras_private.seeded(plan.weights.seed):
            changed = hook(model=built.model, plan=plan)
        if changed is None:
            continue
        with plugin_errors(plugin, "hook 'torso_before_freeze'"):
            found, own = ([one.shape for one in getattr(model, "inputs", None) or ()] for model in (changed, built.model))
            if not isinstance(changed, keras.Model) or found != own:
                raise TypeError(f"it returned {type(changed).__name__} with inputs {found}, not a keras.Model with {own}")
            name_canonically(changed, before)
            graph = read_graph(changed, built.graph.name).knowing(built.graph.levels)
            model = cut(changed, None, plan.name)
        built = replace(built, model=model, graph=graph, transformed_by=(*built.transformed_by, plugin))
    if plan.include_preprocessing:
        model, graph = embed_preprocessing(built.model, built.graph, preprocessing_for(plan, built.weights_channels))
        built = replace(built, model=model, graph=graph)
    if plan.pooling:
        model, graph = pool(built.model, built.graph, plan.pooling)
        built = replace(built, model=model, graph=graph)
    return built


def freeze_as_planned(model: keras.Model, graph: Graph, chosen: Chosen[FreezePolicy]) -> FreezeReport:
    selected = select_frozen(chosen, graph)
    with at_location(chosen.place):
        return freeze(model, graph, selected, repr(chosen.contribution.qualified))


def with_own_names(built: BuiltModel, plan: Plan) -> BuiltModel:
    """The same model, its input named after the backbone, and the prefix before all names: one model may hold two."""
    for op in built.model.operations:
        op.name = plan.prefix + (f"{plan.name}_input" if isinstance(op, keras.layers.InputLayer) else op.name)
    levels = {level: plan.prefix + name for level, name in built.graph.levels.items()}
    return replace(built, graph=read_graph(built.model, built.graph.name).knowing(levels))


def _open_weights(plan: Plan, progress: Progress, stack: ExitStack) -> StoredWeights:
    weights, source = plan.weights, plan.weights.source
    assert source is not None
    progress("getting weights")
    with progress_to(progress):
        path = weights.fetch()
    progress("reading weights")
    hashes = source.value.expected_hashes(weights.request)
    with at_location(weights.place):
        return stack.enter_context(open_weights(path, hashes))


def truncate_and_fill(
    drawn: DrawnModel, plan: Plan, weights: Callable[[], StoredWeights] | None, progress: Progress, channels: int, why: str
) -> BuiltModel:
    """Select the cut of a network that was drawn, and make the model that ends there."""
    ends = _select(drawn, plan)  # before anything is downloaded
    stored = weights() if weights else None
    progress(f"cutting at {', '.join(nodes_of(ends) or drawn.graph.ends)}")
    with plugin_errors(plan.architecture.plugin, f"cutting {plan.architecture.qualified!r}", plan.truncate.place):
        model, pairs = _truncate(drawn, plan, ends, channels)
    with at_location(plan.weights.place):
        options = ", ".join(f"{name} {value}" for name, value in plan.options.items())
        is_part = drawn.mode == PARTIAL
        is_own = is_part and plan.weights.label not in plan.architecture.value.tags
        rest = [node.weights_of.split("/")[0] for node in known_graph(plan) or () if is_own]
        values = match(drawn.model, stored, (model, pairs), is_part=is_part, whole=rest, options=options) if stored else None
        if stored and values is None:
            raise CannotDrawLean("the names in the weights file do not say which arrays belong to the part before the cut")
        _fill(model, pairs, values, plan, channels)
    graph = read_graph(model, drawn.graph.name).knowing(drawn.graph.levels)
    total = drawn.model.count_params()
    if stored and is_part:  # what was not drawn is in the file
        total = sum(math.prod(array.shape) for layer in stored.layers or () for array in layer.arrays)
    return BuiltModel(
        model=model,
        graph=graph,
        mode=drawn.mode,
        why=why,
        dropped_nodes=None if is_part else len(drawn.graph) - len(graph),
        dropped_parameters=total - sum(math.prod(old.shape) for old, _ in pairs),
        weights_file=stored,
        weights_channels=channels,
    )


def _select(drawn: DrawnModel, plan: Plan) -> Cut | None:
    if drawn.mode != PARTIAL:
        return select_cut(plan, drawn.graph) or (drawn.graph.ends[0] if plan.architecture.value.end else None)
    try:
        ends = select_cut(plan, drawn.graph)
    except TorsoError as error:
        raise CannotDrawLean(f"the strategy needs to see the whole network: {error.fact}") from error
    if set(nodes_of(ends)) != set(drawn.graph.ends):
        raise CannotDrawLean("the strategy selected a different node than its static_cut named")
    return ends


def _truncate(drawn: DrawnModel, plan: Plan, ends: Cut | None, channels: int) -> tuple[keras.Model, Pairs]:
    """The truncated model, and each weight of the drawn one that it keeps beside its own."""
    ends = ends and outermost(drawn.graph, ends)
    if drawn.mode != EAGER and plan.adapt is None:
        shared = share_layers(drawn.model, ends, plan.name)
        if shared is not None and not keras_private.has_scopes(shared[0]):
            keras_private.detach(shared[0])
            return shared

    def change(config: Config) -> Config:
        return config if plan.adapt is None else widen(config, network_mix(plan, channels))

    values = nullcontext() if drawn.mode == EAGER else keras_private.without_values()
    with values, keras_private.seeded(plan.weights.seed):
        return rebuild(drawn.model, ends, plan.name, change=change)


def _fill(model: keras.Model, pairs: Pairs, values: Match | None, plan: Plan, channels: int) -> None:
    """Give each weight its value: from the weights file; else from the drawn network; else from the weight's initialiser."""
    mixed = {} if plan.adapt is None else image_weights(model)
    for old, new in pairs:
        if values is not None:
            value = read_value(values.arrays[id(old)], old, values.path)
            if id(new) in mixed:
                value = adapted(value, tuple(new.shape), network_mix(plan, channels), mixed[id(new)])
            keras_private.give_value(new, value)
        elif not keras_private.has_value(old):
            keras_private.draw_value(new, old)
        elif new is not old:
            new.assign(old)
    given = {id(new) for _, new in pairs}
    if left := [weight.path for weight in model.weights if id(weight) not in given]:
        raise PluginError(f"{left[0]!r} is a weight of {plan.architecture.qualified!r} that would be left at random")
    for variable in model.variables:
        if not keras_private.has_value(variable):  # of a random generator
            keras_private.draw_value(variable, variable)
    derive(model)


def _other_width(error: OtherWidth, plan: Plan) -> IntegrityError:
    fact = f"the weights file is for images of {error.channels} channels, not {plan.source_channels}"
    fix = f"write input: {{channels: {error.channels}}}, or adapt its kernels: {{channels: …, adapt: mean}}"
    causes = (note for note in error.error.notes if note[0] == "cause")
    return IntegrityError(fact, place=plan.weights.place, notes=[*causes, ("fix", fix)])
