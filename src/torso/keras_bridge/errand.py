"""A process of its own that calls one function and ends: whatever that imports, configures or breaks is gone with it.

It is given a folder with ``errand.json``, and leaves ``answer.json`` there. What it prints is no answer.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
    for number, values in enumerate(given.values()):
        np.save(folder / f"{number}.npy", np.asarray(values), allow_pickle=False)
    return {"names": [str(name) for name in given]}


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
    return {
        "kind": type(error).__name__,
        "fact": str(getattr(error, "fact", error)),
        "notes": list(getattr(error, "notes", ())),
        "number": getattr(error, "errno", None),
        "reason": getattr(error, "strerror", None),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    order = json.loads((place / "errand.json").read_text(encoding="utf-8"))
    sys.path[:] = order.pop("path")  # the same packages as whoever asks
    try:
        answer = do(place, **order)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
        answer = {"error": told(error)}
    (place / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
