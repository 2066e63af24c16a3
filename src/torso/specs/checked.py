"""Values that plugins make: each field is checked against its annotation, and copied so that nobody can change it later."""

import copyreg
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import Field, fields
from functools import cache
from inspect import get_annotations
from itertools import repeat
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

Value = Union[None, bool, int, float, str, tuple["Value", ...]]  # noqa: UP007  # refers to itself, on Python 3.10

copyreg.pickle(MappingProxyType, lambda one: (dict, (dict(one),)))  # type: ignore  # dataclasses.asdict makes copies


class Checked:
    """A base of frozen dataclasses: a TypeError names what is of another type, or an option that is there twice or never."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for field, hint in _fields_of(kind):
            value = getattr(self, field.name)
            if value is not field.default:
                try:
                    object.__setattr__(self, field.name, checked(value, hint))
                except (TypeError, ValueError) as error:
                    owner = f"{kind.__name__} {getattr(self, 'name', '')!r}"
                    raise TypeError(f"{field.name} of {owner} must be {field.type}, not {value!r}") from error
        names, positional = [option.name for option in getattr(self, "options", ())], getattr(self, "positional", None)
        if len({*names}) < len(names) or positional not in (None, *names):
            raise TypeError(f"options need names of their own, and the positional one is one of them: {names}")


@cache
def _fields_of(kind: type[Any]) -> list[tuple[Field[Any], Any]]:
    hints = {name: hint for base in reversed(kind.__mro__) for name, hint in get_annotations(base, eval_str=True).items()}
    return [(field, hints[field.name]) for field in fields(kind)]


def checked(value: Any, hint: Any) -> Any:
    """A value of the annotated type, lists as tuples and mappings read-only; or else a TypeError or ValueError."""
    origin, args = get_origin(hint), get_args(hint)
    is_one = (origin in (Literal, type) and value in args) or (origin is Callable and callable(value))
    if origin in (Union, UnionType):
        for arg in args:
            with suppress(TypeError, ValueError):
                return checked(value, arg)
    elif hint == "Value":
        return checked(value, Value)
    elif origin is tuple and isinstance(value, (tuple, list)):
        hints = repeat(args[0], len(value)) if args[-1] is ... else args
        return tuple(checked(item, arg) for item, arg in zip(value, hints, strict=True))
    elif origin is Mapping and isinstance(value, Mapping):
        return MappingProxyType({checked(key, args[0]): checked(item, args[1]) for key, item in value.items()})
    elif hint in (int, float):
        if isinstance(value, (int, hint)) and not isinstance(value, bool) and abs(value) < 2**63:  # not NaN
            return value
    elif is_one or hint is Any or (isinstance(hint, type) and isinstance(value, hint)):
        return value
    raise TypeError
