"""Whose fault an error is: the spec location and the plugin name for errors that come out of plugin code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread

from torso.errors import Place, PluginError, TorsoError
from torso.plugins.info import PluginInfo


@contextmanager
def at_location(location: Place | None) -> Iterator[None]:
    """Attach a spec location to torso's own errors."""
    try:
        yield
    except TorsoError as error:
        for part in error.parts():
            part.at(location)
        raise


@contextmanager
def plugin_errors(plugin: PluginInfo, what: str, location: Place | None = None) -> Iterator[None]:
    """Attach the spec location and the plugin name to errors raised by plugin code; ``what`` is the code's name.

    An error of a class below :class:`torso.TorsoError` is the plugin's refusal, and gets a note. Anything else becomes a
    :class:`torso.PluginError`, but for the user's Ctrl-C.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is KeyboardInterrupt and current_thread() is main_thread():  # signals reach no other thread
            raise
        if isinstance(error, TorsoError) and _is_refusal(error):
            by = ("raised by", str(plugin))
            for part in error.parts():
                part.at(location)
                if plugin.origin != "built-in" and by not in part.notes:
                    part.notes += (by,)
            raise
        notes = [("plugin", str(plugin)), ("see", "--debug for its traceback")]
        raise PluginError(f"{what} failed: {one_line(error)}", place=location, notes=notes) from error


def _is_refusal(error: TorsoError) -> bool:
    """Whether an error of torso can be reported as it is: a plugin may have made it wrongly."""
    with suppress(Exception):
        is_placed = all(isinstance(part.place, Place | None) for part in error.parts())
        return is_placed and error.exit_code in (2, 4, 5, 7) and bool(str(error))
    return False


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = ""
    with suppress(Exception):  # of its __str__
        text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
