"""The keys of a backbone: what may stand under each, and as what it is kept.

Only the shape is checked here. Whether a name is known, and which options it takes, is for the plan to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from torso.errors import Place, SpecError, TorsoError, did_you_mean, known, raise_all
from torso.specs.options import Option, is_nothing
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

Values = dict[str, Any]
"""Checked values by key; None for a value that was refused. ``Any``: each key has a type of its own."""

Readers = Mapping[str, Callable[[str, Node], Any]]
"""For each key that is known: what makes its value of the key's name and the node under it."""


BACKBONE_NAME: Final = "[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A strategy, a policy or a rule, by name.

    Attributes:
        name: As the user wrote it.
        value: A mapping of its options, or what its main option is to be; None where the name stands alone.
        place: Where the name stands.
    """

    name: str
    value: Node | None = None
    place: Place = field(default=Place(), compare=False)


Size = tuple[int, int] | tuple[None, None]
"""Height and width in pixels, or both open."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which images a backbone takes, as far as the user says.

    Attributes:
        size: Height and width, in pixels; None and None for images of any size.
        channels: Number of channels.
        adapt: The rule that turns weights for some number of channels into weights for these.
        place: Where all this stands.
        places: Where each of them stands, by key; a default may come from elsewhere.
    """

    size: Size | None = None
    channels: int | None = None
    adapt: Choice | None = None
    place: Place = field(default=Place(), compare=False)
    places: Mapping[str, Place] = field(default_factory=dict, compare=False)


def read_keys(owner: str, node: Node, readers: Readers, errors: list[TorsoError]) -> Values | None:
    """Read a mapping key by key; None if it is something else.

    Args:
        owner: What the mapping is, as an error names it.
        node: What the user wrote.
        readers: What may stand there.
        errors: Takes up all that is wrong.
    """
    if not isinstance(node, MappingNode):
        errors.append(SpecError(f"{owner} must be a mapping, not {node}", place=node.place))
        return None
    values: Values = {}
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


def put_over(below: Values, above: Values) -> Values:
    """The values of both; where both have a key, that of ``above``. The parts of some keys count as keys themselves."""
    both = below | above
    if below.get("preprocess") and above.get("preprocess"):
        both["preprocess"] = _merged(below["preprocess"], above["preprocess"])
    lower, upper = below.get("input"), above.get("input")
    if lower and upper:
        parts = {part: getattr(upper, part) for part in upper.places}
        both["input"] = replace(lower, **parts, place=upper.place, places={**lower.places, **upper.places})
    return both


def _merged(below: MappingNode, above: MappingNode) -> MappingNode:
    """The entries of both tables; where both have a key, that of ``above``."""
    kept = [(key, value) for key, value in below.entries if above.get(key.text) is None]
    return replace(above, entries=(*kept, *above.entries))


def check_backbone_name(key: ScalarNode) -> str:
    """Return a name that can be a folder's on every system.

    Raises:
        SpecError: It cannot.
    """
    if re.fullmatch(BACKBONE_NAME, key.text):
        return key.text
    raise SpecError(
        f"a backbone cannot be called {key.text!r}",
        place=key.place,
        notes=[("known", "1 to 100 letters, digits, '_', '-' and '.'; first no '-' or '.', last no '.'")],
    )


def read_name(key: str, node: Node) -> ScalarNode:
    """The name of something, in quotes or not."""
    if isinstance(node, ScalarNode) and node.text:
        return ScalarNode(node.text, place=node.place)
    raise SpecError(f"{key} must be a name, not {node}", place=node.place)


def _read_name_or_none(key: str, node: ScalarNode) -> ScalarNode:
    if node.text.casefold() in ("", "null", "~") and not node.quoted:
        raise SpecError(f"{key} must be a name, not {node}", place=node.place, notes=[("fix", "write none")])
    return read_name(key, node)


def read_mapping(key: str, node: Node) -> MappingNode:
    """A mapping as it is."""
    if isinstance(node, MappingNode):
        return node
    raise SpecError(f"{key} must be a mapping, not {node}", place=node.place)


def _weights(key: str, node: Node) -> Node:
    if isinstance(node, ScalarNode):
        return _read_name_or_none(key, node)
    if isinstance(node, MappingNode) and len(node):
        return node
    raise SpecError(
        f"{key} must be a name, none or a mapping, not {node}",
        place=node.place,
        notes=[("fix", "write imagenet, or {file: PATH, sha256: HEX}")],
    )


def _choice(key: str, node: Node) -> Choice:
    if isinstance(node, ScalarNode):
        return Choice(name=_read_name_or_none(key, node).text, place=node.place)
    if isinstance(node, MappingNode) and len(node) == 1:
        name, value = node.entries[0]
        return Choice(name=name.text, value=value, place=name.place)
    was = f"one of {len(node)} keys" if isinstance(node, MappingNode) else str(node)
    example = "{map: [R, G, B, R]}" if key == "adapt" else "{pop: {count: 1, allow_partial: true}}"
    raise SpecError(
        f"{key} must be a name, or a mapping with one key, not {was}",
        place=node.place,
        notes=[("fix", f"put the options under the name, as in {example}")],
    )


def _adapter(key: str, node: Node) -> Choice | None:
    """A rule by its name; ``none`` is as if nothing were written, and takes back what is written elsewhere."""
    choice = _choice(key, node)
    return None if choice.name == "none" and choice.value is None else choice


_SIZE = Option(name="size", type=int, many=True, minimum=1)
_CHANNELS = Option(name="channels", type=int, minimum=1)


def _size(key: str, node: Node) -> Size:
    sides = tuple(node) if isinstance(node, SequenceNode) else (node,)
    if isinstance(node, SequenceNode):
        numbers = cast("tuple[int, ...]", _SIZE.read(SequenceNode(tuple(side for side in sides if not is_nothing(side)))))
        if len(sides) == 2 and len(numbers) == 1:
            fix = f"write [{numbers[0]}, {numbers[0]}], or [null, null] for images of any size"
            raise SpecError(f"{key} leaves one side open and not the other", place=node.place, notes=[("fix", fix)])
        if len(sides) == 2:
            return numbers if len(numbers) == 2 else (None, None)
    if len(sides) == 1 and isinstance(sides[0], ScalarNode):
        side = "null" if is_nothing(sides[0]) else sides[0].text
        fix = f"write [{side}, {side}]"
    else:
        fix = "height and width only; channels is a key of its own, as in {size: [224, 224], channels: 3}"
    was = f"a list of {len(sides)}" if isinstance(node, SequenceNode) else node
    raise SpecError(f"{key} must be a list of two whole numbers, not {was}", place=node.place, notes=[("fix", fix)])


def _input(key: str, node: Node) -> InputSpec:
    table = read_mapping(key, node)
    errors: list[TorsoError] = []
    values = read_keys(key, table, INPUT, errors) or {}
    raise_all(errors)
    return InputSpec(**values, place=table.place, places={name.text: item.place for name, item in table})


INPUT: Final[Readers] = {
    "size": _size,
    "channels": lambda key, node: _CHANNELS.read(node),
    "adapt": _adapter,
}
DEFAULTS: Final[Readers] = {
    "architecture": read_name,
    "weights": _weights,
    "input": _input,
    "preprocess": read_mapping,
    "truncate": _choice,
    "freeze": _choice,
}
BACKBONE: Final[Readers] = {"architecture": read_name, "options": read_mapping, **DEFAULTS}
