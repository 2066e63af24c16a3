"""From a spec to a plan: resolve each name, check each choice, and tell all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torso.contracts.architecture import Architecture, Weights, matching_file
from torso.contracts.preprocessing import PREPROCESS, Transform
from torso.contracts.weights import ChannelAdapter, Mix, WeightSource
from torso.errors import OptionError, TorsoError, UnknownNameError, did_you_mean, known, raise_all
from torso.planning.channel_mix import MOST_GUESSED, channels_of, mix_of, takes
from torso.planning.input_size import checked_size, in_words, warnings_for
from torso.planning.plan import Chosen, InputShape, Plan, PlannedWeights, T
from torso.plugins.registry import Catalogue, Contribution, Registry
from torso.specs.options import Options, read_options
from torso.specs.spec_file import BackboneSpec, Choice, InputSpec, Spec
from torso.specs.writer import write_spec
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode


def make_plan(spec: BackboneSpec, registry: Registry) -> Plan:
    """Resolve and check one backbone.

    Raises:
        TorsoError: All that is wrong with the spec, at once.
    """
    errors: list[TorsoError] = []

    def attempt(step: Callable[[], Any]) -> Any:  # Any: whatever the step returns, or None where it failed
        try:
            return step()
        except TorsoError as error:
            errors.extend(part.at(spec.place) for part in error.parts())
            return None

    truncate = attempt(lambda: _choose(registry.truncations, "truncation strategy", spec.truncate, "none"))
    freeze = attempt(lambda: _choose(registry.freeze_policies, "freeze policy", spec.freeze, "all"))
    preprocess = attempt(lambda: read_options("preprocess", PREPROCESS, spec.preprocess, place=spec.place))
    card = attempt(lambda: _resolve(registry.architectures, spec.architecture))
    if card is None:
        raise_all(errors)
    architecture: Architecture = card.value
    owner = f"architecture {architecture.name!r}"
    options = attempt(lambda: read_options(owner, architecture.options, spec.options, place=spec.place))
    given = spec.input or InputSpec(place=spec.place)
    adapt = attempt(lambda: _adapter(given, registry))
    shape = attempt(lambda: _input_shape(architecture, given, adapt))
    label = attempt(lambda: _weights_label(architecture, spec.weights, registry))
    published = label in architecture.tags and not isinstance(spec.weights, MappingNode)
    mix = attempt(lambda: _mix(architecture, adapt, shape, label, published=published))
    if errors:
        raise_all(errors)
    place = spec.options.place if spec.options is not None else spec.place
    try:
        source_shape = (*shape[:2], architecture.input.weights_channels) if adapt else shape
        extra = registry.build_arguments(card, options, label, source_shape)
    except TorsoError as error:
        error.at(place)
        raise
    warnings: list[str] = [*warnings_for(architecture.input, shape[:2])]
    if adapt is None and shape[2] != architecture.input.weights_channels:
        warnings.append(f"no weights were trained on {shape[2]} channels: the pixels are not preprocessed")
    if published and adapt is not None and _changes_nothing(mix):
        warnings.append(f"adapt: {adapt} changes nothing: the {label} weights are for {shape[2]} channels already")
    settled = {**options, **extra}
    weights = attempt(lambda: _plan_weights(architecture, spec, registry, label, settled, shape, warnings))
    if published and adapt is None:
        attempt(lambda: _require_trained_channels(architecture, given, registry, label, shape[2]))
    raise_all(errors)
    return Plan(
        name=spec.name,
        architecture=card,
        options={name: settled[name] for name in options},
        arguments={**architecture.arguments, **settled},
        input_shape=shape,
        weights=weights,
        truncate=truncate,
        freeze=freeze,
        adapt=adapt,
        mix=mix,
        include_preprocessing=preprocess["include"],
        transform=Transform(**{key: value for key, value in preprocess.items() if key != "include"}),
        warnings=tuple(warnings),
        declared=write_spec(Spec(backbones={spec.name: spec})),
    )


def make_plans(specs: Iterable[BackboneSpec], registry: Registry) -> dict[str, Plan]:
    """Resolve and check several backbones.

    Raises:
        TorsoError: All that is wrong with all of them, at once.
    """
    plans: dict[str, Plan] = {}
    errors: list[TorsoError] = []
    for spec in specs:
        try:
            plans[spec.name] = make_plan(spec, registry)
        except TorsoError as error:
            errors.append(error)
    raise_all(errors)
    return plans


def _resolve(catalogue: Catalogue[Any], name: ScalarNode) -> Any:
    try:
        return catalogue.resolve(name.text)
    except TorsoError as error:
        error.at(name.place)
        raise


def _choose(catalogue: Catalogue[T], kind: str, choice: Choice | None, default: str) -> Chosen[T]:
    if choice is None:
        return Chosen(contribution=catalogue.resolve(default), options={})
    contribution = _resolve(catalogue, ScalarNode(choice.name, place=choice.place))
    value: T = contribution.value
    node = choice.value
    place = choice.place
    if isinstance(node, MappingNode):
        named = node.get(value.positional or "")
        place = named.place if named is not None else place
    elif node is not None:
        place = node.place
        if value.positional is None:
            raise OptionError(
                f"{kind} {value.name!r} takes no value",
                place=node.place,
                notes=[known(option.name for option in value.options)] if value.options else [],
            )
    options = read_options(f"{kind} {value.name!r}", value.options, node, positional=value.positional, place=choice.place)
    return Chosen(contribution=contribution, options=options, place=place)


def _input_shape(architecture: Architecture, given: InputSpec, adapt: Chosen[ChannelAdapter] | None) -> InputShape:
    rules = architecture.input
    channels = given.channels or (channels_of(adapt) if adapt else None) or rules.weights_channels
    errors: list[TorsoError] = []
    try:
        size = checked_size(architecture, given, channels)
    except OptionError as error:
        errors.append(error)
    if rules.channels and channels not in rules.channels:
        fact = f"{architecture.name} cannot take images of {channels} channels"
        place = given.places.get("channels", given.places.get("adapt", given.place))
        errors.append(OptionError(fact, place=place, notes=[known(map(str, rules.channels))]))
    raise_all(errors)
    return (*size, channels)


def _adapter(given: InputSpec, registry: Registry) -> Chosen[ChannelAdapter] | None:
    if given.adapt is None:
        return None
    return _choose(registry.channel_adapters, "channel adapter", given.adapt, "")


def _mix(
    architecture: Architecture,
    adapt: Chosen[ChannelAdapter] | None,
    shape: InputShape | None,
    label: str | None,
    *,
    published: bool,
) -> Mix | None:
    """What the rule says of the published weights' number of channels.

    Returns:
        The mix; None without a rule, where something else is wrong, or where the rule refuses that number and takes another:
        the user's own weights may have that one.
    """
    if adapt is None or shape is None or label is None:
        return None
    if label == "none":
        raise OptionError(
            f"there is nothing for {str(adapt)!r} to adapt: with weights: none, {architecture.name} has random values for "
            f"any number of channels",
            place=adapt.place,
            notes=[("fix", "leave adapt out (adapt: none takes back a default), or name weights")],
        )
    trained, want = architecture.input.weights_channels, shape[2]
    try:
        return mix_of(adapt, trained, want)
    except TorsoError:
        if published or not any(takes(adapt, have, want) for have in range(1, MOST_GUESSED)):
            raise
    return None


def _changes_nothing(mix: Mix) -> bool:
    return len(mix) == len(mix[0]) and all(
        number == (row == column) for row, numbers in enumerate(mix) for column, number in enumerate(numbers)
    )


def _weights_label(architecture: Architecture, node: Node | None, registry: Registry) -> str:
    """The tag, ``none``, or the name of the source that is asked."""
    fixes = "write weights: none for random values, or weights: {file: PATH}"
    if node is None:
        if not architecture.tags:
            raise OptionError(f"{architecture.name} has no published weights", notes=[("fix", fixes)])
        return architecture.tags[0]
    legal = [*architecture.tags, "none"]
    if isinstance(node, ScalarNode):
        if node.text in legal:
            return node.text
        raise UnknownNameError(
            f"{architecture.name} has no weights {node.text!r}",
            place=node.place,
            notes=[*did_you_mean(node.text, legal), known(legal), ("fix", "a file is named as {file: PATH}")],
        )
    sources = {source.value.name: source for source in registry.weight_sources}
    found = [key.text for key, _ in node if key.text in sources] if isinstance(node, MappingNode) else []
    if not found:
        raise OptionError(
            f"weights of {architecture.name} must be a tag, none or the mapping of a source",
            place=node.place,
            notes=[known([*legal, *(f"{{{name}: …}}" for name in sources)])],
        )
    return found[0]


def _plan_weights(
    architecture: Architecture,
    spec: BackboneSpec,
    registry: Registry,
    label: str,
    options: Options,
    shape: InputShape,
    warnings: list[str],
) -> PlannedWeights:
    if label == "none":
        return PlannedWeights(label=label)
    if isinstance(spec.weights, MappingNode):
        source = registry.weight_sources.resolve(label)
        request = read_options(f"weight source {label!r}", source.value.options, spec.weights)
        place = spec.weights.place
        if request.get("sha256", "") is None:
            warnings.append(f"{request[label]} is taken on trust: give its sha256 to have it checked")
    else:
        weights = next(weights for weights in architecture.weights if weights.tag == label)
        source, request = _published(architecture, weights, registry, options, shape, warnings)
        place = spec.weights.place if spec.weights is not None else spec.place
    try:
        source.value.check(request)
    except TorsoError as error:
        error.at(place)
        raise
    return PlannedWeights(label=label, source=source, request=request, place=place)


def _require_trained_channels(
    architecture: Architecture, given: InputSpec, registry: Registry, label: str, channels: int
) -> None:
    trained = architecture.input.weights_channels
    if channels == trained:
        return
    rules = ", ".join(rule.name for rule in registry.channel_adapters)
    adapt = f"add adapt to input ({rules}), " if rules else ""
    raise OptionError(
        f"the {label} weights of {architecture.name} are for {trained} channels, not {channels}",
        place=given.places.get("channels"),
        notes=[("fix", f"{adapt}write channels: {trained}, or weights: none")],
    )


def _published(
    architecture: Architecture,
    weights: Weights,
    registry: Registry,
    options: Options,
    shape: InputShape,
    warnings: list[str],
) -> tuple[Contribution[WeightSource], Options]:
    """The source and the request for the published file that fits."""
    file, exact = matching_file(weights, options, shape[:2])
    if file is None:
        trained = [" and ".join(f"{name} {value}" for name, value in file.when.items()) for file in weights.files]
        raise OptionError(
            f"there are no {weights.tag} weights of {architecture.name} with these options",
            notes=[known(dict.fromkeys(trained)), ("fix", "choose one of these, or write weights: none")],
        )
    if not exact:
        warnings.append(
            f"no {weights.tag} weights were trained at {in_words(shape[:2])}; "
            f"those for {file.when['size']}×{file.when['size']} are used"
        )
    if not (file.sha256 or file.md5):
        warnings.append(f"{file.file_name} has no published hash: the download cannot be verified")
    source = registry.weight_sources.resolve(file.source)
    request = file.request
    return source, {option.name: request.get(option.name) for option in source.value.options}
