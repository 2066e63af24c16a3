"""Old keywords of contributed values, accepted until torso 1.0."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from warnings import warn

T = TypeVar("T")


def with_old_keywords(**renamed: str) -> Callable[[type[T]], type[T]]:
    """A class decorator: let a dataclass take keywords, and have attributes, by their old names too, with a warning."""

    def decorate(cls: type[T]) -> type[T]:
        changed: Any = cls
        init = changed.__init__

        @wraps(init)
        def __init__(self: T, **values: Any) -> None:
            for old in renamed.keys() & values.keys():
                _warn(cls, old, renamed[old])
                values[renamed[old]] = values.pop(old)
            init(self, **values)

        changed.__init__ = __init__
        for old, new in renamed.items():
            setattr(cls, old, _renamed_property(cls, old, new))
        return cls

    return decorate


def _renamed_property(cls: type[Any], old: str, new: str) -> property:
    def read(self: object) -> Any:
        _warn(cls, old, new)
        return getattr(self, new)

    return property(read)


def _warn(cls: type[Any], old: str, new: str) -> None:
    warn(f"{old!r} of torso.{cls.__name__} is deprecated: write {new!r}", DeprecationWarning, stacklevel=3)
