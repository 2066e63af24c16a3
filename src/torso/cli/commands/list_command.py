"""``torso list``."""

from __future__ import annotations

import re
from math import inf
from typing import Any

import click

from torso.cli.completion import architecture_names
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import format_shape, short, table
from torso.contracts.architecture import Architecture
from torso.errors import Note, UnknownNameError, did_you_mean, known, raise_all
from torso.plugins.registry import Catalogue, Contribution

_Listed = dict[str, Any]  # an architecture as JSON


def _count(text: str) -> int:
    """A number of parameters: ``5M``, ``1.5G``, ``25_000_000``."""
    match = re.fullmatch(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)([kMGB]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a number of parameters; write 5M or 25_000_000")
    number, letter = match.groups()
    return round(float(number) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}[letter.lower()])


@torso_command("list", example="torso list 'mobilenet*' --max-params 5M --weights imagenet", codes=(0, 2, 4))
@click.argument("pattern", nargs=-1, shell_complete=architecture_names)
@click.option("--provider", metavar="NAME", help="Only those of this plugin.")
@click.option("--family", metavar="NAME", help="Only those of this family.")
@click.option("--weights", metavar="TAG", help="Only those with these published weights.")
@click.option("--min-params", type=_count, metavar="COUNT", help="Only those with at least this many parameters.")
@click.option("--max-params", type=_count, metavar="COUNT", help="Only those with at most this many parameters.")
def command(
    session: Session,
    pattern: tuple[str, ...],
    provider: str | None,
    family: str | None,
    weights: str | None,
    min_params: int | None,
    max_params: int | None,
) -> Result:
    """List the available architectures.

    A PATTERN is a name or provider/name; * stands for any characters, and letter case is ignored. A pattern without a
    match is an error. Parameters are counted without the classification head. --min-params and --max-params leave out
    architectures whose count is unknown.
    """
    catalogue = session.registry().architectures
    raise_all([_no_match(catalogue, one) for one in pattern if not catalogue.search(one)])
    found = [_as_json(one) for one in (catalogue.search(*pattern) if pattern else catalogue)]
    for key, wanted in ("provider", provider), ("family", family), ("weights", weights):
        if wanted is not None:
            found = _with(found, key, wanted)
    if min_params is not None or max_params is not None:
        least, most = min_params or 0, inf if max_params is None else max_params
        found = [one for one in found if one["parameters"] is not None and least <= one["parameters"] <= most]
        if not found:
            raise UnknownNameError("no architecture here has that many parameters", notes=[("see", "torso list")])
    return Result(document={"architectures": found}, text=_text(found))


def _no_match(catalogue: Catalogue[Architecture], pattern: str) -> UnknownNameError:
    notes: list[Note] = list(did_you_mean(pattern.replace("*", ""), [one.name for one in catalogue]))
    wider = f"*{pattern.strip('*')}*"
    if catalogue.search(wider):
        notes.append(("fix", f"write {wider!r} for all names that contain {pattern.strip('*')!r}"))
    return UnknownNameError(f"no architecture matches {pattern!r}", notes=notes or [("see", "torso list")])


def _with(found: list[_Listed], key: str, wanted: str) -> list[_Listed]:
    """Those that have the wanted word under a key; letter case is ignored."""
    words_of = [(one, [weights["tag"] for weights in one[key]] if key == "weights" else [one[key]]) for one in found]
    kept = [one for one, words in words_of if wanted.casefold() in map(str.casefold, words)]
    if not kept:
        everything = sorted({word for _, words in words_of for word in words}, key=str.casefold)
        notes = [*did_you_mean(wanted, everything), known(everything, most=30)]
        raise UnknownNameError(f"no architecture here has the {key} {wanted!r}", notes=notes)
    return kept


def _as_json(one: Contribution[Architecture]) -> _Listed:
    architecture = one.value
    return {
        "name": architecture.name,
        "qualified": one.qualified,
        "family": architecture.family,
        "provider": one.plugin.name,
        "source": one.plugin.source,
        "parameters": architecture.parameters,
        "input": list(architecture.input.default),
        "weights": [{"tag": weights.tag, "top1": weights.top1, "top5": weights.top5} for weights in architecture.weights],
    }


def _text(found: list[_Listed]) -> str:
    rows = []
    for one in found:
        tags = ", ".join(weights["tag"] for weights in one["weights"]) or "none"
        top1 = one["weights"][0]["top1"] if one["weights"] else None
        accuracy = None if top1 is None else f"{top1:.1f}"
        size, params = format_shape(one["input"]), short(one["parameters"])
        rows.append((one["name"], one["family"], params, size, tags, accuracy, one["provider"]))
    return table(("name", "family", ">params", ">input", "weights", ">top-1", "provider"), rows)
