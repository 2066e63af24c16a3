"""From a spec to a plan: resolve each name, check each choice, and tell all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torso.architecture import Architecture, Weights, matching_file
from torso.errors import OptionError, TorsoError, UnknownNameError, did_you_mean, known, raise_all
from torso.planning.plan import Chosen, InputShape, Plan, PlannedWeights, T
from torso.registry import Catalogue, Contribution, Registry
from torso.spec.document import BackboneSpec, Choice, InputSpec
from torso.spec.nodes import Node, Scalar, Table
from torso.spec.options import Options, read_options
from torso.weights import WeightSource


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
    card = attempt(lambda: _resolve(registry.architectures, spec.architecture))
    if card is None:
        raise_all(errors)
    architecture: Architecture = card.value
    owner = f"architecture {architecture.name!r}"
    options = attempt(lambda: read_options(owner, architecture.options, spec.options, place=spec.place))
    given = spec.input or InputSpec(place=spec.place)
    shape = attempt(lambda: _input_shape(architecture, given))
    attempt(lambda: _refuse_adapter(given, registry))
    label = attempt(lambda: _weights_label(architecture, spec.weights, registry))
    if errors:
        raise_all(errors)
    place = spec.options.place if spec.options is not None else spec.place
    try:
        extra = registry.build_arguments(card, options, label, shape)
    except TorsoError as error:
        error.at(place)
        raise
    warnings: list[str] = []
    if shape[2] != architecture.input.weights_channels:
        warnings.append(f"no weights were trained on {shape[2]} channels: the pixels are not preprocessed")
    settled = {**options, **extra}
    weights = attempt(lambda: _plan_weights(architecture, spec, registry, label, settled, shape, warnings))
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
        warnings=tuple(warnings),
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


def _resolve(catalogue: Catalogue[Any], name: Scalar) -> Any:
    try:
        return catalogue.resolve(name.text)
    except TorsoError as error:
        error.at(name.place)
        raise


def _choose(catalogue: Catalogue[T], kind: str, choice: Choice | None, default: str) -> Chosen[T]:
    if choice is None:
        return Chosen(contribution=catalogue.resolve(default), options={})
    contribution = _resolve(catalogue, Scalar(choice.name, place=choice.place))
    value: T = contribution.value
    node = choice.value
    place = choice.place
    if isinstance(node, Table):
        main = node.get(value.main or "")
        place = main.place if main is not None else place
    elif node is not None:
        place = node.place
        if value.main is None:
            raise OptionError(
                f"{kind} {value.name!r} takes no value",
                place=node.place,
                notes=[known(option.name for option in value.options)] if value.options else [],
            )
    options = read_options(f"{kind} {value.name!r}", value.options, node, main=value.main, place=choice.place)
    return Chosen(contribution=contribution, options=options, place=place)


def _input_shape(architecture: Architecture, given: InputSpec) -> InputShape:
    rules = architecture.input
    size = given.size or rules.default
    channels = given.channels or rules.weights_channels
    legal = None
    if rules.fixed and size != rules.default:
        legal = f"{_times(rules.default)} only"
    elif min(size) < rules.minimum:
        legal = f"{rules.minimum} pixels or more"
    elif any(side % rules.divisor for side in size):
        legal = f"multiples of {rules.divisor} pixels"
    errors: list[TorsoError] = []
    if legal:
        fact = f"{architecture.name} cannot take images of {_times(size)} pixels"
        errors.append(OptionError(fact, place=given.places.get("size", given.place), notes=[("known", legal)]))
    if rules.channels and channels not in rules.channels:
        fact = f"{architecture.name} cannot take images of {channels} channels"
        place = given.places.get("channels", given.place)
        errors.append(OptionError(fact, place=place, notes=[known(map(str, rules.channels))]))
    raise_all(errors)
    return (*size, channels)


def _refuse_adapter(given: InputSpec, registry: Registry) -> None:
    if given.adapt is None:
        return
    place = given.places.get("adapt", given.place)
    adapter = _resolve(registry.channel_adapters, Scalar(given.adapt, place=place))
    raise OptionError(f"this torso does not apply channel adapters yet, and so not {adapter.qualified!r}", place=place)


def _weights_label(architecture: Architecture, node: Node | None, registry: Registry) -> str:
    """The tag, ``none``, or the name of the source that is asked."""
    fixes = "write weights: none for random values, or weights: {file: PATH}"
    if node is None:
        if not architecture.tags:
            raise OptionError(f"{architecture.name} has no published weights", notes=[("fix", fixes)])
        return architecture.tags[0]
    legal = [*architecture.tags, "none"]
    if isinstance(node, Scalar):
        if node.text in legal:
            return node.text
        raise UnknownNameError(
            f"{architecture.name} has no weights {node.text!r}",
            place=node.place,
            notes=[*did_you_mean(node.text, legal), known(legal), ("fix", "a file is named as {file: PATH}")],
        )
    sources = {source.value.name: source for source in registry.weight_sources}
    found = [key.text for key, _ in node if key.text in sources] if isinstance(node, Table) else []
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
    if isinstance(spec.weights, Table):
        source = registry.weight_sources.resolve(label)
        request = read_options(f"weight source {label!r}", source.value.options, spec.weights)
        place = spec.weights.place
        if request.get("sha256", "") is None:
            warnings.append(f"{request[label]} is taken on trust: give its sha256 to have it checked")
    else:
        weights = next(weights for weights in architecture.weights if weights.tag == label)
        source, request = _published(architecture, weights, registry, options, shape, warnings)
        place = spec.weights.place if spec.weights is not None else spec.place
        if shape[2] != architecture.input.weights_channels:
            raise OptionError(
                f"the {label} weights of {architecture.name} are for {architecture.input.weights_channels} channels, "
                f"not {shape[2]}",
                place=spec.input.places.get("channels") if spec.input else None,
                notes=[("fix", f"write channels: {architecture.input.weights_channels}, or weights: none")],
            )
    try:
        source.value.check(request)
    except TorsoError as error:
        error.at(place)
        raise
    return PlannedWeights(label=label, source=source, request=request, place=place)


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
            f"no {weights.tag} weights were trained at {_times(shape[:2])} pixels; "
            f"those for {file.when['size']}×{file.when['size']} are used"
        )
    if not (file.sha256 or file.md5):
        warnings.append(f"{file.file_name} has no published hash: the download cannot be verified")
    source = registry.weight_sources.resolve(file.source)
    request = file.request
    return source, {option.name: request.get(option.name) for option in source.value.options}


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
