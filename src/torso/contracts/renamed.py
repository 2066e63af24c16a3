"""Old keywords of contributed values, accepted until torso 1.0."""

from functools import wraps
from typing import Any, Final, TypeVar
from warnings import warn

T = TypeVar("T")

RENAMED: Final = {"main": "positional", "foresee": "static_cut"}


def with_old_keywords(cls: type[T]) -> type[T]:
    """A class decorator: let a dataclass take keywords, and have attributes, by their old names too, with a warning."""
    init: Any = cls.__init__

    def new_name(old: str) -> str:
        warn(f"{old!r} of torso.{cls.__name__} is deprecated: write {RENAMED[old]!r}", DeprecationWarning, stacklevel=3)
        return RENAMED[old]

    @wraps(init)
    def __init__(self: T, **values: Any) -> None:
        for old in RENAMED.keys() & values.keys():
            values[new_name(old)] = values.pop(old)
        init(self, **values)

    for old in RENAMED:
        setattr(cls, old, property(lambda self, old=old: getattr(self, new_name(old))))  # type: ignore[misc]
    cls.__init__ = __init__  # type: ignore[assignment]
    return cls
