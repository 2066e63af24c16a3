"""From a plan to a finished trunk: grown to the cut, transformed by the plugins, frozen."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from torso.errors import PluginError
from torso.graph import Feature, FreezePlan, Graph
from torso.modeling.build import Grown, Progress, grow
from torso.modeling.embed_preprocessing import bake
from torso.modeling.freeze import FreezeReport, freeze
from torso.modeling.graph_reader import features_of, read_graph
from torso.modeling.keras_private import reserve_names
from torso.modeling.truncate import cut
from torso.planning import Plan, preprocessing_for
from torso.plugins import PluginInfo
from torso.plugins.calling import at_location, plugin_errors
from torso.plugins.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A cut and frozen model, and what was done to make it.

    Attributes:
        model: Functional model from images ``(N, H, W, C)`` to features.
        graph: The trunk as data.
        features: What its outputs are.
        frozen: What does not train.
        grown: How it was built, and what was left out.
        transformed_by: The plugins that changed it before the freeze.
    """

    model: keras.Model
    graph: Graph
    features: tuple[Feature, ...]
    frozen: FreezeReport
    grown: Grown
    transformed_by: tuple[PluginInfo, ...] = ()


def build_trunk(plan: Plan, registry: Registry, *, progress: Progress = lambda step: None) -> Trunk:
    """Carry out a plan.

    Args:
        plan: What to build.
        registry: Where the plugins are.
        progress: Told what is being done, a few words a step.

    Raises:
        TorsoError: The weights cannot be had, the cut is not in the graph, or a plugin failed.
    """
    progress(f"building {plan.architecture.value.name}")
    grown = grow(plan, progress)
    reserve_names(grown.model)
    trunk, kept, transformed_by = _before_freeze(grown.model, grown.graph, plan, registry)
    if plan.include_preprocessing:
        trunk, kept = bake(trunk, kept, preprocessing_for(plan, grown.weights_channels))
    progress("freezing")
    policy = plan.freeze.contribution
    with plugin_errors(policy.plugin, f"freeze policy {policy.qualified!r}", plan.freeze.place):
        selected = policy.value.select(kept, plan.freeze.options)
    if not isinstance(selected, FreezePlan):
        raise PluginError(f"freeze policy {policy.qualified!r} returned {type(selected).__name__}, not a FreezePlan")
    with at_location(plan.freeze.place):
        frozen = freeze(trunk, kept, selected, repr(policy.qualified))
    return Trunk(
        model=trunk,
        graph=kept,
        features=features_of(trunk, kept),
        frozen=frozen,
        grown=grown,
        transformed_by=transformed_by,
    )


def _before_freeze(
    trunk: keras.Model, graph: Graph, plan: Plan, registry: Registry
) -> tuple[keras.Model, Graph, tuple[PluginInfo, ...]]:
    """Let the plugins transform the trunk, each what the one before it made; says which did."""
    did: list[PluginInfo] = []
    for plugin, transform in registry.plugins.callers("torso_before_freeze"):
        changed = transform(model=trunk, plan=plan)
        if changed is None:
            continue
        if not isinstance(changed, keras.Model):
            raise PluginError(
                f"torso_before_freeze returned {type(changed).__name__}, not a keras.Model or None",
                notes=[("plugin", str(plugin))],
            )
        did.append(plugin)
        names = [node.name for node in graph]
        graph = read_graph(changed, graph.name, keep=names).knowing(graph.levels)
        trunk = cut(changed, None, plan.name, keep=names)
    return trunk, graph, tuple(did)
