"""A card as text: what a provider says of an architecture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TextIO

from torso.cli.text import bold, counted, facts, page_of, table, times
from torso.contracts.architecture import Architecture, InputRules, Weights
from torso.contracts.weights import WeightsFile
from torso.plugins.registry import Contribution
from torso.specs.options import Option, Value


def card_text(contribution: Contribution[Architecture], out: TextIO, *, files: bool) -> Iterator[str]:
    """The sections of a card; its levels and the files of its weights only where they are asked for."""
    card = contribution.value
    yield f"{bold(card.name, out)}\n" + facts(_about(contribution), out, indent="  ")
    if card.options:
        pairs = [(option.name, _option_words(option)) for option in card.options]
        yield f"{bold('options', out)}\n" + facts(pairs, out, indent="  ")
    for index, weights in enumerate(card.weights):
        title = f"weights {weights.tag}{' (default)' if index == 0 else ''}"
        about = facts(_weights_words(weights), out, indent="  ")
        yield f"{bold(title, out)}\n{about}" + (f"\n\n{_files(weights.files, out)}" if files else "")
    if not card.weights:
        yield f"{bold('weights', out)}\n  none are published"
    if files and card.levels:
        yield f"{bold('levels', out)}\n" + facts(card.levels.items(), out, indent="  ")


def _about(contribution: Contribution[Architecture]) -> Iterable[tuple[str, str]]:
    card, plugin = contribution.value, contribution.plugin
    yield "family", card.family
    yield "provider", f"{plugin.name} ({plugin.source})"
    yield "parameters", "unknown" if card.parameters is None else f"{card.parameters:,} without the head"
    yield "input", _input_words(card.input)
    yield "pixels", str(card.preprocessing)
    yield "paper", card.paper or "unknown"
    for what, license in asdict(card.license).items():
        yield f"licence of {what}", license or "unknown"
    yield "builder", card.builder
    if card.arguments:
        yield "", ", ".join(f"{name}={value!r}" for name, value in card.arguments.items())
    yield "source", card.source or "unknown"


def _input_words(rules: InputRules) -> str:
    if rules.fixed:
        words = [f"{times(rules.default)} only"]
    else:
        words = [f"{times(rules.default)} by default", f"{counted(rules.minimum, 'pixel')} or more a side"]
        if rules.divisor > 1:
            words.append(f"multiples of {rules.divisor}")
        if rules.any_size:
            words.append("any size as [null, null]")
    legal = " or ".join(map(str, rules.channels)) or "any number of"
    noun = "channel" if rules.channels == (1,) else "channels"
    words.append(f"{legal} {noun}, {rules.weights_channels} with published weights")
    return "; ".join(words)


def _option_words(option: Option) -> str:
    words = [option.type_words if not option.choices else " or ".join(map(_value, option.choices))]
    if option.minimum is not None:
        words.append(f"{option.minimum:g} or more")
    if option.maximum is not None:
        words.append(f"{option.maximum:g} or less")
    words.append("must be given" if option.required else f"{_value(option.default)} by default")
    return "; ".join(words) + (f". {option.doc}" if option.doc else "")


def _weights_words(weights: Weights) -> Iterable[tuple[str, str]]:
    yield "classes", "unknown" if weights.classes is None else f"{weights.classes:,}"
    for label, accuracy in (("top-1", weights.top1), ("top-5", weights.top5)):
        yield label, "unknown" if accuracy is None else f"{accuracy:.1f} %"
    yield "source", weights.source or "unknown"
    yield "from", ", ".join(sorted({file.address[: -len(file.file_name)] for file in weights.files}))
    if not any(map(_hash, weights.files)):
        yield "hashes", "none are published"


def _files(files: Sequence[WeightsFile], out: TextIO) -> str:
    options = list(dict.fromkeys(name for file in files for name in file.when))
    titles = {"file": "<", **dict.fromkeys(options, ">")}
    rows = [[file.file_name, *(_value(file.when[name]) if name in file.when else "" for name in options)] for file in files]
    if any(map(_hash, files)):
        titles["hash"] = "<"
        rows = [[*row, _hash(file)] for row, file in zip(rows, files, strict=True)]
    return table(titles, rows, out, page=page_of(out))


def _hash(file: WeightsFile) -> str:
    """Enough of the hash to tell files apart; all of it is in the JSON."""
    if file.sha256:
        return f"sha256 {file.sha256[:12]}"
    return f"md5 {file.md5[:12]}" if file.md5 else ""


def _value(value: Value) -> str:
    """As YAML writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
