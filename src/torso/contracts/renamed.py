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

        def new_name(old: str) -> str:
            text = f"{old!r} of torso.{cls.__name__} is deprecated: write {renamed[old]!r}"
            warn(text, DeprecationWarning, stacklevel=3)
            return renamed[old]

        @wraps(init)
        def __init__(self: T, **values: Any) -> None:
            for old in renamed.keys() & values.keys():
                values[new_name(old)] = values.pop(old)
            init(self, **values)

        changed.__init__ = __init__
        for old in renamed:
            setattr(cls, old, property(lambda self, old=old: getattr(self, new_name(old))))  # type: ignore[misc]
        return cls

    return decorate
