"""Run one command line: write its result to stdout and its errors to stderr, and return the exit code."""

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict
from types import FrameType
from typing import Any, NoReturn

import click

from torso.cli.progress import clear, say
from torso.cli.result import CLOSED_PIPE, Result, errors_of
from torso.cli.text import bold, printable, write
from torso.errors import DiskError, TorsoError


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt("terminated")  # not SystemExit: plugins may raise that, and it is caught


def run(act: Callable[[], Any], *, as_json: bool, debug: bool) -> int:
    """Run ``act``, report its result and return the exit code. (``Any``: a Result, or click's own exit code.)"""
    for name in ("stdout", "stderr"):
        # Where the caller has closed one. The next file that is opened would get its number, and the logs of C++ libraries.
        setattr(sys, name, getattr(sys, name) or open(os.devnull, "w"))  # noqa: SIM115  # for the rest of the process
    # SIGTERM ends a run as Ctrl-C does: every ``finally`` runs, and no partial file stays.
    before = signal.signal(signal.SIGTERM, _terminate) or signal.SIG_DFL  # None: not installed from Python
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *others: say(f"warning: {message}")  # without Python's line of code
            result = act()
    except (click.Abort, KeyboardInterrupt) as stop:  # click turns KeyboardInterrupt into Abort
        word = str(stop.__cause__ or stop) or "interrupted"
        say(word)
        return 143 if word == "terminated" else 130
    except SystemExit as end:  # from click: completion is done, or 1 for a help page into a closed pipe
        return CLOSED_PIPE if end.code == 1 else int(end.code or 0)
    except BaseException as error:  # noqa: BLE001  # all are reported, none as a traceback
        result = Result(document={}, errors=errors_of(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    return _report(result, as_json=as_json, debug=debug) if isinstance(result, Result) else int(result)


def _report(result: Result, *, as_json: bool, debug: bool) -> int:
    errors = [part for error in result.errors for part in error.parts()]
    text, code = result.text, result.code
    clear()
    if as_json:
        document = {**result.document, "errors": list(map(_as_json, errors))} if errors else result.document
        text = json.dumps(document, indent=2, default=str)
    try:
        if text:
            write(text, sys.stdout)
    except OSError as failure:
        # Drop what is still buffered: Python would fail to flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(failure, BrokenPipeError):
            return CLOSED_PIPE
        errors.append(DiskError("cannot write the result to stdout", notes=[("cause", str(failure.strerror))]))
        code = None
    for error in errors:
        if debug and error.__cause__ is not None:
            write("".join(traceback.format_exception(error.__cause__)).rstrip(), sys.stderr)
        write(f"{bold('error:')} {printable(str(error))}", sys.stderr)
    return max((error.exit_code for error in errors), default=0) if code is None else code


def _as_json(error: TorsoError) -> dict[str, Any]:  # Any: JSON
    return {
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
        "fact": error.fact,
        "place": error.place and asdict(error.place),
        "notes": [{"label": label, "text": text} for label, text in error.notes],
    }
