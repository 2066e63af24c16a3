"""A process of its own that calls one function and ends: whatever that imports, configures or breaks is gone with it.

It is given a folder with ``errand.json``, and leaves ``answer.json`` there. What it prints is no answer.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What says that a disk is full or fails, and nobody's program is at fault."""


def do(folder: Path, module: str, file: str | None, function: str, paths: list[str], images: bool) -> dict[str, Any]:
    """Call the function, and keep the arrays that it gives by name.

    Args:
        folder: Where ``images.npy`` is, and where ``0.npy``, ``1.npy`` and so on are written.
        module: Where the function is.
        file: The module's file, which is read if the module cannot be imported by its name.
        function: Its name.
        paths: What it is called with.
        images: Whether it gets the images as well.

    Returns:
        ``names``: those of the arrays, in order.
    """
    arguments: list[Any] = [Path(path) for path in paths]
    if images:
        import numpy as np

        arguments.append(np.load(folder / "images.npy"))
    given = _found(module, file, function)(*arguments)
    if not images:
        return {"names": []}
    if not isinstance(given, Mapping):
        raise TypeError(f"it gives no arrays by their names, but a {type(given).__name__}")
    for number, (name, values) in enumerate(given.items()):
        np.save(folder / f"{number}.npy", _numbers(str(name), np.asarray(values)), allow_pickle=False)
    return {"names": [str(name) for name in given]}


def _numbers(name: str, values: Any) -> Any:  # Any: an array; numpy is not imported where it is not needed
    """Values of a type that every numpy knows."""
    if values.dtype.name == "bfloat16":
        return values.astype("float32")
    if values.dtype.kind not in "biufO":  # O: numpy refuses objects itself
        raise TypeError(f"it gives {name!r} as {values.dtype}, which are no numbers")
    return values


def _found(module: str, file: str | None, function: str) -> Callable[..., Any]:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if file is None or error.name != module:
            raise
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None  # a path that ends in .py always has one
        assert spec.loader is not None
        found = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    call: Callable[..., Any] = getattr(found, function)
    return call


def told(error: BaseException) -> dict[str, Any]:
    """What is to be known of an error on the other side."""
    notes = [note for note in _listed(getattr(error, "notes", ())) if len(_listed(note)) == 2]
    parts = _listed(getattr(error, "errors", ())) if type(error).__name__ == "ManyErrors" else []
    return {
        "kind": type(error).__name__,
        "kinds": [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__],
        "fact": _words(getattr(error, "fact", error)),
        "notes": [[_words(part) for part in note] for note in notes],
        "parts": [told(part) for part in parts],
        "number": _number(error),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def _number(error: BaseException) -> int | None:
    """What the system said, where it is the root of it all."""
    number, said = getattr(error, "errno", None), _words(error)
    if isinstance(error, OSError) and isinstance(number, int):
        return number
    if isinstance(error, OSError) and (found := re.search(r"\[Errno (\d+)\]", said)):  # the first of shutil's list
        return int(found[1])
    return next((full for full in (errno.ENOSPC, errno.EDQUOT) if os.strerror(full) in said), None)  # HDF5, TensorFlow


def _words(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # an error that cannot even be told is an error all the same
        return ""


def _listed(value: object) -> list[Any]:  # Any: whatever a plugin has put there
    return list(value) if isinstance(value, (list, tuple)) else []


if __name__ == "__main__":
    place = Path(sys.argv[1])
    order = json.loads((place / "errand.json").read_text(encoding="utf-8"))
    sys.path[:] = order.pop("path")  # the same packages as whoever asks
    try:
        answer = do(place, **order)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        answer = {"error": told(error)}
    try:
        (place / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    except OSError:
        raise SystemExit(os.EX_IOERR) from None  # the log may be lost too
