"""Make sure, in a fresh process and with plain Keras, that what was written is what was built."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from torso.errors import IntegrityError
from torso.files import scratch_directory
from torso.keras_bridge import witness
from torso.keras_bridge.freeze import FreezeReport
from torso.keras_bridge.probe import TOLERANCE, Features, largest_difference
from torso.keras_bridge.variables import variables_by_path


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a fresh process without torso found in a saved model, beyond its being the one that was built.

    Attributes:
        features: What the model gives there for the probe's images.
        variables: SHA-256 of the values of each weight, by its path.
        lost: Paths of the variables that train there and not here, or the other way round: Keras has lost the flag.
    """

    features: Features
    variables: Mapping[str, str]
    lost: tuple[str, ...]


def start() -> None:
    """Start the process ahead of the first question, so that it is ready by then."""
    with _lock:
        _running()


def prove(model: keras.Model, frozen: FreezeReport, path: Path, images: np.ndarray, expected: Features) -> Proof:
    """Compare a saved model with the one it was saved from.

    Args:
        model: The one that was saved.
        frozen: What is frozen in it.
        path: The ``.keras`` file.
        images: Images as the model expects them.
        expected: What the model gives for them.

    Raises:
        IntegrityError: The file does not load, or gives other weights or features, or is not frozen in training.
    """
    with scratch_directory() as folder:
        np.save(folder / "images.npy", images)
        found = _ask(
            model_path=str(path.absolute()),
            images_path=str(folder / "images.npy"),
            features_path=str(folder / "features.npz"),
            in_training=frozen.everything,
        )
        if "error" in found:
            _refuse(path, found["error"].split("\n")[0])
        with np.load(folder / "features.npz") as arrays:
            features = dict(zip(expected, (arrays[name] for name in arrays.files), strict=True))
    weights = model.weights
    if found["weights"] != [[list(weight.shape), _digest(weight)] for weight in weights]:
        _refuse(path, "its weights are not those of the model")
    difference = largest_difference(expected, features)
    if not difference <= TOLERANCE:
        _refuse(path, f"its features differ by {difference:.1e} of the largest")
    if found["same_in_training"] is False:
        _refuse(path, "it is frozen, and gives other features in training all the same")
    paths = {id(variable): path for path, variable in variables_by_path(model).items()}
    trains = {paths[id(weights[position])] for position in found["trains"]}
    return Proof(
        features=features,
        variables={paths[id(weight)]: digest for weight, (_, digest) in zip(weights, found["weights"], strict=True)},
        lost=tuple(path for path in paths.values() if (path in trains) != (path in frozen.trains)),
    )


def _refuse(path: Path, cause: str) -> None:
    raise IntegrityError(
        f"{path.name} is not the model that it was written from, as a fresh process reads it",
        notes=[("cause", cause), ("fix", "try again; if it fails again, the network has what Keras does not save")],
    )


def _digest(weight: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight.numpy()).tobytes()).hexdigest()


_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None
_log: Any = None  # the file that the process writes its complaints to


def _ask(**question: Any) -> Mapping[str, Any]:
    """Put a question to the process, to a new one where it has gone meanwhile."""
    with _lock:
        for _ in range(2):
            process = _running()
            assert process.stdin
            assert process.stdout
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            process.wait()
        _log.seek(0)
        last = _log.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return {"error": f"the process that was to read it ended with {process.returncode}: {last}"}


def _running() -> subprocess.Popen[str]:
    global _process, _log
    if _process is None or _process.poll() is not None:
        _end()
        _log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        _process = subprocess.Popen(
            [sys.executable, witness.__file__, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_log,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        )
    return _process


@atexit.register
def _end() -> None:
    """Let the process go; it holds nothing that could be lost."""
    global _process
    if _process is None:
        return
    _process.kill()
    with contextlib.suppress(OSError):  # what was not written any more
        _process.communicate()
    _log.close()
    _process = None


def _forget() -> None:
    """In a fork, the process is the parent's."""
    global _process
    _process = None


os.register_at_fork(after_in_child=_forget)
