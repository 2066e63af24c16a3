"""Run one command line: write its result to stdout and its errors to stderr, and return the exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn, TextIO

import click

from torso.cli.result import CLOSED_PIPE, Result, errors_of
from torso.cli.text import bold, printable, write
from torso.errors import DiskError


class _Terminated(KeyboardInterrupt):  # not SystemExit: plugins may raise that, and it is caught
    """SIGTERM arrived."""


def run(act: Callable[[], Any], *, as_json: bool, debug: bool) -> int:
    """Run ``act``, report its result and return the exit code. (``Any``: a Result, or click's own exit code.)"""
    try:
        with _sigterm_as_interrupt():
            result = act()
    except (click.Abort, KeyboardInterrupt) as stop:  # click turns KeyboardInterrupt into Abort
        terminated = isinstance(stop.__cause__ or stop, _Terminated)
        write("terminated" if terminated else "interrupted", sys.stderr)
        return 143 if terminated else 130
    except SystemExit as end:  # from click: completion is done, or 1 for a help page into a closed pipe
        return CLOSED_PIPE if end.code == 1 else int(end.code or 0)
    except Exception as error:  # noqa: BLE001  # all are reported, none as a traceback
        result = Result(document={}, errors=errors_of(error))
    return _report(result, as_json=as_json, debug=debug) if isinstance(result, Result) else int(result)


def _report(result: Result, *, as_json: bool, debug: bool) -> int:
    errors = result.errors
    text = json.dumps(result.as_json(), indent=2, default=str) if as_json else result.text
    try:
        if text:
            write(text, sys.stdout)
    except BrokenPipeError:
        _discard(sys.stdout)
        return CLOSED_PIPE
    except OSError as failure:
        _discard(sys.stdout)
        errors += (DiskError("cannot write the result to stdout", notes=[("cause", str(failure.strerror))]),)
    for error in errors:
        if debug and error.__cause__ is not None:
            write("".join(traceback.format_exception(error.__cause__)).rstrip(), sys.stderr)
        write(f"{bold('error:')} {printable(str(error))}", sys.stderr)
    return replace(result, errors=errors).exit_code


def open_missing_streams() -> None:
    """Open stdout and stderr where the caller has closed them: Python leaves None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for the rest of the process


def _discard(stream: TextIO) -> None:
    """Drop what the stream still buffers: Python would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end a run as Ctrl-C does: every ``finally`` runs, and no partial file stays."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield
        return
    before = signal.signal(signal.SIGTERM, stop) or signal.SIG_DFL  # None: not installed from Python
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
