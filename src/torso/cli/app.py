"""The verbs, and how a run ends: with text or JSON on stdout, errors on stderr, and an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Final, NoReturn

import click

from torso.cli.outcome import CLOSED_PIPE, EXIT_CODES, Outcome, UsageError, errors_of
from torso.cli.session import Verb, shared_options, write_codes
from torso.cli.text import bold, page_of, PAGE, printable, write
from torso.errors import TorsoError, did_you_mean, known

VERBS: Final = {
    "list": "List the architectures that a spec can name.",
    "show": "Show all that is known of an architecture.",
    "check": "Check specs, and report every error at once.",
    "plan": "Show what would be built, without TensorFlow.",
    "build": "Build, cut, freeze and save backbones.",
    "plugins": "List the plugins, and why some are not in use.",
    "schema": "Print the JSON Schema of a spec, for editors.",
    "completion": "Print the script that makes a shell complete words.",
}


class _Terminated(KeyboardInterrupt):  # passes wherever Ctrl-C does; plugins at fault may raise SystemExit
    """SIGTERM came."""


class _Torso(click.Group):
    """The group of verbs; each is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Verb | None:
        if cmd_name not in VERBS:
            return None
        command: Verb = import_module(f"torso.cli.verbs.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not ctx.resilient_parsing:
            notes = [*did_you_mean(args[0], VERBS), known(VERBS)]
            raise UsageError(f"there is no verb {args[0]!r}", notes=notes)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment"):
            formatter.write_dl(
                [
                    ("TORSO_DISABLED_PLUGINS", "names of plugins to block, separated by commas"),
                    ("TORSO_DISABLE_PLUGIN_AUTOLOAD", "1: load only the plugins that are named"),
                    ("NO_COLOR", "1: no bold, no colour"),
                ]
            )
        write_codes(formatter, list(EXIT_CODES))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:
        """Run one command line, and leave with its exit code. (``Any``: what else click passes on to its context.)"""
        words = list(sys.argv[1:] if args is None else args)
        extra.setdefault("terminal_width", min(page_of(sys.stdout), PAGE))
        try:
            with _sigterm_as_interrupt():
                outcome = super().main(words or ["--help"], prog_name, standalone_mode=False, **extra)
        except (click.Abort, KeyboardInterrupt) as stop:
            terminated = isinstance(stop.__cause__ or stop, _Terminated)
            write("terminated" if terminated else "interrupted", sys.stderr)
            sys.exit(143 if terminated else 130)
        except SystemExit as end:  # click's own way out of a closed pipe
            sys.exit(CLOSED_PIPE if isinstance(end.__context__, BrokenPipeError) else end.code)
        except Exception as error:  # noqa: BLE001  # every one is reported, and none is a traceback
            outcome = Outcome(document={}, errors=errors_of(error))
        if not isinstance(outcome, Outcome):  # --help and --version have written what they have
            sys.exit(outcome)
        sys.exit(_report(outcome, as_json="--json" in words, debug="--debug" in words))


def _report(outcome: Outcome, *, as_json: bool, debug: bool) -> int:
    """Write what came of a run; returns the exit code."""
    text = json.dumps(outcome.as_json(), indent=2) if as_json else outcome.text
    try:
        if text and sys.stdout is not None:
            write(text, sys.stdout)
    except BrokenPipeError:
        _forget(sys.stdout)
        return CLOSED_PIPE
    except OSError as error:
        _forget(sys.stdout)
        outcome = Outcome(document={}, errors=(*outcome.errors, *errors_of(error)))
    for error in outcome.errors:
        if debug and error.__cause__ is not None:
            write("".join(traceback.format_exception(error.__cause__)).rstrip(), sys.stderr)
        write(f"{bold('error:', sys.stderr)} {printable(str(error))}", sys.stderr)
    return outcome.exit_code


def _forget(stream: Any) -> None:  # Any: a text stream that stands on a file
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
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


main = _Torso(
    "torso",
    params=[
        *shared_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help="Print the version.",
            callback=lambda ctx, param, value: _version(ctx) if value else None,
        ),
    ],
    help="Pretrained vision backbones from a name or a line of YAML: cut where you say, and frozen for real.",
    epilog="Each verb explains itself: torso VERB --help",
    subcommand_metavar="VERB [ARGUMENTS]...",
)


def _version(context: click.Context) -> None:
    from importlib.metadata import version

    click.echo(f"torso {version('torso')}")
    context.exit()
