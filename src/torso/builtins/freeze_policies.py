"""The freeze policies of torso: each reads the graph and returns what is frozen."""

from collections.abc import Collection, Iterable
from typing import cast

from torso.builtins.truncations.by_name import matching
from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.hookspecs import hookimpl
from torso.errors import CutError
from torso.graph import FreezePlan, Graph
from torso.specs.options import Option, Options

_doc = "What batch normalisation does where the rest trains: keep statistics, scale and offset, or train as well."
NORM = Option(name="norm", type=str, default="frozen", choices=("frozen", "train"), doc=_doc)
_doc = "Whether dropout and stochastic depth are on where the network trains."
STOCHASTIC = Option(name="stochastic", type=str, default="on", choices=("on", "off"), doc=_doc)
AT = Option(name="at", type=str, doc="C1 to C5, or the name of a node that ends a block: the last that is frozen.")
BLOCKS = Option(name="blocks", type=int, minimum=1, doc="How many blocks train; one without weights is not counted.")
PATTERN = Option(name="pattern", type=str, doc="Sought anywhere in a name; ^ and $ stand for its ends.")
NAMES = Option(name="names", type=str, many=True, doc="Names of the nodes; that of a nested model is for all that it holds.")


@hookimpl
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    doc = "Nothing trains, statistics stay as stored, dropout and stochastic depth are off: the same features always."
    yield FreezePolicy(name="all", doc=doc, select=lambda graph, options: FreezePlan(weights=_names(graph)))
    doc = "Everything trains."
    yield FreezePolicy(name="none", doc=doc, select=lambda graph, options: FreezePlan(stochastic="on"))
    doc = "Everything after a level or the end of a block trains; everything up to it is frozen."
    yield FreezePolicy(name="through", doc=doc, select=through, options=(AT, NORM, STOCHASTIC), positional="at")
    doc = "The last blocks train; everything before them is frozen."
    options = (BLOCKS, NORM, STOCHASTIC)
    yield FreezePolicy(name="all_but_last", doc=doc, select=all_but_last, options=options, positional="blocks")
    doc = "Nodes whose names match a regular expression are frozen; everything else trains."
    yield FreezePolicy(name="match", doc=doc, select=freeze_match, options=(PATTERN,), positional="pattern")
    doc = "The named nodes are frozen; everything else trains."
    yield FreezePolicy(name="layers", doc=doc, select=freeze_layers, options=(NAMES,), positional="names")
    doc = "Normalisation trains, scale, offset and statistics; everything else is frozen."
    yield FreezePolicy(name="all_but_norm", doc=doc, select=all_but_norm)
    doc = "Nothing trains, but the statistics of batch normalisation follow the data in training."
    yield FreezePolicy(name="adapt_norm", doc=doc, select=adapt_norm)


def through(graph: Graph, options: Options) -> FreezePlan:
    end = graph.block_boundary(str(options["at"]))
    return graph.freeze_through(end, norm=str(options["norm"]), stochastic=str(options["stochastic"]))


def all_but_last(graph: Graph, options: Options) -> FreezePlan:
    count, end = cast("int", options["blocks"]), graph.end.name  # what comes after the last block is one, as for pop
    plans = [through(graph, {**options, "at": node.name}) for node in graph.blocks if node.name != end]
    whole = _trained(graph, through(graph, {**options, "at": graph.nodes[0].name}))  # it freezes nothing
    # By how many layers train: a block that adds none to them, as a pooling, is not counted.
    by_size = {_trained(graph, plan): plan for plan in plans}
    counted = [by_size[size] for size in sorted(by_size) if 0 < size < whole]
    if count > len(counted):
        blocks = f"{len(counted) + 1} blocks" if counted else "no more than one block"
        fact = f"all_but_last {count} leaves nothing frozen of {graph.name}, which has {blocks} with weights"
        raise CutError(fact, notes=[("known", f"1 to {len(counted)}" if counted else "none: write freeze: none")])
    return counted[count - 1]


def freeze_match(graph: Graph, options: Options) -> FreezePlan:
    return _exactly(graph, matching(graph, str(options["pattern"])))


def freeze_layers(graph: Graph, options: Options) -> FreezePlan:
    found: set[str] = set()
    for name in cast("tuple[str, ...]", options["names"]):  # of a node, of a nested model, or of a layer with several calls
        held = {one.name for one in graph if any(f"{word}/".startswith(f"{name}/") for word in (one.name, one.weights_of))}
        found |= held or {graph[name].name}
    return _exactly(graph, found)


def all_but_norm(graph: Graph, options: Options) -> FreezePlan:
    # Keras' Normalization has stored statistics and no weights that could train.
    norms = {node.name for node in graph if node.kind.endswith("Normalization") and node.kind != "Normalization"}
    return FreezePlan(weights=_names(graph) - norms)


def adapt_norm(graph: Graph, options: Options) -> FreezePlan:
    batch = frozenset(node.name for node in graph if node.kind == "BatchNormalization")
    return FreezePlan(weights=_names(graph) - batch, adapt=batch)


def _trained(graph: Graph, plan: FreezePlan) -> int:
    """How many layers train."""
    frozen = {graph[name].weights_of for name in plan.weights | plan.norm}
    return len({one.weights_of for one in graph if one.parameters and one.kind != "Normalization"} - frozen)


def _exactly(graph: Graph, names: Collection[str]) -> FreezePlan:
    if not any(graph[name].parameters for name in names):
        fact = f"nothing of {graph.name} would be frozen: {min(map(repr, names), default='no node')} has no weights"
        raise CutError(fact, notes=[("fix", "name nodes with weights, or write freeze: none")])
    return FreezePlan(weights=frozenset(names), stochastic="on")


def _names(graph: Graph) -> frozenset[str]:
    return frozenset(node.name for node in graph)
