"""A process that forks for each order, so that a fault can happen at any operation of the fork that changes a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = r"""
import io, json, os, resource, signal, sys, time, traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from torso.files import atomic
from torso.files.atomic import staged_directory, staged_file

plugins = sys.argv[1]
if sys.argv[2] == "heavy":  # imported once; TensorFlow computes in the forks alone, for it does not survive one
    import torso, torso.api, torso.artifact.load, torso.artifact.save, torso.export.write, torso.modeling.build
    import torso.extraction.extract, torso.runtimes
    from torso.cli import main


class Fault:
    def __init__(self, at, kind, lasts):
        self.at, self.kind, self.lasts, self.count, self.off, self.began = at, kind, lasts, 0, False, time.monotonic()

    def step(self, name):
        if self.off:
            return
        self.count += 1
        if self.count == self.at or (self.lasts and self.count > self.at and not name.startswith(("os.remove", "os.rmdir"))):
            say(at=name)
            if self.kind == "kill":
                os.kill(os.getpid(), 9)
            raise MemoryError if self.kind == "memory" else OSError(self.kind, os.strerror(self.kind))

    def hear(self, event, arguments):
        if event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "os.truncate"):
            self.step(event)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            # but for a device, and what TensorFlow generates and catches itself
            if arguments[0] != os.devnull and "__autograph_generated" not in str(arguments[0]):
                self.step("open")

    def watch(self, moment=None):
        def watched(name, function):
            def step(*arguments):
                self.step(name)
                return function(*arguments)
            return step

        os.fsync = watched("fsync", os.fsync)
        atomic._exchange = watched("exchange", atomic._exchange)
        sys.addaudithook(self.hear)
        signal.setitimer(signal.ITIMER_REAL, moment or 0)  # as good as killed once that is over
        self.began = time.monotonic()


def say(**facts):
    os.write(tongue, json.dumps(facts).encode() + b"\n")


def perform(fault, action, place, width=4, swaps=True, limit=None, moment=None, spec=None):
    place = Path(place)
    if not swaps:
        atomic._exchange = lambda one, other: False
    if action == "file":
        fault.watch()
        with staged_file(place, force=True) as stage:
            stage.write_text(str(width))
    elif action == "folder":
        fault.watch()
        with staged_directory(place, force=True, ours=lambda folder: (folder / "b").is_file()) as stage:
            for name in "ab":
                (stage / name).write_text(str(width))
    elif action == "verify":
        say(holds=torso.verify(place).holds, name=torso.load(place).name)
    elif action in ("lock", "build"):
        output = ["-o", str(place.parent)] if action == "build" else []
        fault.watch(moment)
        command(fault, ["--plugins-dir", plugins, action, spec, *output, "--force"])
    elif action == "extract":
        photos = str(place.parent / "photos")
        fault.watch(moment)
        command(fault, ["--plugins-dir", plugins, action, spec, "edge", photos, "-o", str(place), "--shard", "4"])
    else:
        registry = torso.Registry.load(plugins_dirs=[plugins])
        backbone = torso.create_backbone("TinyNet", name="edge", weights="none", options={"width": width}, registry=registry)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        fault.watch(moment)
        if action == "save":
            backbone.save(place, force=True)
        else:
            backbone.export(place, to="saved_model", force=True, registry=registry)


def command(fault, words):
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words, "torso")
    except SystemExit as end:
        fault.off = True
        errors = err.getvalue()
        say(code=end.code or 0, errors=errors[errors.find("error: "):] if "error: " in errors else "", all=errors)


def work(order):
    os.setpgid(0, 0)
    os.dup2(2, 1)
    fault = Fault(order.pop("at", None), order.pop("fault", None), order.pop("lasts", False))
    try:
        perform(fault, **order)
    except BaseException as error:
        fault.off = True
        say(kind=type(error).__name__, text=str(error), trace=traceback.format_exc())
    fault.off = True
    say(operations=fault.count, seconds=time.monotonic() - fault.began)


for line in sys.stdin:
    hearing, tongue = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(hearing)
        try:
            work(json.loads(line))
        finally:
            os._exit(0)
    os.close(tongue)
    facts = {}
    with open(hearing) as stream:
        for said in stream:
            facts.update(json.loads(said))
    facts["status"] = os.waitpid(pid, 0)[1]
    print(json.dumps(facts), flush=True)
"""


class Laboratory:
    """The process; ``heavy`` has imported TensorFlow."""

    def __init__(self, plugins: Path, *, heavy: bool = False) -> None:
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(plugins), "heavy" if heavy else "light"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **quiet},
            text=True,
        )

    def do(self, action: str, place: Path, **order: Any) -> dict[str, Any]:
        """Carry out an order, and return what came of it: ``status`` is the signal that ended it, or 0.

        Args:
            action: ``file`` or ``folder`` (a stage alone), ``save``, ``export``, ``build``, ``lock``,
                ``extract`` or ``verify``.
            place: Where to.
            **order: ``at`` which operation the ``fault`` happens (``"kill"``, ``"memory"`` or a number of :mod:`errno`),
                and whether it ``lasts``; after which ``moment`` (seconds) it is killed; the ``limit`` on the size of files
                in bytes; the ``width`` of the network; whether the system ``swaps`` folders in one step.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"action": action, "place": str(place), **order}) + "\n")
        self.process.stdin.flush()
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts

    def end(self) -> None:
        self.process.communicate("")
