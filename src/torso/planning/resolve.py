"""From a spec to a plan: resolve each name, check each choice, and report all errors at once."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from torso.contracts.architecture import Architecture, Weights, matching_file
from torso.contracts.preprocessing import PREPROCESS, Transform
from torso.contracts.weights import ChannelAdapter, Mix, WeightsFile, WeightSource
from torso.errors import OptionError, Place, TorsoError, UnknownNameError, collect, did_you_mean, known, raise_all
from torso.graph import Graph
from torso.planning.channel_mix import channels_of, mix_of
from torso.planning.input_size import checked_size, in_words
from torso.planning.known_graph import known_graph
from torso.planning.plan import Chosen, Plan, PlannedWeights, T
from torso.planning.selection import refusals
from torso.plugins import PluginInfo
from torso.plugins.calling import at_location, plugin_errors
from torso.plugins.registry import Catalogue, Contribution, Registry
from torso.specs.backbone_spec import NONE, REGULARIZE, Choice, InputSpec, Size, read_choice
from torso.specs.nearly_right import with_fix
from torso.specs.options import REQUIRED, Options, read_options
from torso.specs.spec_file import BackboneSpec, write_spec
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode

GraphOf = Callable[[Plan], Graph | None]  # of the whole headless network; None where it is not known

_GUESSED: Final = range(1, 64)  # channels of the user's own weights that are tried before a rule is refused


def make_plans(specs: Iterable[BackboneSpec], registry: Registry, graph_of: GraphOf = known_graph) -> dict[str, Plan]:
    """Resolve and check several backbones; raises the errors of all specs at once."""
    errors: list[TorsoError] = []
    plans = {spec.name: collect(errors, make_plan, spec, registry, graph_of) for spec in specs}
    raise_all(errors)
    return {name: plan for name, plan in plans.items() if plan is not None}


def make_plan(spec: BackboneSpec, registry: Registry, graph_of: GraphOf = known_graph) -> Plan:
    """Resolve and check one backbone; raises all its errors at once, those of the cut where the graph is known."""
    errors: list[TorsoError] = []
    with at_location(spec.place):
        checked = plan = collect(errors, _make_plan, spec, registry)
        if plan is None:  # one error is to hide no other: check what is right of the spec alone
            others = replace(spec, truncate=None, freeze=None, preprocess=None)
            bare = replace(spec, weights=ScalarNode("none"), input=None, preprocess=None)
            for part in (others, replace(others, input=None)):
                collect(errors, _make_plan, part, registry)
            for part in (replace(bare, truncate=None), replace(bare, freeze=None), bare):
                checked = collect([], _make_plan, part, registry) or checked
        graph = checked and collect(errors, graph_of, checked)
        errors += refusals(checked, graph, registry) if checked and graph else ()
        raise_all(errors)
    assert plan is not None
    return plan


def _make_plan(spec: BackboneSpec, registry: Registry) -> Plan:
    errors: list[TorsoError] = []
    # What a step returns, None where it failed; untyped, as no step is read before raise_all has found no error.
    attempt: Callable[..., Any] = partial(collect, errors)

    truncate = attempt(choose, registry.truncations, "truncation strategy", spec.truncate, "truncations/none")
    freeze = attempt(choose, registry.freeze_policies, "freeze policy", spec.freeze, "freeze-policies/all")
    preprocess = attempt(read_options, "preprocess", PREPROCESS, spec.preprocess, place=spec.place)
    recipe: Any = preprocess and attempt(Transform.of, preprocess, spec.preprocess)
    l2 = spec.regularize
    regularize = l2 and attempt(read_options, "regularize", REGULARIZE, l2, positional="l2", place=spec.place)
    contribution = attempt(_resolve, registry.architectures, spec.architecture)
    if contribution is None:  # all that follows is about an architecture
        raise_all(errors)
    architecture: Architecture = contribution.value
    given = spec.input or InputSpec(place=spec.place)
    owner = f"architecture {architecture.name!r}"
    options = attempt(read_options, owner, architecture.options, spec.options, place=spec.place)
    adapt = attempt(choose, registry.channel_adapters, "channel adapter", given.adapt, "") if given.adapt else None
    trained = architecture.input.weights_channels
    channels = attempt(_input_channels, architecture, given, adapt)
    size = attempt(checked_size, architecture, given, channels or trained)
    label = attempt(_weights_label, architecture, spec.weights, registry)
    published = label in architecture.tags and not isinstance(spec.weights, MappingNode)
    mix = attempt(_mix, architecture, adapt, channels, label, published=published) if adapt and channels and label else None
    raise_all(errors)  # plugins see checked options only

    with at_location(spec.options.place if spec.options is not None else None):
        settled = options | registry.build_arguments(contribution, options, label, (*size, trained if adapt else channels))
    warnings: list[str] = []
    if size[0] is None and architecture.input.any_size_divisor > 1:
        warnings.append(
            f"images whose sides are not multiples of {architecture.input.any_size_divisor} pixels get other features than "
            "from a network that is built for their size: it pads otherwise"
        )
    if adapt is None and channels != trained:
        warnings.append(f"no weights were trained on {channels} channels: the pixels are not preprocessed")
    every = range(channels)
    if published and mix == tuple(tuple(float(row == column) for column in every) for row in every):
        warnings.append(f"adapt: {adapt} changes nothing: the {label} weights are for {channels} channels already")
    if label == "none" and freeze.contribution.qualified != "freeze-policies/none":
        warnings.append(f"weights: none is random initialisation, and freeze: {freeze} keeps random values from training")
    weights = attempt(_plan_weights, contribution, spec, registry, label, settled, size, warnings)
    if published and adapt is None and channels != trained:
        rules = ", ".join(rule.name for rule in registry.channel_adapters)
        line = 'input={"adapt": "mean"}' if spec.architecture.place.file is None else "adapt: mean under input"
        fix = f"{f'write {line} (rules: {rules}), ' if rules else ''}take {trained} channels, or weights: none"
        fact = f"the {label} weights of {architecture.name} are for {trained} channels, not {channels}"
        errors.append(OptionError(fact, place=given.places.get("channels"), notes=[("fix", fix)]))
    raise_all(errors)
    # As its provider spells it; without the provider where the user wrote none.
    named = replace(spec.architecture, text=contribution.qualified if "/" in spec.architecture.text else contribution.name)
    return Plan(
        name=spec.name,
        architecture=contribution,
        options={name: settled[name] for name in options},
        arguments={**architecture.arguments, **settled},
        input_shape=(*size, channels),
        weights=weights,
        truncate=truncate,
        freeze=freeze,
        adapt=adapt,
        mix=mix,
        regularize=regularize if regularize and regularize["l2"] else {},
        include_preprocessing=preprocess["include"],
        transform=recipe,
        warnings=tuple(warnings),
        declared=write_spec([replace(spec, architecture=named)]),
        pooling=spec.pooling,
        prefix=spec.prefix or "",
    )


def _resolve(catalogue: Catalogue[Any], name: ScalarNode) -> Any:
    try:
        with at_location(name.place):
            return catalogue.resolve(name.text)
    except UnknownNameError as error:
        raise with_fix(error, name.place.path.rpartition(".")[2], name) from None


def choose(catalogue: Catalogue[T], kind: str, choice: Choice | None, default: str) -> Chosen[T]:
    if choice is None:
        return Chosen(contribution=catalogue.resolve(default), options={})
    contribution = _resolve(catalogue, ScalarNode(choice.name, place=choice.place))
    value: T = contribution.value
    owner, node, place = f"{kind} {value.name!r}", choice.value, choice.place
    if isinstance(node, MappingNode):
        named = node.get(value.positional or "")
        place = named.place if named is not None else place
    elif node is not None:
        place = node.place
        if value.positional is None:
            notes = [known(option.name for option in value.options)] if value.options else []
            raise OptionError(f"{owner} takes no value", place=place, notes=notes)
    options = read_options(owner, value.options, node, positional=value.positional, place=choice.place)
    return Chosen(contribution=contribution, options=options, place=place)


def _input_channels(architecture: Architecture, given: InputSpec, adapt: Chosen[ChannelAdapter] | None) -> int:
    rules = architecture.input
    channels = given.channels or (channels_of(adapt) if adapt else None) or rules.weights_channels
    if rules.channels and channels not in rules.channels:
        fact = f"{architecture.name} cannot take images of {channels} channels"
        place = given.places.get("channels", given.places.get("adapt", given.place))
        raise OptionError(fact, place=place, notes=[known(map(str, rules.channels))])
    return channels


def _mix(
    architecture: Architecture, adapt: Chosen[ChannelAdapter], channels: int, label: str, *, published: bool
) -> Mix | None:
    """The rule's mix for the published weights; None where it fits only weights of another number of channels."""
    if label == "none":
        why = f"with weights: none, {architecture.name} has random values for any number of channels"
        fix = "leave adapt out (adapt: none takes back a default), or name weights"
        raise OptionError(f"there is nothing for {str(adapt)!r} to adapt: {why}", place=adapt.place, notes=[("fix", fix)])
    errors: list[TorsoError] = []
    mix = collect(errors, mix_of, adapt, architecture.input.weights_channels, channels)
    if errors and (published or all(collect(errors, mix_of, adapt, have, channels) is None for have in _GUESSED)):
        raise errors[0]
    return mix


