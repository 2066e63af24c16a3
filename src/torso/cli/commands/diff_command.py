"""``torso diff``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from torso.artifact.diff import diff, short_value
from torso.artifact.manifest import Difference
from torso.cli.result import DIFFERENT, Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import table

_VARIABLES = "variables."


@torso_command("diff", example="torso diff backbones/edge archive/edge", codes=(0, 1, 2, 5, 7))
@click.argument("one", type=click.Path())
@click.argument("other", type=click.Path())
def command(session: Session, one: str, other: str) -> Result:
    """Compare two saved backbones.

    ONE and OTHER are folders written by torso build. Compared are the plans, the weights variable by variable, the
    features, what is frozen, and the versions. TensorFlow is not used.
    """
    found = diff(one, other)
    differences = [dict(zip(("fact", "one", "other"), difference, strict=True)) for difference in found]
    titles = {"fact": "<", one: "<", other if other != one else f"{other} ": "<"}  # keys, so they must differ
    return Result(
        document={"same": not found, "differences": differences},
        text=table(titles, _rows(found)) if found else f"{one} and {other} are the same backbone",
        exit_code_if_done=DIFFERENT if found else 0,
    )


def _rows(found: tuple[Difference, ...]) -> Iterator[tuple[str, str, str]]:
    """One row for each fact, and one for all variables that differ in the same way: there may be hundreds."""
    different: list[str] = []
    only_one: list[str] = []
    only_other: list[str] = []
    for fact, first, second in found:
        if not fact.startswith(_VARIABLES):
            yield fact, short_value(first), short_value(second)
        elif first and second:
            different.append(fact.removeprefix(_VARIABLES))
        else:
            (only_one if first else only_other).append(fact.removeprefix(_VARIABLES))
    if different:
        yield "variables with other values", "", _counted(different)
    if only_one or only_other:
        yield "variables only here", _counted(only_one), _counted(only_other)


def _counted(names: list[str]) -> str:
    return f"{len(names)}: {short_value(names)}" if names else ""
