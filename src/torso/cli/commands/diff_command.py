"""``torso diff``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

import click

from torso.artifact.diff import diff, in_words
from torso.artifact.manifest import Difference
from torso.cli.result import DIFFERENT, Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.text import page_of, table

VARIABLES = "variables."


@verb("diff", example="torso diff backbones/edge archive/edge", codes=(0, 1, 2, 5, 7))
@click.argument("one", type=click.Path())
@click.argument("other", type=click.Path())
def command(session: Session, one: str, other: str) -> Outcome:
    """Say in which facts two saved backbones differ: plan, weights variable by variable, features, freezing, versions.

    ONE and OTHER are folders that torso saved. TensorFlow is not used: both manifests are read, and both models compared
    with the hashes in them.
    """
    found = diff(one, other)
    return Outcome(
        document={
            "same": not found,
            "differences": [dict(zip(("fact", "one", "other"), each, strict=True)) for each in found],
        },
        text=_text(found, one, other, session.out) if found else f"{one} and {other} are the same backbone",
        exit_code_if_done=DIFFERENT if found else 0,
    )


def _text(found: tuple[Difference, ...], one: str, other: str, out: TextIO) -> str:
    titles = {"fact": "<", one: "<", other if other != one else f"{other} ": "<"}
    return table(titles, _rows(found), out, page=page_of(out))


def _rows(found: tuple[Difference, ...]) -> Iterator[tuple[str, str, str]]:
    for fact, first, second in found:
        if not fact.startswith(VARIABLES):
            yield fact, in_words(first), in_words(second)
    variables = [
        (fact.removeprefix(VARIABLES), first, second) for fact, first, second in found if fact.startswith(VARIABLES)
    ]
    in_both = [name for name, first, second in variables if first and second]
    only_here = [name for name, _, second in variables if not second]
    only_there = [name for name, first, _ in variables if not first]
    if in_both:
        yield "variables with other values", "", _counted(in_both)
    if only_here or only_there:
        yield "variables of its own", _counted(only_here), _counted(only_there)


def _counted(names: list[str]) -> str:
    return f"{len(names)}: {in_words(names)}" if names else ""
