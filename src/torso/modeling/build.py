"""From a plan to a trunk with its values, in the leanest of three ways that fits.

1. *Stopped at the cut*: the builder is ended once the nodes that the cut needs have been called. Only where the strategy
   knows them beforehand, and where the names in the weights file tell what belongs to a part of the network.
2. *Lean*: the whole network is drawn without values; only what is kept is given memory, and that straight from the file.
3. *Ordinary*: the network is built as its author wrote it, and a copy of what is kept is filled. This one always fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import keras

from torso.contracts.truncation import Cut
from torso.errors import IntegrityError, PluginError, TorsoError
from torso.graph import Graph
from torso.model_config.calls import Config
from torso.model_config.input_channels import adapted, image_weights, widen
from torso.modeling.draw import Network, Unfit, lean_network, ordinary_network
from torso.modeling.freeze import as_built
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import (
    abandon,
    can_detach,
    can_tell_places,
    detach,
    draw_value,
    has_value,
    leave_scopes,
    without_values,
)
from torso.modeling.lean import quickly
from torso.modeling.load_weights import Match, OtherWidth, match, match_by_name, put, read_value
from torso.modeling.resolve_cut import foreseen, nodes_of, outermost, select_cut
from torso.modeling.truncate import derive, regrown, shared
from torso.planning import Plan
from torso.planning.channel_mix import network_mix
from torso.plugins.calling import at_location, plugin_errors
from torso.weights_files import StoredWeights, open_weights

Progress = Callable[[str], None]
STOPPED: Final = "stopped at the cut"
LEAN: Final = "lean"
ORDINARY: Final = "ordinary"


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A trunk with its values, not yet frozen.

    Attributes:
        model: Functional model from images to features.
        graph: The trunk as data; it knows the levels of the network that it was cut from.
        way: ``stopped at the cut``, ``lean`` or ``ordinary``.
        why: Why it was not one of those before.
        dropped_nodes: How many nodes of the network were cut off; None where they were not drawn.
        dropped_parameters: How many parameters they had.
        weights_file: The file that the values are from, closed by now, or None.
        weights_channels: The number of channels of the images that the file is for.
    """

    model: keras.Model
    graph: Graph
    way: str
    why: str
    dropped_nodes: int | None
    dropped_parameters: int
    weights_file: StoredWeights | None
    weights_channels: int


class _Source:
    """The weights file of a plan, fetched and opened when it is first asked for; no file for random values."""

    def __init__(self, plan: Plan, progress: Progress, stack: ExitStack) -> None:
        self._plan = plan
        self._progress = progress
        self._stack = stack
        self._opened: StoredWeights | None = None

    @property
    def is_none(self) -> bool:
        return self._plan.weights.source is None

    def open(self) -> StoredWeights:
        if self._opened is None:
            weights = self._plan.weights
            assert weights.source is not None
            self._progress("getting weights")
            with plugin_errors(weights.source.plugin, f"weight source {weights.source.qualified!r}", weights.place):
                path = weights.source.value.fetch(weights.request)
            self._progress("reading weights")
            hashes = weights.source.value.expected_hashes(weights.request)
            with at_location(weights.place):
                self._opened = self._stack.enter_context(open_weights(path, hashes))
        return self._opened


def grow(plan: Plan, progress: Progress) -> Grown:
    """Build, cut and fill.

    Raises:
        TorsoError: The builder failed, the weights cannot be had or are not its own, or the cut is not in the graph.
    """
    with ExitStack() as stack:
        source = _Source(plan, progress, stack)
        channels = plan.source_channels
        why = ""
        ways: list[tuple[str, Callable[[], Network]]] = [
            (LEAN, lambda: lean_network(plan, channels)),
            (ORDINARY, lambda: ordinary_network(plan, channels)),
        ]
        until = foreseen(plan)
        if until and not source.is_none:
            ways.insert(0, (STOPPED, lambda: lean_network(plan, channels, until=until)))
        while True:
            way, build = ways[0]
            try:
                with quickly():
                    network = build()
                return _grow(network, plan, source, progress, way=way, why=why, channels=channels)
            except Unfit as reason:
                why = str(reason)
                ways.pop(0)
            except OtherWidth as error:
                if plan.adapt is None or channels != plan.source_channels:
                    raise _other_width(error, plan) from error
                channels = error.channels


def _grow(network: Network, plan: Plan, source: _Source, progress: Progress, *, way: str, why: str, channels: int) -> Grown:
    with _abandoned(network.valueless):
        graph = network.graph
        ends = _ends(plan, network)  # before anything is downloaded
        matched = None
        if not source.is_none:
            with at_location(plan.weights.place):
                matched = _match(network, source.open())
        progress(f"cutting at {', '.join(nodes_of(ends) or graph.ends)}")
        with quickly():
            with plugin_errors(plan.architecture.plugin, f"cutting {plan.architecture.qualified!r}", plan.truncate.place):
                trunk, pairs = _trunk(network, plan, ends, channels)
            with at_location(plan.weights.place):
                _give_values(trunk, pairs, matched, plan, channels)
            kept = _kept(trunk, graph, nodes_of(ends) or graph.ends)
    total = _whole(plan, source.open()) if network.part else network.model.count_params()
    return Grown(
        model=trunk,
        graph=kept,
        way=LEAN if way == STOPPED and not network.part else way,  # it may be needed to its very end
        why=why,
        dropped_nodes=None if network.part else len(graph) - len(kept),
        dropped_parameters=total - sum(math.prod(old.shape) for old, _ in pairs),
        weights_file=source.open() if matched else None,
        weights_channels=channels,
    )


