"""Functions that run in a thread of their own, and functions that are replaced for one thread alone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


def start_thread(work: Callable[[], T]) -> Future[T]:
    """Run a function in a new thread that nobody waits for at exit: Ctrl-C ends the process even if a builder sleeps."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that waits
            result.set_exception(error)

    # Not a ThreadPoolExecutor: Python waits for its threads, and shuts it down before atexit functions run, which may save.
    threading.Thread(target=run, name="torso", daemon=True).start()
    return result


_one_at_a_time = threading.RLock()
_is_patching = ContextVar("_is_patching", default=False)


@contextmanager
def patched(owner: Any, name: str, handler: Callable[..., Any]) -> Iterator[None]:
    """Replace a function for this thread alone: ``handler`` takes the original, and its arguments."""
    thread = threading.get_ident()
    # Threads take turns, or the last would put back what the first had replaced. A builder that builds with torso itself
    # does so in the turn of the thread that waits for it.
    with nullcontext() if _is_patching.get() else _one_at_a_time:
        original = getattr(owner, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            return handler(original, *args, **kwargs) if threading.get_ident() == thread else original(*args, **kwargs)

        token = _is_patching.set(True)
        setattr(owner, name, replaced)
        try:
            yield
        finally:
            setattr(owner, name, original)
            _is_patching.reset(token)
