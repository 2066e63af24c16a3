"""``torso list``."""

import re
from typing import Any

import click

from torso.cli.completion import architecture_names
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import format_shape, short, table
from torso.contracts.architecture import Architecture
from torso.errors import UnknownNameError, did_you_mean, raise_all
from torso.plugins.listing import SORTS, select
from torso.plugins.registry import YOURS, Catalogue, Contribution

_Listed = dict[str, Any]  # an architecture as JSON


def _count(text: str) -> int:
    """A count: ``5M``, ``1.5G``, ``25_000_000``."""
    match = re.fullmatch(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)([kMGB]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a number of parameters; write 5M or 25_000_000")
    number, letter = match.groups()
    return round(float(number) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}[letter.lower()])


@torso_command("list", example="torso list 'mobilenet*' --max-params 5M --weights imagenet", codes=(0, 2, 4))
@click.argument("pattern", nargs=-1, shell_complete=architecture_names)
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out those that match. Repeatable.")
@click.option("--provider", metavar="NAME", help="Only those of this plugin.")
@click.option("--family", metavar="NAME", help="Only those of this family.")
@click.option("--weights", metavar="TAG", help="Only those with these published weights.")
@click.option("--licence", "--license", metavar="NAME", help="Only those whose weights have this licence.")
@click.option("--min-params", type=_count, metavar="COUNT", help="Only those with at least this many parameters.")
@click.option("--max-params", type=_count, metavar="COUNT", help="Only those with at most this many parameters.")
@click.option("--max-macs", type=_count, metavar="COUNT", help="Only those with at most this many MACs for one image.")
@click.option("--sort", type=click.Choice(SORTS), default="name", help="Order; parameters, macs: the least first.")
def command(
    session: Session,
    pattern: tuple[str, ...],
    exclude: tuple[str, ...],
    min_params: int | None,
    max_params: int | None,
    max_macs: int | None,
    sort: str,
    **words: str | None,
) -> Result:
    """List the available architectures.

    A PATTERN is a name or provider/name; * stands for any characters; letter case and underscores are ignored. A PATTERN
    without * that is no name is sought within the names. A pattern without a match is an error. Parameters and MACs are
    those of the network without its head, at default options and size. Limits leave out architectures whose count is
    unknown, and say so.
    """
    catalogue = session.registry().architectures
    raise_all([_no_match(catalogue, one) for one in pattern if not catalogue.search(one)])
    limits = ("parameters", min_params, max_params), ("macs", None, max_macs)
    chosen = select(catalogue, pattern or ["*"], exclude=exclude, limits=limits, sort=sort, **words)
    if not chosen:
        raise UnknownNameError("no architecture here is within these limits", notes=[("see", "torso list")])
    found = [_as_json(one) for one in chosen]
    return Result(document={"architectures": found}, text=_text(found))


def _no_match(catalogue: Catalogue[Architecture], pattern: str) -> UnknownNameError:
    notes = did_you_mean(pattern.replace("*", ""), [one.name for one in catalogue]) or [("see", "torso list"), YOURS]
    return UnknownNameError(f"no architecture matches {pattern!r}", notes=notes)


def _as_json(one: Contribution[Architecture]) -> _Listed:
    architecture = one.value
    return {
        "name": architecture.name,
        "qualified": one.qualified,
        "family": architecture.family,
        "provider": one.plugin.name,
        "source": one.plugin.source,
        "parameters": architecture.parameters,
        "macs": architecture.macs,
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
