"""The keys of a backbone in a spec: which values each takes, and what they become.

Only the shape is checked here. The plan checks names and their options.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from torso.errors import Place, SpecError, TorsoError, collect, did_you_mean, known, raise_all
from torso.specs.nearly_right import with_fix
from torso.specs.options import Option, is_nothing
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, must_be, text_of

Values = dict[str, Any]  # checked values by key, each of its own type; None for a value that was refused
Readers = Mapping[str, Callable[[str, Node], Any]]  # for each known key, how its node becomes the value

# A name that a folder can have on every system, Windows too.
BACKBONE_NAME: Final = "[A-Za-z0-9_]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A truncation strategy, freeze policy or channel adapter, by name."""

    name: str
    value: Node | None = None  # a mapping of its options, or the value of its positional option
    place: Place = field(default=Place(), compare=False)


Size = tuple[int, int] | tuple[None, None]  # height and width in pixels, or any


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Which images a backbone takes; None for what the user does not say."""

    size: Size | None = None
    channels: int | None = None
    adapt: Choice | None = None  # what turns weights for other channels into weights for these
    place: Place = field(default=Place(), compare=False)
    places: Mapping[str, Place] = field(default_factory=dict, compare=False)  # of each key: defaults are written elsewhere


def read_keys(owner: str, node: Node, readers: Readers, errors: list[TorsoError]) -> Values | None:
    """Read a mapping key by key; None if it is no mapping. All that is wrong is added to the errors."""
    if not isinstance(node, MappingNode):
        errors.append(with_fix(must_be(owner, "a mapping", node, SpecError), owner, node))
        return None
    values: Values = {}
    for key, value in node:
        if key.text not in readers:
            notes = [*did_you_mean(key.text, readers), known(readers)]
            error = SpecError(f"{owner} has no key {key.text!r}", place=key.place, notes=notes)
            errors.append(with_fix(error, key.text, value, network=node.get("architecture")))
            continue
        wrong: list[TorsoError] = []
        values[key.text] = collect(wrong, readers[key.text], key.text, value)
        errors += [with_fix(part, key.text, value) for error in wrong for part in error.parts()]
    return values


def merge(below: Values, above: Values) -> Values:
    """The values of both, with those of ``above`` first; ``input`` and ``preprocess`` are merged key by key."""
    both = below | above
    lower, upper = below.get("preprocess"), above.get("preprocess")
    if lower and upper:
        kept = [(key, value) for key, value in lower if upper.get(key.text) is None]
        both["preprocess"] = replace(upper, entries=(*kept, *upper.entries))
    lower, upper = below.get("input"), above.get("input")
    if lower and upper:
        parts = {part: getattr(upper, part) for part in upper.places}
        both["input"] = replace(lower, **parts, place=upper.place, places={**lower.places, **upper.places})
    return both


def check_backbone_name(key: ScalarNode, what: str = "a backbone") -> str:
    """Return the name of a backbone; a SpecError if it cannot be the name of a folder on every system."""
    if re.fullmatch(BACKBONE_NAME, key.text):
        return key.text
    notes = [("known", "1 to 100 letters, digits, '_', '-' and '.'; first no '-' or '.', last no '.'")]
    raise SpecError(f"{what} cannot be called {key.text!r}", place=key.place, notes=notes)


def read_name(key: str, node: Node) -> ScalarNode:
    if isinstance(node, ScalarNode) and node.text:
        return ScalarNode(node.text, place=node.place)
    raise must_be(key, "a name", node, SpecError)


def read_mapping(key: str, node: Node) -> MappingNode:
    if isinstance(node, MappingNode):
        return node
    raise must_be(key, "a mapping", node, SpecError)


def _weights(key: str, node: Node) -> Node:
    if isinstance(node, ScalarNode):
        return read_name(key, node)
    if isinstance(node, MappingNode) and len(node):
        return node
    raise must_be(key, "a name, none or a mapping", node, SpecError, "write imagenet, or {file: PATH, sha256: HEX}")


def read_choice(key: str, node: Node) -> Choice:
    if isinstance(node, ScalarNode):
        return Choice(name=read_name(key, node).text, place=node.place)
    if isinstance(node, MappingNode) and len(node) == 1:
        name, value = node.entries[0]
        return Choice(name=name.text, value=value, place=name.place)
    was = f"one of {len(node)} keys" if isinstance(node, MappingNode) else node
    examples = {"adapt": "{map: [R, G, B, R]}", "weights": "{none: {seed: 7}}"}
    example = examples.get(key, "{pop: {count: 1, allow_partial: true}}")
    fix = f"put the options under the name, as in {example}"
    raise must_be(key, "a name, or a mapping with one key", node, SpecError, fix, was)


def _adapter(key: str, node: Node) -> Choice | None:
    # none takes back an adapter that defaults: or extends: sets
    choice = read_choice(key, node)
    return None if choice.name == "none" and choice.value is None else choice


NONE: Final = (Option(name="seed", type=int, default=None, minimum=0, doc="The same seed gives the same values."),)
REGULARIZE: Final = (
    Option(
        name="l2",
        type=float,
        minimum=0,
        doc="Its product with the sum of squares of every kernel that trains is added to the loss.",
    ),
    Option(name="norm", type=bool, default=False, doc="Scale and offset of normalisation layers, too."),
    Option(name="bias", type=bool, default=False, doc="Biases, too."),
)
POOLING: Final = Option(name="pooling", type=str, default=None, choices=("avg", "max"))
_SIZE = Option(name="size", type=int, many=True, minimum=1)
_CHANNELS = Option(name="channels", type=int, minimum=1)


def _size(key: str, node: Node) -> Size:
    if isinstance(node, SequenceNode):
        sides = tuple(side for side in node if not is_nothing(side))
        numbers = cast("tuple[int, ...]", _SIZE.read(SequenceNode(sides)))
        if len(node.items) == 2 and len(numbers) != 1:
            return numbers if len(numbers) == 2 else (None, None)
    was = text_of(node) if isinstance(node, SequenceNode) else node
    fix = "write [224, 224], or [null, null] for images of any size"
    raise must_be(key, "a list of two whole numbers", node, SpecError, fix, was)


def _input(key: str, node: Node) -> InputSpec:
    mapping = read_mapping(key, node)
    errors: list[TorsoError] = []
    values = read_keys(key, mapping, INPUT, errors) or {}
    raise_all(errors)
    return InputSpec(**values, place=mapping.place, places={name.text: item.place for name, item in mapping})


INPUT: Final[Readers] = {"size": _size, "channels": lambda key, node: _CHANNELS.read(node), "adapt": _adapter}
DEFAULTS: Final[Readers] = {
    "architecture": read_name,
    "weights": _weights,
    "input": _input,
    "preprocess": read_mapping,
    "truncate": read_choice,
    "freeze": read_choice,
    "regularize": lambda key, node: node,
    "pooling": lambda key, node: POOLING.read(node),
}
_PREFIX = {"prefix": lambda key, node: check_backbone_name(read_name(key, node), "a prefix")}
BACKBONE: Final[Readers] = {"architecture": read_name, "options": read_mapping, **DEFAULTS, **_PREFIX}
