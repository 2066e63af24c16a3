"""Ask the strategy where to end and the policy what to freeze, and make sure that the network has what they answer."""

from collections.abc import Mapping

from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.truncation import Cut, DeclaredLevels
from torso.errors import CutError, PluginError, TorsoError, collect, did_you_mean
from torso.graph import FreezePlan, Graph, Node, describe
from torso.planning.plan import Chosen, Plan
from torso.plugins.calling import at_location, plugin_errors
from torso.plugins.registry import Registry


def refusals(plan: Plan, graph: Graph, registry: Registry) -> list[TorsoError]:
    """Why a build would refuse the cut or what is to be frozen; ``graph`` is of the whole headless network."""
    errors: list[TorsoError] = []
    part = collect(errors, truncated, plan, graph) or graph  # the whole network has at least what a part of it has
    if not any(registry.plugins.callers("torso_before_freeze")):  # which may add what the policy names
        collect(errors, select_frozen, plan.freeze, part)
    return errors


def has_default_options(plan: Plan) -> bool:
    """Whether the architecture is built as its figures and levels are declared."""
    return all(plan.options[option.name] == option.default for option in plan.architecture.value.options)


def static_cut(plan: Plan) -> tuple[str, ...]:
    """The nodes that the builder is stopped at: those that the strategy knows before it has seen the graph."""
    architecture, strategy = plan.architecture.value, plan.truncate.contribution
    if not architecture.can_stop_early:
        return ()
    with plugin_errors(strategy.plugin, f"truncation strategy {strategy.qualified!r}", plan.truncate.place):
        levels = architecture.levels if has_default_options(plan) else {}
        declared = DeclaredLevels(levels=levels, is_clean=architecture.is_clean)
        names = tuple(strategy.value.static_cut(declared, plan.truncate.options))
        # A call of a shared layer, and what is inside a nested model, are not known by their names while they are drawn.
        return () if any(":" in name or "/" in name for name in names) else names


def truncated(plan: Plan, graph: Graph) -> Graph:
    """The part of the whole headless network that the cut keeps."""
    return graph.kept(*(nodes_of(select_cut(plan, graph)) or graph.ends))


def select_cut(plan: Plan, graph: Graph) -> Cut | None:
    """What the strategy selects, by canonical names of nodes that a backbone can end at; None for the whole network."""
    strategy = plan.truncate.contribution
    with plugin_errors(strategy.plugin, f"truncation strategy {strategy.qualified!r}", plan.truncate.place):
        selected = strategy.value.select(graph, plan.truncate.options)
        if selected == graph.ends:
            return None
        several = dict(selected) if isinstance(selected, Mapping) else {"": selected}
    nodes = [graph[end] for end in several.values() if isinstance(end, str) and end in graph]
    if not several or len(set(nodes)) < len(several) or not all(isinstance(label, str) for label in several):
        fact = f"truncation strategy {strategy.qualified!r} returned {selected!r}, and that is no cut of {graph.name}"
        fix = "return a node name, or a dict {output name: node name}"
        raise PluginError(fact, notes=[("plugin", str(strategy.plugin)), ("fix", fix)])
    with at_location(plan.truncate.place):
        for node in nodes:
            _refuse_end(node, graph)
    names = [node.name for node in nodes]
    return dict(zip(several, names, strict=True)) if isinstance(selected, Mapping) else names[0]


def select_frozen(chosen: Chosen[FreezePolicy], graph: Graph) -> FreezePlan:
    """What the policy selects of a truncated network."""
    policy, owner = chosen.contribution, f"freeze policy {chosen.contribution.qualified!r}"
    with plugin_errors(policy.plugin, owner, chosen.place):
        plan = policy.value.select(graph, chosen.options)
    with at_location(chosen.place):
        if not isinstance(plan, FreezePlan):
            raise PluginError(f"{owner} returned {type(plan).__name__}, not a FreezePlan")
        for names in (plan.weights, plan.norm, plan.adapt):
            if unknown := sorted((name for name in names if name not in graph), key=str):
                fact = f"{owner} selected {unknown[0]!r}, which is not in the truncated model"
                raise PluginError(fact, notes=did_you_mean(str(unknown[0]), [node.name for node in graph]))
        if plan.stochastic not in ("off", "on"):
            raise PluginError(f"{owner} set stochastic to {plan.stochastic!r}, not to 'off' or 'on'")
    return plan


def nodes_of(cut: Cut | None) -> tuple[str, ...]:
    if cut is None:
        return ()
    return (cut,) if isinstance(cut, str) else tuple(cut.values())


def outermost(graph: Graph, cut: Cut) -> Cut:
    """The same cut, where a nested model ends by the name of that model's call: nothing inside it is to be cut off."""
    if isinstance(cut, str):
        return [cut, *graph[cut].alias][-1]
    return {label: [name, *graph[name].alias][-1] for label, name in cut.items()}


def _refuse_end(node: Node, graph: Graph) -> None:
    """Refuse a node that no backbone can end at."""
    if not node.inputs:
        fact = f"a cut at {node.name!r} would leave nothing of {graph.name}: that is its input"
        notes = [("fix", "name a node after it, or write truncate: none")]
    elif node.outputs > 1:
        fact = f"{node.name!r} of {graph.name} has {node.outputs} outputs, and a backbone ends at one"
        notes = [("fix", "end at a node that reads one of them, or write truncate: none to keep what the network gives")]
    elif not node.is_map:
        fact = f"{node.name!r} of {graph.name} is no feature map: it gives {node.channels} values for a whole image"
        around = zip(("clean before", "clean after"), graph.clean_neighbours(node.name), strict=True)
        notes = [(label, f"{clean.name!r}  ({describe(clean)})") for label, clean in around if clean is not None]
    else:
        return
    raise CutError(fact, notes=notes)
