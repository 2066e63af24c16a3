"""How a run ends: with text or JSON on stdout, errors on stderr, and an exit code."""

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

from torso.cli.result import CLOSED_PIPE, Outcome, errors_of
from torso.cli.text import bold, printable, write
from torso.errors import DiskError


class _Terminated(KeyboardInterrupt):  # passes wherever Ctrl-C does; plugins at fault may raise SystemExit
    """SIGTERM came."""


def run(act: Callable[[], Any], *, as_json: bool, debug: bool) -> int:
    """Do what the command line asks, and tell what came of it.

    Args:
        act: Click's own run, which leads to a verb. (``Any``: it returns the verb's outcome, or the exit code where click
            has written all there is to write.)
        as_json: The outcome is told as JSON.
        debug: Tracebacks are shown.

    Returns:
        The exit code.
    """
    try:
        with _sigterm_as_interrupt():
            outcome = act()
    except (click.Abort, KeyboardInterrupt) as stop:
        terminated = isinstance(stop.__cause__ or stop, _Terminated)
        write("terminated" if terminated else "interrupted", sys.stderr)
        return 143 if terminated else 130
    except SystemExit as end:  # click's own: completion is done, or 1 for a help page into a closed pipe
        return CLOSED_PIPE if end.code == 1 else int(end.code or 0)
    except Exception as error:  # noqa: BLE001  # every one is told of, and none is shown as a traceback
        outcome = Outcome(document={}, errors=errors_of(error))
    return _report(outcome, as_json=as_json, debug=debug) if isinstance(outcome, Outcome) else int(outcome)


def _report(outcome: Outcome, *, as_json: bool, debug: bool) -> int:
    errors = outcome.errors
    text = json.dumps(outcome.as_json(), indent=2, default=str) if as_json else outcome.text
    try:
        if text:
            write(text, sys.stdout)
    except BrokenPipeError:
        _forget(sys.stdout)
        return CLOSED_PIPE
    except OSError as failure:
        _forget(sys.stdout)
        lost = DiskError("the result could not be written to stdout", notes=[("cause", str(failure.strerror))])
        errors = (*errors, lost)
    for error in errors:
        if debug and error.__cause__ is not None:
            write("".join(traceback.format_exception(error.__cause__)).rstrip(), sys.stderr)
        write(f"{bold('error:', sys.stderr)} {printable(str(error))}", sys.stderr)
    return replace(outcome, errors=errors).exit_code


def open_missing_streams() -> None:
    """Give stdout and stderr somewhere to go where the caller has closed them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for the rest of the process


def _forget(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, so that Python does not fail over it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end a run as Ctrl-C does: through every ``finally``."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop) or signal.SIG_DFL  # None: not of Python
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
