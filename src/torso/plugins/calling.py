"""Whose fault it is: errors get the place of the words that led to them, and a plugin's failure the plugin's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torso.errors import Place, PluginError, TorsoError
from torso.plugins import PluginInfo


@contextmanager
def at_location(place: Place | None) -> Iterator[None]:
    """Give torso's own errors the place of the words that led to them."""
    try:
        yield
    except TorsoError as error:
        error.at(place)
        raise


@contextmanager
def plugin_errors(plugin: PluginInfo, what: str, place: Place | None = None) -> Iterator[None]:
    """Turn whatever a plugin's code raises into an error that names the plugin; torso's own errors get the place."""
    try:
        with at_location(place):
            yield
    except TorsoError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what} failed: {one_line(error)}", notes=[("plugin", str(plugin)), ("see", "--debug for its traceback")]
        ) from error


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
