"""``torso list``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

from torso.cli.completion import architecture_names
from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.text import columns_of, short, table, times
from torso.contracts.architecture import Architecture
from torso.errors import Note, UnknownNameError, did_you_mean, known, raise_all
from torso.plugins.registry import Catalogue, Contribution

Card = Contribution[Architecture]


def _count(text: str) -> int:
    """A number of parameters: ``5M``, ``1.5G``, ``25_000_000``."""
    match = re.fullmatch(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)([kMGB]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{text!r} is no number of parameters; write it as 5M or 25_000_000")
    number, letter = match.groups()
    return round(float(number) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}[letter.lower()])


@verb("list", example="torso list 'mobilenet*' --max-params 5M --weights imagenet", codes=(0, 2, 4))
@click.argument("pattern", nargs=-1, shell_complete=architecture_names)
@click.option("--provider", metavar="NAME", help="Only those of this plugin.")
@click.option("--family", metavar="NAME", help="Only those of this family.")
@click.option("--weights", metavar="TAG", help="Only those with these published weights.")
@click.option("--min-params", type=_count, metavar="COUNT", help="Only those with so many parameters or more.")
@click.option("--max-params", type=_count, metavar="COUNT", help="Only those with so many parameters or fewer.")
def command(
    session: Session,
    pattern: tuple[str, ...],
    provider: str | None,
    family: str | None,
    weights: str | None,
    min_params: int | None,
    max_params: int | None,
) -> Outcome:
    """List the architectures that a spec can name.

    A PATTERN is a name with * for any characters, bare or as provider/name; letter case does not count. A pattern that
    matches nothing is an error. Parameters are those of the network without its head; where they are not known, a limit
    leaves the architecture out.
    """
    catalogue = session.registry().architectures
    cards: Sequence[Card] = _matching(catalogue, pattern) if pattern else list(catalogue)
    cards = _only(cards, "provider", provider, lambda card: [card.plugin.name])
    cards = _only(cards, "family", family, lambda card: [card.value.family])
    cards = _only(cards, "weights", weights, lambda card: card.value.tags)
    cards = _within(cards, min_params, max_params)
    return Outcome(document={"architectures": [_as_json(card) for card in cards]}, text=_text(cards, session.out))


def _matching(catalogue: Catalogue[Architecture], patterns: tuple[str, ...]) -> Sequence[Card]:
    raise_all([_no_match(catalogue, pattern) for pattern in patterns if not catalogue.search(pattern)])
    return catalogue.search(*patterns)


def _no_match(catalogue: Catalogue[Architecture], pattern: str) -> UnknownNameError:
    notes: list[Note] = list(did_you_mean(pattern.replace("*", ""), [card.name for card in catalogue]))
    wider = f"*{pattern.strip('*')}*"
    if catalogue.search(wider):
        notes.append(("fix", f"write {wider!r} for all names with {pattern.strip('*')!r} in them"))
    return UnknownNameError(f"no architecture matches {pattern!r}", notes=notes or [("see", "torso list")])


def _only(cards: Sequence[Card], what: str, wanted: str | None, having: Any) -> Sequence[Card]:  # Any: see its uses
    """Those that have the wanted word; letter case does not count."""
    if wanted is None:
        return cards
    kept = [card for card in cards if wanted.casefold() in (word.casefold() for word in having(card))]
    if not kept:
        words = sorted({word for card in cards for word in having(card)}, key=str.casefold)
        notes = [*did_you_mean(wanted, words), known(words, most=30)]
        raise UnknownNameError(f"no architecture here has the {what} {wanted!r}", notes=notes)
    return kept


def _within(cards: Sequence[Card], least: int | None, most: int | None) -> Sequence[Card]:
    if least is None and most is None:
        return cards
    counts = [(card, card.value.parameters) for card in cards if card.value.parameters is not None]
    kept = [card for card, count in counts if (least or 0) <= count and (most is None or count <= most)]
    if not kept:
        sizes = sorted(count for _, count in counts)
        notes = [("known", f"{sizes[0]:,} to {sizes[-1]:,}")] if sizes else [("known", "of none of them")]
        raise UnknownNameError("no architecture here has so many parameters", notes=notes)
    return kept


def _text(cards: Iterable[Card], out: TextIO) -> str:
    titles = dict.fromkeys(("name", "family", "params", "input", "weights", "top-1", "provider"), "<")
    titles |= {"params": ">", "input": ">", "top-1": ">"}
    return table(titles, (_row(card) for card in cards), out, page=columns_of(out))


def _row(contribution: Card) -> tuple[str, ...]:
    card = contribution.value
    top1 = card.weights[0].top1 if card.weights else None
    return (
        card.name,
        card.family,
        short(card.parameters),
        times(card.input.default),
        ", ".join(card.tags) or "none",
        "" if top1 is None else f"{top1:.1f}",
        contribution.plugin.name,
    )


def _as_json(contribution: Card) -> dict[str, Any]:  # Any: JSON
    card = contribution.value
    return {
        "name": card.name,
        "qualified": contribution.qualified,
        "family": card.family,
        "provider": contribution.plugin.name,
        "source": contribution.plugin.source,
        "parameters": card.parameters,
        "input": list(card.input.default),
        "weights": [{"tag": weights.tag, "top1": weights.top1, "top5": weights.top5} for weights in card.weights],
    }