def _weights_label(architecture: Architecture, node: Node | None, registry: Registry) -> str:
    """The tag, ``none``, or the name of the source that the user chose."""
    if node is None:
        if not architecture.tags:
            fix = "write weights: none for random values, or weights: {file: PATH}"
            raise OptionError(f"{architecture.name} has no published weights", notes=[("fix", fix)])
        return architecture.tags[0]
    legal = [*architecture.tags, "none"]
    if isinstance(node, ScalarNode):
        if node.text in legal:
            return node.text
        notes = [*did_you_mean(node.text, legal), known(legal), ("fix", "a file is named as {file: PATH}")]
        error = UnknownNameError(f"{architecture.name} has no weights {node.text!r}", place=node.place, notes=notes)
        raise with_fix(error, "weights", node)
    sources = [source.name for source in registry.weight_sources]
    found = [key.text for key, _ in node if key.text in [*sources, "none"]] if isinstance(node, MappingNode) else []
    if not found:
        fact = f"weights of {architecture.name} must be a tag, none or the mapping of a source"
        notes = [known([*legal, *(f"{{{name}: …}}" for name in dict.fromkeys(sources))])]
        raise OptionError(fact, place=node.place, notes=notes)
    return found[0]


def _plan_weights(
    contribution: Contribution[Architecture],
    spec: BackboneSpec,
    registry: Registry,
    label: str,
    options: Options,
    size: Size,
    warnings: list[str],
) -> PlannedWeights:
    architecture = contribution.value
    place = spec.weights.place if spec.weights is not None else spec.place
    if label == "none":
        given = read_choice("weights", spec.weights).value if isinstance(spec.weights, MappingNode) else None
        seed: Any = read_options("weights: none", NONE, given)["seed"]
        return PlannedWeights(label=label if seed is None else f"none, seed {seed}", seed=seed, place=place)
    with at_location(place):
        if isinstance(spec.weights, MappingNode):
            source = registry.weight_sources.resolve(label)
            request = read_options(f"weight source {label!r}", source.value.options, spec.weights)
            if source.value.hashes and not source.value.expected_hashes(request):
                warnings.append(f"{request[label]} is taken on trust: give its {source.value.hashes[0]} to have it checked")
        else:
            weights = next(weights for weights in architecture.weights if weights.tag == label)
            file, exact = matching_file(weights, options, size)
            if file is None:
                raise _untrained_options(architecture, weights, options, spec.options.place if spec.options else None)
            if not exact:
                side = file.when["size"]
                warnings.append(f"no {label} weights were trained at {in_words(size)}; those for {side}×{side} are used")
            source, request = _published(file, contribution.plugin, registry)
            if not source.value.expected_hashes(request):
                warnings.append(f"{file.file_name} has no published hash: the download cannot be verified")
    planned = PlannedWeights(label=label, source=source, request=request, place=place)
    planned.check()
    return planned


