"""Options: what a plugin lets the user set, and how the user's text becomes the value.

The option decides the type of a scalar, from its text: ``no`` is the text ``'no'`` for a name and an error that says how
to write it for a number. Nothing is guessed and nothing is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Union

from torso.errors import OptionError, Place, SpecError, TorsoError, did_you_mean, known, raise_all
from torso.spec.nodes import Items, Node, Scalar, Table

Value = Union[None, bool, int, float, str, tuple["Value", ...]]
Options = Mapping[str, Value]

REQUIRED: Final = object()
"""The default of an option that must be given."""

_INT = re.compile(r"[-+]?(0|[1-9](_?[0-9])*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9](_?[0-9])*)?(\.[0-9]+|\.)?([eE][-+]?[0-9]+)?")
_TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One thing the user can set.

    Attributes:
        name: The key in YAML and the keyword in Python.
        type: ``bool``, ``int``, ``float`` or ``str``.
        default: The value where the user says nothing; ``REQUIRED`` if one must be given.
        many: The value is a list of that type.
        choices: The legal values, where they are few; empty for no such limit.
        minimum: The least legal number, inclusive.
        maximum: The greatest legal number, inclusive.
        doc: One sentence, in the user's words.
    """

    name: str
    type: type[bool] | type[int] | type[float] | type[str]
    default: Any = REQUIRED  # a Value, or REQUIRED
    many: bool = False
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    doc: str = ""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def type_words(self) -> str:
        """The type as an error says it."""
        words = _TYPE_WORDS[self.type]
        return f"a list, each {words}" if self.many else words

    def read(self, node: Node) -> Value:
        """The value that a node means here.

        Raises:
            OptionError: Wrong type, or outside the legal values; it says what to write.
        """
        if self.many:
            if not isinstance(node, Items):
                raise self._wrong(node)
            return tuple(self._read_one(item) for item in node)
        return self._read_one(node)

    def _read_one(self, node: Node) -> Value:
        if not isinstance(node, Scalar):
            raise self._wrong(node)
        if not node.quoted and node.text.casefold() in ("none", "null", "~", "") and self.default is None:
            return None
        value = self._typed(node)
        if self.choices and value not in self.choices:
            legal = [_shown(choice) for choice in self.choices]
            raise OptionError(
                f"{self.name} cannot be {node.text!r}",
                place=node.place,
                notes=[*did_you_mean(node.text, [str(choice) for choice in self.choices]), known(legal)],
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value, node)
        return value

    def _typed(self, node: Scalar) -> Value:
        text = node.text
        if self.type is str:
            return text
        if node.quoted:
            raise self._wrong(node, f"write {text} without quotes" if self._would_read(text) else None)
        if self.type is bool:
            if text in ("true", "false"):
                return text == "true"
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.casefold())
            raise self._wrong(node, f"write {meant or text.casefold()}" if meant or text.casefold() in ("true", "false") else None)
        if self.type is int and _INT.fullmatch(text):
            return int(text)
        if self.type is float and _FLOAT.fullmatch(text) and re.search(r"[0-9]", text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise self._wrong(node, "write a number below 1.8e308")
            return value
        if re.fullmatch(r"[-+]?0[0-9_]+", text):
            raise self._wrong(node, f"write {text.replace('_', '').lstrip('+-0') or '0'}, without leading zeros")
        raise self._wrong(node)

    def _would_read(self, text: str) -> bool:
        try:
            self._typed(Scalar(text))
        except OptionError:
            return False
        return True

    def _check_range(self, value: float, node: Scalar) -> None:
        if self.minimum is not None and value < self.minimum:
            legal = f"{self.minimum:g} or more"
        elif self.maximum is not None and value > self.maximum:
            legal = f"{self.maximum:g} or less"
        else:
            return
        raise OptionError(f"{self.name} cannot be {node.text}", place=node.place, notes=[("known", legal)])

    def _wrong(self, node: Node, fix: str | None = None) -> OptionError:
        was = f"the text {node.text!r}" if isinstance(node, Scalar) else str(node)
        return OptionError(
            f"{self.name} must be {self.type_words}, not {was}",
            place=node.place,
            notes=[("fix", fix)] if fix else [],
        )


def read_options(owner: str, options: Iterable[Option], node: Node | None, *, place: Place | None = None) -> Options:
    """Turn a mapping of the user's into checked values, defaults filled in.

    Args:
        owner: Whose options these are, as an error names it: ``"architecture 'MobileNetV2'"``.
        options: What can be set.
        node: What the user wrote; None for nothing.
        place: Where to point if a required option is missing and ``node`` is None.

    Returns:
        A read-only mapping with one value for each option, in the order of ``options``.

    Raises:
        TorsoError: All that is wrong with the mapping, at once.
    """
    by_name = {option.name: option for option in options}
    errors: list[TorsoError] = []
    values: dict[str, Value] = {}
    if node is not None and not isinstance(node, Table):
        raise SpecError(f"the options of {owner} must be a mapping, not {node}", place=node.place)
    for key, item in node or ():
        option = by_name.get(key.text)
        if option is None:
            suggestions = did_you_mean(key.text, by_name)
            errors.append(
                OptionError(
                    f"{owner} has no option {key.text!r}", place=key.place, notes=[*suggestions, known(by_name)]
                )
            )
            continue
        try:
            values[option.name] = option.read(item)
        except OptionError as error:
            errors.append(error)
    given = {key.text for key, _ in node or ()}
    for option in by_name.values():
        if option.required and option.name not in given:
            where = node.place if node is not None else place
            errors.append(
                OptionError(f"{owner} needs the option {option.name!r}: {option.type_words}", place=where)
            )
    raise_all(errors)
    return MappingProxyType({name: values.get(name, option.default) for name, option in by_name.items()})


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
