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

        def note(old: str) -> str:
            text = f"{old!r} of torso.{cls.__name__} is deprecated: write {renamed[old]!r}"
            warn(text, DeprecationWarning, stacklevel=3)
            return renamed[old]

        @wraps(init)
        def __init__(self: T, **values: Any) -> None:
            for old in renamed.keys() & values.keys():
                values[note(old)] = values.pop(old)
            init(self, **values)

        def __getattr__(self: T, name: str) -> Any:  # called for names that are no attributes
            if name not in renamed:
                raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")
            return getattr(self, note(name))

        changed.__init__, changed.__getattr__ = __init__, __getattr__
        return cls

    return decorate
