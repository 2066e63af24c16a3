"""The keys of a backbone: what may stand under each, and as what it is kept.

Only the shape is checked here. Whether a name is known, and which options it takes, is for the plan to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from torso.errors import Place, SpecError, TorsoError, did_you_mean, known, raise_all
from torso.spec.nodes import Items, Node, Scalar, Table
from torso.spec.options import Option

Values = dict[str, Any]
"""Checked values by key; None for a value that was refused. ``Any``: each key has a type of its own."""

Readers = Mapping[str, Callable[[str, Node], Any]]
"""For each key that is known: what makes its value of the key's name and the node under it."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A strategy or policy, by name.

    Attributes:
        name: As the user wrote it.
        value: A mapping of its options, or what its main option is to be; None where the name stands alone.
        place: Where the name stands.
    """

    name: str
    value: Node | None = None
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which images a backbone takes, as far as the user says.

    Attributes:
        size: Height and width, in pixels.
        channels: Number of channels.
        adapt: Name of the rule that turns weights for some number of channels into weights for these.
        place: Where all this stands.
        places: Where each of them stands, by key; a default may come from elsewhere.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    adapt: str | None = None
    place: Place = field(default=Place(), compare=False)
    places: Mapping[str, Place] = field(default_factory=dict, compare=False)


def read_keys(owner: str, node: Node, readers: Readers, errors: list[TorsoError]) -> Values:
    """Read a mapping key by key.

    Args:
        owner: What the mapping is, as an error names it.
        node: What the user wrote.
        readers: What may stand there.
        errors: Takes up all that is wrong.
    """
    values: Values = {}
    if not isinstance(node, Table):
        errors.append(SpecError(f"{owner} must be a mapping, not {node}", place=node.place))
        return values
    for key, value in node:
        if key.text not in readers:
            notes = [*did_you_mean(key.text, readers), known(readers)]
            errors.append(SpecError(f"{owner} has no key {key.text!r}", place=key.place, notes=notes))
            continue
        values[key.text] = None
        try:
            values[key.text] = readers[key.text](key.text, value)
        except TorsoError as error:
            errors.append(error)
    return values


def _name(key: str, node: Node) -> Scalar:
    if isinstance(node, Scalar) and node.text:
        return Scalar(node.text, place=node.place)
    raise SpecError(f"{key} must be a name, not {node}", place=node.place)


def _name_or_none(key: str, node: Scalar) -> Scalar:
    if node.text.casefold() in ("", "null", "~") and not node.quoted:
        raise SpecError(f"{key} must be a name, not {node}", place=node.place, notes=[("fix", "write none")])
    return _name(key, node)


def _mapping(key: str, node: Node) -> Table:
    if isinstance(node, Table):
        return node
    raise SpecError(f"{key} must be a mapping, not {node}", place=node.place)


def _weights(key: str, node: Node) -> Node:
    if isinstance(node, Scalar):
        return _name_or_none(key, node)
    if isinstance(node, Table) and len(node):
        return node
    raise SpecError(
        f"{key} must be a name, none or a mapping, not {node}",
        place=node.place,
        notes=[("fix", "write imagenet, or {file: PATH, sha256: HEX}")],
    )


def _choice(key: str, node: Node) -> Choice:
    if isinstance(node, Scalar):
        return Choice(name=_name_or_none(key, node).text, place=node.place)
    if isinstance(node, Table) and len(node) == 1:
        name, value = node.entries[0]
        return Choice(name=name.text, value=value, place=name.place)
    was = f"one of {len(node)} keys" if isinstance(node, Table) else str(node)
    raise SpecError(
        f"{key} must be a name, or a mapping with one key, not {was}",
        place=node.place,
        notes=[("fix", "put the options under the name, as in {pop: {count: 1, unit: block}}")],
    )


_SIZE = Option(name="size", type=int, many=True, minimum=1)
_CHANNELS = Option(name="channels", type=int, minimum=1)


def _size(key: str, node: Node) -> tuple[int, int]:
    if isinstance(node, Scalar):
        side = node.text if node.text.isdigit() else "224"
        raise SpecError(
            f"{key} must be a list of height and width, not {node}",
            place=node.place,
            notes=[("fix", f"write [{side}, {side}]")],
        )
    numbers = cast("tuple[int, ...]", _SIZE.read(node))
    if len(numbers) != 2:
        raise SpecError(
            f"{key} is height and width only, not {len(numbers)} numbers",
            place=node.place,
            notes=[("fix", "channels is a key of its own, as in {size: [224, 224], channels: 3}")],
        )
    return numbers[0], numbers[1]


INPUT: Final[Readers] = {"size": _size, "channels": lambda key, node: _CHANNELS.read(node), "adapt": _name}


def _input(key: str, node: Node) -> InputSpec:
    table = _mapping(key, node)
    errors: list[TorsoError] = []
    values = read_keys(key, table, INPUT, errors)
    raise_all(errors)
    return InputSpec(**values, place=table.place, places={name.text: item.place for name, item in table})


DEFAULTS: Final[Readers] = {"weights": _weights, "input": _input, "truncate": _choice, "freeze": _choice}
BACKBONE: Final[Readers] = {"architecture": _name, "options": _mapping, **DEFAULTS}
