"""``torso diff``."""

import re
from collections.abc import Iterable, Iterator

import click

from torso.artifact.diff import diff
from torso.artifact.differences import short_value
from torso.artifact.manifest import Difference
from torso.cli.result import DIFFERENT, Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import table


@torso_command("diff", example="torso diff backbones/edge archive/edge", codes=(0, 1, 2, 5, 7))
@click.argument("one", type=click.Path())
@click.argument("other", type=click.Path())
def command(session: Session, one: str, other: str) -> Result:
    """Compare two saved backbones, specs or locks.

    ONE and OTHER are two saved backbones, two folders of them as torso build writes, two specs, or two locks. First come
    the keys of the specs, then what follows: plans, features, what is frozen, versions, and hashes of the weights.
    TensorFlow is not used.
    """
    found = diff(one, other, registry=session.registry())
    differences = [dict(zip(("fact", "one", "other"), difference, strict=True)) for difference in found]
    text = table(("fact", one, other), _rows(found)) if found else f"{one} and {other} are the same"
    document = {"same": not found, "differences": differences}
    return Result(document=document, text=text, code=DIFFERENT if found else None)


def _rows(found: Iterable[Difference]) -> Iterator[tuple[str, str, str]]:
    """One row for each fact, and one for all variables or layers that differ in the same way: there may be hundreds."""
    groups: dict[tuple[str, bool, bool], list[str]] = {}  # by backbone and kind, and by whether each of the two has them
    for fact, first, second in found:
        match, both = re.match(r"(.*?)(variables|graph\.layers)\.(.+)", fact), None not in (first, second)
        if match is None or (both and match[2] != "variables"):
            yield fact, short_value(first), short_value(second)
        else:
            name = match[3] if match[2] == "variables" else match[3].rpartition(".")[0]  # of a setting of a layer
            group = match[1] + match[2].removeprefix("graph."), first is not None, second is not None
            groups.setdefault(group, []).append(name)
    for (kind, here, there), names in groups.items():
        unique = list(dict.fromkeys(names))
        counted = f"{len(unique)}: {short_value(unique)}"
        if here and there:
            yield f"{kind} with other values", "", counted
        else:
            yield f"{kind} only here", counted if here else "", counted if there else ""