def _published(file: WeightsFile, plugin: PluginInfo, registry: Registry) -> tuple[Contribution[WeightSource], Options]:
    """The source that a published file names, of several the plugin's own or else torso's, and the options for it."""
    names = [f"{owner}/{file.source}" for owner in (plugin.name, "weight-sources")]
    own = [one for name in names for one in registry.weight_sources if one.qualified == name]
    with plugin_errors(plugin, f"asking for the weights file {file.address!r}"):
        source = own[0] if own else registry.weight_sources.resolve(file.source)
        options = {option.name: option.default for option in source.value.options}
        options |= {name: value for name, value in file.request.items() if name in options and value is not None}
        if REQUIRED in options.values():
            raise TypeError(f"weight source {source.qualified!r} needs options that no published file has")
    return source, options


def _untrained_options(architecture: Architecture, weights: Weights, options: Options, place: Place | None) -> OptionError:
    trained = [{name: value for name, value in file.when.items() if name != "size"} for file in weights.files]
    wanted, *legal = dict.fromkeys(
        " and ".join(f"{name} {value}" for name, value in row.items())
        for row in ({name: value for name, value in options.items() if any(name in row for row in trained)}, *trained)
    )
    fact = f"{architecture.name} has no {weights.tag} weights for {wanted}"
    return OptionError(fact, place=place, notes=[known(legal), ("fix", "take known values, or weights: none")])
