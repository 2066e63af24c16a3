"""``torso diff``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import click

from torso.artifact.diff import diff, short_value
from torso.artifact.manifest import Difference
from torso.cli.result import DIFFERENT, Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import table


@torso_command("diff", example="torso diff backbones/edge archive/edge", codes=(0, 1, 2, 5, 7))
@click.argument("one", type=click.Path())
@click.argument("other", type=click.Path())
def command(session: Session, one: str, other: str) -> Result:
    """Compare two saved backbones.

    It compares the plans, the weights (variable by variable), the features, what is frozen, and the versions. ONE and
    OTHER are folders written by torso build. TensorFlow is not used.
    """
    found = diff(one, other)
    differences = [dict(zip(("fact", "one", "other"), difference, strict=True)) for difference in found]
    text = table(("fact", one, other), _rows(found)) if found else f"{one} and {other} are the same backbone"
    document = {"same": not found, "differences": differences}
    return Result(document=document, text=text, code=DIFFERENT if found else None)


def _rows(found: Iterable[Difference]) -> Iterator[tuple[str, str, str]]:
    """One row for each fact, and one for all variables that differ in the same way: there may be hundreds."""
    variables = defaultdict(list)  # by whether each of the two has them
    for fact, first, second in found:
        if fact.startswith("variables."):
            variables[first is not None, second is not None].append(fact.removeprefix("variables."))
        else:
            yield fact, short_value(first), short_value(second)
    if both := variables[True, True]:
        yield "variables with other values", "", _counted(both)
    if variables[True, False] or variables[False, True]:
        yield "variables only here", _counted(variables[True, False]), _counted(variables[False, True])


def _counted(names: list[str]) -> str:
    return f"{len(names)}: {short_value(names)}" if names else ""
