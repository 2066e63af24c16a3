"""Make sure, in a fresh process and with plain Keras, that what was written is what was built."""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import itertools
import json
import os
import selectors
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import keras
import numpy as np

from torso.artifact import witness
from torso.artifact.reference_outputs import TOLERANCE, Features, largest_difference
from torso.errors import IntegrityError
from torso.export.errand import DISK
from torso.export.isolated import (
    fresh_environment,
    fresh_folder,
    fresh_python,
    how_it_ended,
    last_words,
    search_path,
    started,
)
from torso.files.atomic import scratch_directory
from torso.files.disk_errors import no_temporary_file, temporary_file_errors
from torso.modeling.freeze import FreezeReport
from torso.modeling.variable_paths import variables_by_path

LONGEST: Final = 60 * 60
"""Seconds until an answer is given up: a save is not to wait for ever where nobody sits before it, nor to fail on a machine
that takes its time over the largest networks."""

_ENDING: Final = 10  # seconds that a process which has hung up may take to end
_GLANCE: Final = 1.0  # seconds between looks whether a silent process still lives


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
        IntegrityError: The file does not load, or gives other weights or features, or is not frozen in training; or no
            fresh process lived to read it.
        OptionError: No process can be started.
        DiskError: No temporary file can be written; an ``OSError`` passes.
        MemoryError: The memory was full there.
    """
    with scratch_directory() as folder:
        with temporary_file_errors():
            np.save(folder / "images.npy", images)
        found = _ask(
            path,
            model_path=str(path.absolute()),
            images_path=str(folder / "images.npy"),
            features_path=str(folder / "features.npz"),
            in_training=frozen.everything,
        )
        if "error" in found:
            _raise(path, found["error"])
        with np.load(folder / "features.npz") as arrays:
            features = _by_name(path, dict(arrays), expected)
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


def _by_name(path: Path, found: Features, expected: Features) -> Features:
    """The features of the other process under their names here, and of the types here: a file knows no bfloat16."""
    if len(found) != len(expected):
        _refuse(path, f"it gives {len(found)} features, and the model {len(expected)}")
    names = expected if set(found) == set(expected) else found
    return {name: _of_type(path, found[there], expected[name].dtype) for there, name in zip(names, expected, strict=True)}


def _of_type(path: Path, values: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    if values.dtype.kind != "V":
        return values
    if values.dtype.itemsize != kind.itemsize:
        _refuse(path, f"it gives features of {8 * values.dtype.itemsize} bits, and the model {kind}")
    return values.view(kind)


def _raise(path: Path, told: Mapping[str, Any]) -> NoReturn:
    """What the other process raised over the file."""
    if told["number"] in DISK:
        error = OSError(told["number"], os.strerror(told["number"]))
        raise error if error.errno == errno.EIO else no_temporary_file(error)
    if {"MemoryError", "ResourceExhaustedError"} & {*told["kinds"]}:
        raise MemoryError(f"of the fresh process that read {path.name}")
    _refuse(path, f"{told['kinds'][0]}: {told['fact']}".split("\n")[0])


def _refuse(path: Path, cause: str) -> NoReturn:
    raise IntegrityError(
        f"{path.name} is not the model that it was written from, as a fresh process reads it",
        notes=[("cause", cause), ("fix", "try again; if it fails again, the network has what Keras does not save")],
    )


def _digest(weight: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight.numpy()).tobytes()).hexdigest()


class _Witness:
    """The fresh process, and the end of the line to it."""

    def __init__(self) -> None:
        command = [*fresh_python(), witness.__file__, json.dumps(search_path())]
        with temporary_file_errors():
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        try:
            with started():
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    bufsize=0,  # what waits to be written would be written by every fork
                    cwd=fresh_folder(),
                    env=fresh_environment(),
                )
        except BaseException:
            self._log.close()
            raise
        self._heard = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Its answer; None where it has ended without one.

        Raises:
            TimeoutError: It has not answered for too long.
        """
        assert self._process.stdin
        rest = memoryview(json.dumps(question).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
        except OSError:
            return None
        end = time.monotonic() + LONGEST
        while (line := self._line(end)) is not None:
            with contextlib.suppress(ValueError):
                found = json.loads(line)  # something else where a module prints as Python starts
                if isinstance(found, dict) and found.get("number") == question["number"]:
                    return found
        return None

    def _line(self, end: float) -> bytes | None:
        """The next line that it writes; None once there will be no other."""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                lived = self.lives  # asked first: it may write and end in between
                if not selector.select(_GLANCE):  # the line does not end by itself where its own child holds it too
                    if not lived:
                        return None
                    if time.monotonic() > end:
                        raise TimeoutError
                    continue
                if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                    return None
                self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def how_it_ended(self) -> str:
        try:
            return f"{how_it_ended(self._process.wait(_ENDING))}{last_words(self._log)}"
        except subprocess.TimeoutExpired:
            self.end()
            return "hung up"

    def end(self) -> None:
        """Let it go; it holds nothing that could be lost."""
        self._process.kill()
        self._hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk, and will end when that answers
            self._process.wait(_ENDING)

    def forget(self) -> None:
        """Let it be: it belongs to the process that this one is a fork of."""
        self._hang_up()
        self._process.returncode = 0  # or Python complains that it still runs

    def _hang_up(self) -> None:
        for stream in self._process.stdin, self._process.stdout, self._log:
            if stream is not None:
                stream.close()


_lock = threading.Lock()
_process: _Witness | None = None
_numbers = itertools.count()


def _ask(path: Path, **question: Any) -> Mapping[str, Any]:
    """Put a question to the process, to a new one where it has gone meanwhile."""
    with _lock:
        try:
            for _ in range(2):
                process = _running()
                answer = process.answer({"number": next(_numbers), **question})
                if answer is not None:
                    return answer
                cause = process.how_it_ended()
        except TimeoutError:
            _end()
            cause = f"has not answered for {LONGEST // 60} minutes"
        except BaseException:
            _end()  # it is at work on what nobody waits for any more
            raise
    raise IntegrityError(
        f"{path.name} was written, and no fresh process could read it",
        notes=[("cause", f"the process that was to read it {cause}"), ("fix", "try again, with more memory free")],
    )


def _running() -> _Witness:
    global _process
    if _process is None or not _process.lives:
        _end()
        _process = _Witness()
    return _process


@atexit.register
def _end() -> None:
    global _process
    process, _process = _process, None
    if process is not None:
        process.end()


def _forget() -> None:
    """In a fork, the process is the parent's, and so is whoever holds the lock."""
    global _lock, _process
    process, _process = _process, None
    _lock = threading.Lock()
    if process is not None:
        process.forget()


os.register_at_fork(after_in_child=_forget)
