"""What a plugin declares about an architecture, as text and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from torso.cli.text import format_shape, key_values, section, table
from torso.contracts.architecture import Architecture, InputRules, Weights
from torso.contracts.weights import WeightsFile
from torso.planning.input_size import legal_sizes
from torso.plugins.registry import Contribution
from torso.specs.options import Option, Value


def architecture_text(contribution: Contribution[Architecture], *, files: bool) -> Iterator[str]:
    """The sections of an architecture; ``files`` adds its declared levels and the files of its weights."""
    architecture = contribution.value
    yield section(architecture.name, key_values(_about(contribution)))
    if architecture.options:
        yield section("options", key_values((option.name, _option(option)) for option in architecture.options))
    for index, weights in enumerate(architecture.weights):
        title = f"weights {weights.tag}{' (default)' if index == 0 else ''}"
        yield section(title, key_values(_weights(weights)) + (f"\n\n{_files(weights.files)}" if files else ""))
    if not architecture.weights:
        yield section("weights", "  none are published")
    if files and architecture.levels:
        yield section("levels", key_values(architecture.levels.items()))


def architecture_as_json(contribution: Contribution[Architecture]) -> dict[str, Any]:  # Any: JSON
    """All that is declared, with the plugin that declares it."""
    options = []
    for option in contribution.value.options:
        default = None if option.required else option.default
        options.append({**vars(option), "type": option.type.__name__, "required": option.required, "default": default})
    keys = ("name", "distribution", "version", "origin", "location")
    provider = {key: getattr(contribution.plugin, key) for key in keys}
    told = asdict(contribution.value) | {"builder": contribution.value.builder_name, "options": options}
    return {"qualified": contribution.qualified, "provider": provider, **told}


def _about(contribution: Contribution[Architecture]) -> Iterator[tuple[str, str]]:
    architecture, plugin, count = contribution.value, contribution.plugin, contribution.value.parameters
    yield "family", architecture.family
    yield "provider", f"{plugin.name} ({plugin.source})"
    yield "parameters", "unknown" if count is None else f"{count:,} without the classification head"
    yield "MACs", "unknown" if architecture.macs is None else f"{architecture.macs:,} for one image of the default size"
    yield "input", _input(architecture.input)
    yield "pixels", str(architecture.preprocessing)
    yield "paper", architecture.paper or "unknown"
    for part, license in asdict(architecture.license).items():
        yield f"licence of {part}", license or "unknown"
    yield "builder", architecture.builder_name
    if architecture.arguments:
        yield "", ", ".join(f"{name}={value!r}" for name, value in architecture.arguments.items())
    yield "source", architecture.source or "unknown"


def _input(rules: InputRules) -> str:
    words = [] if rules.fixed else [f"{format_shape(rules.default)} by default"]
    words += [legal_sizes(rules), *(["any size as [null, null]"] if rules.any_size else [])]
    channels = " or ".join(map(str, rules.channels)) or "any"
    return "; ".join([*words, f"channels: {channels}, {rules.weights_channels} with published weights"])


def _option(option: Option) -> str:
    words = [" or ".join(map(_value, option.choices)) if option.choices else option.type_words]
    for bound, side in ((option.minimum, "more"), (option.maximum, "less")):
        words += [] if bound is None else [f"{bound:g} or {side}"]
    words.append("required" if option.required else f"{_value(option.default)} by default")
    return "; ".join(words) + (f". {option.doc}" if option.doc else "")


def _weights(weights: Weights) -> Iterator[tuple[str, str]]:
    yield "classes", "unknown" if weights.classes is None else f"{weights.classes:,}"
    for label, accuracy in (("top-1", weights.top1), ("top-5", weights.top5)):
        yield label, "unknown" if accuracy is None else f"{accuracy:.1f} %"
    yield "source", weights.source or "unknown"
    yield "from", ", ".join(sorted({file.address[: -len(file.file_name)] for file in weights.files}))


def _files(files: Sequence[WeightsFile]) -> str:
    """A table of the files, with the options that each was trained with."""
    options = list(dict.fromkeys(name for file in files for name in file.when))
    rows = []
    for file in files:
        values = (_value(file.when[name]) if name in file.when else None for name in options)
        # Enough of the hash to tell files apart; the JSON has all of it.
        hashes = (f"{kind} {found[:12]}" for kind, found in (("sha256", file.sha256), ("md5", file.md5)) if found)
        rows.append([file.file_name, *values, next(hashes, None)])
    return table(["file", *(f">{name}" for name in options), "hash"], rows)


def _value(value: Value) -> str:
    """As YAML writes it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
