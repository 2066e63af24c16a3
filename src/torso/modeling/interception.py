"""Stand between a builder and Keras for a while: in one thread, and leaving no trace."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Handler = Callable[..., Any]
"""Takes the function that it stands for, and that function's arguments."""

_lock = threading.Lock()


class Interception:
    """A function that is replaced while any thread wants it, and acts otherwise for the threads that want it alone.

    Args:
        owner: Returns the class or module that has the function, or None where Keras has moved it.
        name: What the function is called there.
    """

    def __init__(self, owner: Callable[[], Any], name: str) -> None:
        self._owner = owner
        self._name = name
        self._current = threading.local()  # .handler: what acts in this thread
        self._original: Any = None
        self._users = 0

    @contextmanager
    def by(self, handler: Handler) -> Iterator[bool]:
        """Let a handler act in this thread; an outer one of this thread waits.

        Yields:
            Whether it does: the function is where it is looked for.
        """
        owner = self._owner()
        if owner is None:
            yield False
            return
        outer = getattr(self._current, "handler", None)
        self._install(owner)
        self._current.handler = handler
        try:
            yield True
        finally:
            self._current.handler = outer
            self._uninstall(owner)

    def _install(self, owner: Any) -> None:
        with _lock:
            self._users += 1
            if self._users > 1:
                return
            original, current = getattr(owner, self._name), self._current

            def replaced(*args: Any, **kwargs: Any) -> Any:
                handler = getattr(current, "handler", None)
                return original(*args, **kwargs) if handler is None else handler(original, *args, **kwargs)

            self._original = original
            setattr(owner, self._name, replaced)

    def _uninstall(self, owner: Any) -> None:
        with _lock:
            self._users -= 1
            if self._users == 0:
                setattr(owner, self._name, self._original)
                self._original = None


_pauses = 0
_collecting = False


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Do not look for cyclic garbage meanwhile: what is built is kept, and every search walks through all of it."""
    global _pauses, _collecting
    with _lock:
        if _pauses == 0:
            _collecting = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _collecting:
                gc.enable()