def _ends(plan: Plan, network: Network) -> Cut | None:
    if not network.part:
        return select_cut(plan, network.graph)
    try:
        ends = select_cut(plan, network.graph)
    except TorsoError as error:
        raise Unfit(f"the strategy needs to see the whole network: {error.fact}") from error
    if set(nodes_of(ends)) != set(network.graph.ends):
        raise Unfit("the strategy ends elsewhere than it foresaw")
    return ends


def _whole(plan: Plan, stored: StoredWeights) -> int:
    """Number of parameters of the whole network, of which a part was drawn: the card says it, or else the file."""
    card = plan.architecture.value
    as_told = all(plan.options[option.name] == option.default for option in card.options)
    if card.parameters is not None and as_told and plan.source_channels == card.input.weights_channels:
        return card.parameters
    return sum(math.prod(array.shape) for layer in stored.layers or () for array in layer.arrays)


def _kept(trunk: keras.Model, graph: Graph, ends: Sequence[str]) -> Graph:
    """The trunk as data: what is known of its nodes already, in the order in which it would be read off the trunk."""
    part, names = graph.kept(*ends), [op.name for op in trunk.operations]
    is_told = {node.name for node in part} == set(names) and all(node.outputs == 1 for node in part)
    if is_told and part.nodes[0].shape == tuple(trunk.inputs[0].shape[1:]):  # not for other channels
        return part.in_order(names)
    return read_graph(trunk, graph.name, keep=[node.name for node in graph]).knowing(graph.levels)


def _match(network: Network, stored: StoredWeights) -> Match:
    if not network.part:
        if stored.layers is None and network.valueless and not can_tell_places():
            raise Unfit("this Keras has moved the names that tell where in such a file the values of a network are")
        return match(network.model, stored)
    found = match_by_name(network.model, stored)
    if found is None:
        raise Unfit("the weights file does not tell by names which of its arrays belong to a part of the network")
    return found


def _other_width(error: OtherWidth, plan: Plan) -> TorsoError:
    """The file is for other images than the plan is, and no adapter is asked for, or none that could help."""
    fixes = [("fix", f"write input: {{channels: {error.channels}}}")]
    if plan.adapt is None:
        fixes.append(("fix", "or say how its channels become those of the images, as input: {channels: …, adapt: mean}"))
    return IntegrityError(
        f"the weights file is for images of {error.channels} channels, not {plan.source_channels}",
        place=plan.weights.place,
        notes=[*(note for note in error.error.notes if note[0] == "cause"), *fixes],
    )


def _trunk(network: Network, plan: Plan, ends: Cut | None, channels: int) -> tuple[keras.Model, list[tuple[Any, Any]]]:
    """The trunk, and each weight of the network that it has beside its own."""
    cut = ends and outermost(network.graph, ends)
    if network.valueless and plan.adapt is None and can_detach():
        trunk = shared(network.model, cut, plan.name, keep=network.written)
        if trunk is not None and leave_scopes(trunk):
            detach(trunk)
            return trunk, [(weight, weight) for weight in trunk.weights]

    def change(config: Config) -> Config:
        return config if plan.adapt is None else widen(config, channels, plan.input_shape[2], network_mix(plan, channels))

    with as_built(network.model), without_values() if network.valueless else nullcontext():
        return regrown(network.model, cut, plan.name, keep=network.written, change=change)


def _give_values(
    trunk: keras.Model,
    pairs: list[tuple[Any, Any]],
    matched: Match | None,
    plan: Plan,
    channels: int,
) -> None:
    """Values from the file; without one, those of the network, or where it has none, those that the initialisers draw.

    Raises:
        IntegrityError: A value in the file is not one that could be meant.
        PluginError: A variable is left without one.
    """
    mixed = {} if plan.adapt is None else image_weights(trunk)
    for old, new in pairs:
        if matched is not None:
            value = read_value(matched.of(old), old, matched.path)
            if id(new) in mixed:
                mix = network_mix(plan, channels)
                value = adapted(value, tuple(new.shape), channels, plan.input_shape[2], mix, mixed[id(new)])
            put(new, value, new.path)
        elif has_value(old) and new is not old:
            new.assign(old)
    given = {id(new) for _, new in pairs}
    left = [weight.path for weight in trunk.weights if id(weight) not in given]
    if left:
        raise PluginError(f"{left[0]!r} is a weight of {plan.architecture.qualified!r} that would be left at random")
    for variable in trunk.variables:
        if not has_value(variable):  # of a random generator, or there is no file
            draw_value(variable)
    derive(trunk)


@contextmanager
def _abandoned(variables: Collection[Any]) -> Iterator[None]:
    """See to it that what is left of a network without values is never computed with."""
    try:
        yield
    finally:
        abandon(variables)
