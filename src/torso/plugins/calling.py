"""What comes out of plugin code: errors get the plugin's name and the spec location, settings of Keras are put back."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any
from warnings import warn

from torso.errors import Place, PluginError, TorsoError
from torso.plugins.info import PluginInfo

DEFAULTS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
_SAFE_MODE = "safe_mode_saving"  # False after keras.config.enable_unsafe_deserialization(), which has no way back


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
    Settings of Keras that the code leaves changed are put back, with a warning.
    """
    before, safe = keras_settings(), _of_this_thread().get(_SAFE_MODE)
    try:
        yield
    except BaseException as error:
        if type(error) is KeyboardInterrupt and current_thread() is main_thread():  # signals reach no other thread
            raise
        if isinstance(error, TorsoError) and error.exit_code in (2, 4, 5, 7):
            by = ("raised by", str(plugin))
            for part in error.parts():
                part.at(location)
                if plugin.origin != "built-in" and by not in part.notes:
                    part.notes += (by,)
            raise
        notes = [("plugin", str(plugin)), ("see", "--debug for its traceback")]
        raise PluginError(f"{what} failed: {one_line(error)}", place=location, notes=notes) from error
    finally:
        after = keras_settings()
        changed = []
        for name in (name for name in before if before[name] != after[name]):
            getattr(sys.modules["keras"].config, f"set_{name}")(before[name])
            changed.append(f"{name} from {before[name]} to {after[name]}")
        if _of_this_thread().get(_SAFE_MODE) != safe:
            _of_this_thread()[_SAFE_MODE] = safe
            changed.append("safe mode, to let files run code")
        if changed:
            warn(f"{plugin}: {what} changed Keras' {', '.join(changed)}; torso has put it back", stacklevel=3)


def keras_settings() -> dict[str, Any]:
    """What the next network of this thread is computed with; before Keras is imported, what its configuration file says."""
    config, settings = getattr(sys.modules.get("keras"), "config", None), dict(DEFAULTS)
    if config is not None:
        settings = {name: getattr(config, name)() for name in DEFAULTS}
    else:
        file = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json").expanduser()
        with suppress(OSError, ValueError, AttributeError):  # it may hold no mapping
            settings |= {name: value for name, value in json.loads(file.read_bytes()).items() if name in DEFAULTS}
    # Not keras.config.dtype_policy(): from then on, one that nobody has set would no longer follow floatx.
    policy = _of_this_thread().get("dtype_policy")
    return {**settings, "dtype_policy": policy.name if policy else settings["floatx"]}


def _of_this_thread() -> dict[str, Any]:
    # A private name of Keras outside of modeling/keras_private.py: that imports Keras, which plugins are listed without.
    state = sys.modules.get("keras.src.backend.common.global_state")
    return vars(state.GLOBAL_STATE_TRACKER) if state else {}


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = ""
    with suppress(Exception):  # of its __str__
        text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
