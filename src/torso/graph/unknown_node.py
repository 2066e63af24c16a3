"""The error for a node name that a graph does not have: what may be meant, and why the name is not there."""

import itertools
import re
from collections.abc import Iterator, Sequence

from torso.errors import Note, UnknownNameError, known, nearest
from torso.graph.levels import LEVELS
from torso.graph.node import Node, describe


def unknown_node(name: str, network: str, nodes: Sequence[Node], clean: Sequence[Node]) -> UnknownNameError:
    if name in LEVELS:
        notes = [("fix", f"{name} is a level: truncate by level, not by layer")]
        return UnknownNameError(f"node {name!r} is not in {network}", notes=notes)
    _, names = known((node.name for node in reversed(clean)), most=6)
    notes = [*_suggestions(name, network, nodes), ("clean cuts", names)]
    return UnknownNameError(f"node {name!r} is not in {network}", notes=notes)


def _suggestions(name: str, network: str, nodes: Sequence[Node]) -> Iterator[Note]:
    names = {spelling: node for node in reversed(nodes) for spelling in (*node.alias, node.name)}
    calls = [node.name for node in nodes if name and node.layer == name]
    if calls:
        yield "cause", f"the layer {name!r} is called {len(calls)} times"
        yield "did you mean", " or ".join(map(repr, calls))
        return
    stem, _, digits = name.rpartition("_")
    if digits.isdecimal() and stem in names and names[stem].is_numbered:
        # Keras numbers unnamed layers by how many the process has made: the name may be of a second network.
        count = next(count for count in itertools.count(1) if f"{stem}_{count}" not in names)
        last = f"{stem}_{count - 1}" if count > 1 else stem
        number = int(digits) % count
        yield (
            "cause",
            f"Keras counts {stem!r} over everything that the process built; torso counts within {network}, "
            f"{stem!r} to {last!r}",
        )
        yield "did you mean", f"{f'{stem}_{number}' if number else stem!r}, if only {network} was built before"
        return
    near = [spelling for spelling in names if _plain(spelling) == _plain(name)] or nearest(name, names)
    if near:
        best = f"{near[0]!r}  ({describe(names[near[0]])})"
        others = " or ".join(map(repr, near[1:3]))
        yield "did you mean", f"{best}, or {others}" if others else best


def _plain(name: str) -> str:
    """Without what older Keras releases write in another way: ``conv1/relu``, ``Conv_1.bn``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
