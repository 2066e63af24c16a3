"""Whose fault an error is: the spec location and the plugin name for errors that come out of plugin code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

    A :class:`torso.TorsoError` is the plugin's refusal, and gets a note. Anything else becomes a :class:`torso.PluginError`.
    """
    try:
        yield
    except TorsoError as error:
        by = ("raised by", str(plugin))
        for part in error.parts():
            part.at(location)
            if plugin.origin != "built-in" and by not in part.notes:
                part.notes += (by,)
        raise
    except (Exception, SystemExit) as error:  # not KeyboardInterrupt: that is the user
        notes = [("plugin", str(plugin)), ("see", "--debug for its traceback")]
        raise PluginError(f"{what} failed: {one_line(error)}", place=location, notes=notes) from error


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
