"""Have a function called in a fresh process without an accelerator, and bring back what it gives or raises."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import torso.errors as errors
from torso.files import disk_error, scratch_directory
from torso.keras_bridge import errand

_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class ElsewhereError(Exception):
    """What another process raised; the cause is its traceback."""


def call(reference: str, *paths: Path, images: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Call ``package.module:function`` with paths, and with images where there are any.

    Returns:
        The arrays that it gives, by name, where it is given images; nothing otherwise.

    Raises:
        TorsoError: It raised that.
        DiskError: A disk was full there, or failed.
        MemoryError: The memory was full there.
        ElsewhereError: It raised something else, or its process was ended.
    """
    module, _, function = reference.partition(":")
    order = {
        "path": sys.path,
        "module": module,
        "file": getattr(sys.modules.get(module), "__file__", None),
        "function": function,
        "paths": [str(path.absolute()) for path in paths],
        "images": images is not None,
    }
    with scratch_directory() as folder:
        (folder / "errand.json").write_text(json.dumps(order), encoding="utf-8")
        if images is not None:
            np.save(folder / "images.npy", images)
        answer = _answer(folder)
        if "error" in answer:
            raise _as_error(answer["error"])
        return {name: np.load(folder / f"{number}.npy") for number, name in enumerate(answer["names"])}


def _answer(folder: Path) -> Mapping[str, Any]:
    log = folder / "log"
    with log.open("wb") as stream:
        done = subprocess.run(
            [sys.executable, errand.__file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
            check=False,
        )
    try:
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        return answer
    except (OSError, ValueError):
        said = log.read_text(encoding="utf-8", errors="replace")
        last = said.strip().rsplit("\n", 1)[-1][:300]
        fact = f"its process ended with {done.returncode}{': ' if last else ''}{last}"
        return {"error": {"kind": "Exception", "fact": fact, "traceback": said}}


def _as_error(told: Mapping[str, Any]) -> Exception:
    """The error of the other process, as one of this."""
    kind = getattr(errors, told["kind"], None)
    error: Exception
    if isinstance(kind, type) and issubclass(kind, errors.TorsoError) and kind is not errors.ManyErrors:
        error = kind(told["fact"], notes=[(label, text) for label, text in told["notes"]])
    elif told.get("number") in _DISK:
        error = disk_error("the files could not be written", OSError(told["number"], told["reason"]))
    elif told["kind"] in ("MemoryError", "ResourceExhaustedError"):
        error = MemoryError(told["fact"])
    else:
        said = told["fact"].strip().split("\n")[0]
        error = ElsewhereError(said if told["kind"] == "Exception" else f"{told['kind']}: {said}".rstrip(": "))
    error.__cause__ = ElsewhereError(f"in another process\n{told['traceback'].rstrip()}")
    return error
