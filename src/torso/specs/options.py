"""Options: what a plugin lets the user set, and how the user's text becomes the value.

The option decides the type of a scalar: for a name ``no`` is the text ``'no'``, for a switch it is an error that says to
write ``false``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from torso.errors import Note, OptionError, Place, SpecError, TorsoError, collect, did_you_mean, known, raise_all
from torso.specs.checked import Checked as Checked, Value as Value, checked
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, must_be, path_of

Options = Mapping[str, Value]

REQUIRED: Final = object()  # the default of an option that must be given

# No leading zeros: 0644 is 420 in YAML 1.1, and 644 in YAML 1.2.
_INT = re.compile(r"[-+]?(0|[1-9](_?[0-9])*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9](_?[0-9])*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# What YAML 1.1 takes for a switch, with what to write.
_SWITCHES = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
_TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True, kw_only=True)
class Option(Checked):
    """One thing the user can set.

    Attributes:
        name: The key in YAML and the keyword in Python.
        type: ``bool``, ``int``, ``float``, ``str``, or ``Path``: a path relative to the folder of the spec.
        default: The value if the user gives none; ``REQUIRED`` if one must be given. If it is None, the user can write
            ``none`` too.
        many: The value is a list of that type.
        choices: The legal values; empty for no such limit.
        minimum: The least legal number, inclusive.
        maximum: The greatest legal number, inclusive.
        doc: One sentence, in the user's words.
    """

    name: str
    type: type[bool] | type[int] | type[float] | type[str] | type[Path]
    default: Any = REQUIRED  # a Value, or REQUIRED
    many: bool = False
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    doc: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        kind: Any = str if self.type is Path else self.type
        checked(self.choices, tuple[kind, ...])
        if self.default is not None and self.default is not REQUIRED:
            object.__setattr__(self, "default", checked(self.default, tuple[kind, ...] if self.many else kind))

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def type_words(self) -> str:
        words = _TYPE_WORDS[self.type]
        return f"a list, each {words}" if self.many else words

    def read(self, node: Node) -> Value:
        """The value of a node; an OptionError that says what to write if it has another type or is not legal."""
        if self.default is None and is_nothing(node):
            return None
        if not self.many:
            return self._read_one(node)
        if not isinstance(node, SequenceNode):
            fix = f"write [{node.text}]" if isinstance(node, ScalarNode) and self._parsed(node.text) is not None else None
            raise must_be(self.name, self.type_words, node, OptionError, fix)
        errors: list[TorsoError] = []
        values = tuple(collect(errors, self._read_one, item) for item in node)
        raise_all(errors)
        return values

    def _read_one(self, node: Node) -> Value:
        if not isinstance(node, ScalarNode):
            raise self._wrong(node, None)
        value = self._typed(node)
        if self.choices and value not in self.choices:
            legal = [*map(str, self.choices), *(["none"] if self.default is None else [])]
            raise self._illegal(node, *did_you_mean(node.text, legal), known(legal))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                raise self._illegal(node, known([f"{self.minimum} or more"]))
            if self.maximum is not None and value > self.maximum:
                raise self._illegal(node, known([f"{self.maximum} or less"]))
        return value

    def _typed(self, node: ScalarNode) -> Value:
        if self.type is Path and node.text:
            return str(path_of(node))
        if self.type is str and node.quoted:
            return node.text
        value = None if node.quoted else self._parsed(node.text)
        if value is None:
            raise self._wrong(node, self._instead(node))
        return value

    def _parsed(self, text: str) -> Value:
        """The value of a text without quotes, or None if it has none of this type."""
        if self.type is str:
            return text or None
        if self.type is bool:
            return {"true": True, "false": False}.get(text)
        if self.type is int and _INT.fullmatch(text) and len(text) < 40:  # Python refuses 4,300 digits
            whole = int(text)
            return whole if whole.bit_length() <= 63 else None  # as in JSON and TensorFlow
        if self.type is float and _FLOAT.fullmatch(text):
            number = float(text)
            return None if isinf(number) else number
        return None

    def _instead(self, node: ScalarNode) -> str | None:
        """What the user may have meant to write, or None."""
        text = node.text
        if self.type is str:
            return "'' for a text without characters"
        if node.quoted:
            return f"{text} without quotes" if self._parsed(text) is not None else None
        if self.type is bool:
            return _SWITCHES.get(text.casefold())
        if (_INT if self.type is int else _FLOAT).fullmatch(text):
            return "a number that fits in 64 bits"
        bare = re.sub(r"^([-+]?)0[0_]*(?=[0-9])", r"\1", text)
        if self._parsed(bare) is not None:
            return f"{bare} without leading zeros"
        if _FLOAT.fullmatch(text) and 1 <= abs(float(text)) < 2**53 and float(text).is_integer():
            return f"{float(text):.0f}"
        return None

    def _wrong(self, node: Node, instead: str | None) -> OptionError:
        subject = f"an item of {self.name}" if self.many else self.name
        return must_be(subject, _TYPE_WORDS[self.type], node, OptionError, instead and f"write {instead}")

    def _illegal(self, node: ScalarNode, *notes: Note) -> OptionError:
        return OptionError(f"{self.name} cannot be {node.text!r}", place=node.place, notes=notes)


def read_options(
    owner: str, options: Iterable[Option], node: Node | None, *, positional: str | None = None, place: Place | None = None
) -> Options:
    """Check what the user wrote; returns one value for each option, in their order, or raises all errors at once.

    ``owner`` is what messages call their owner: ``"architecture 'MobileNetV2'"``. A bare value or a list sets the option
    ``positional``. ``place`` is where to point if nothing is written and a required option is missing.
    """
    if positional is not None and isinstance(node, (ScalarNode, SequenceNode)):
        node = MappingNode(((ScalarNode(positional, place=node.place), node),), node.place)
    if node is not None and not isinstance(node, MappingNode):
        raise SpecError(f"the options of {owner} must be a mapping, not {node}", place=node.place)
    by_name = {option.name: option for option in options}
    errors: list[TorsoError] = []
    values: dict[str, Value] = {}
    for key, item in node or ():
        option = by_name.get(key.text)
        if option is None:
            notes = [*did_you_mean(key.text, by_name), known(by_name)] if by_name else []
            fact = f"{owner} has no option {key.text!r}{'' if by_name else ', nor any other'}"
            errors.append(OptionError(fact, place=key.place, notes=notes))
        else:
            values[option.name] = collect(errors, option.read, item)
    for option in by_name.values():
        if option.required and option.name not in values:
            fact = f"{owner} needs the option {option.name!r}: {option.type_words}"
            errors.append(OptionError(fact, place=place if node is None else node.place))
    raise_all(errors)
    return MappingProxyType({name: values.get(name, option.default) for name, option in by_name.items()})


def is_nothing(node: Node) -> bool:
    """Whether a node is ``none``, ``null``, ``~`` or empty."""
    return isinstance(node, ScalarNode) and not node.quoted and node.text.casefold() in ("none", "null", "~", "")
