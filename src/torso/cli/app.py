"""The verbs, and the words that may stand before them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from torso.cli.result import EXIT_CODES, UsageError
from torso.cli.run import open_missing_streams, run
from torso.cli.shared_options import Verb, shared_options, write_codes
from torso.cli.text import PAGE, page_of
from torso.errors import did_you_mean, known

VERBS: Final = {
    "list": "List the architectures that a spec can name.",
    "show": "Show all that is known of an architecture.",
    "check": "Check specs, and report every error at once.",
    "plan": "Show what would be built, without TensorFlow.",
    "fetch": "Bring weights here, for machines without a connection.",
    "build": "Build, cut, freeze and save backbones.",
    "lock": "Write down what backbones are made of, for build --locked.",
    "verify": "Replay what saved backbones say of themselves.",
    "diff": "Say in which facts two saved backbones differ.",
    "export": "Write a saved backbone for another runtime, and compare.",
    "plugins": "List the plugins, and why some are not in use.",
    "schema": "Print the JSON Schema of a spec, for editors.",
    "completion": "Print the script that makes a shell complete words.",
}


class _Torso(click.Group):
    """The group of verbs; each is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Verb | None:
        if cmd_name not in VERBS:
            return None
        command: Verb = import_module(f"torso.cli.commands.{cmd_name}_command").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not ctx.resilient_parsing:
            notes = [*did_you_mean(args[0], VERBS), known(VERBS, most=len(VERBS))]
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
                    ("TORSO_OFFLINE", "1: connect to nobody; weights are in the cache, or an error"),
                    ("KERAS_HOME", "folder of Keras, whose folder models is the cache; ~/.keras"),
                    ("NO_COLOR", "1: no bold, no colour"),
                ]
            )
        write_codes(formatter, list(EXIT_CODES))

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> NoReturn:
        """Run one command line, and leave with its exit code. (``Any``: the rest is click's.)"""
        words = list(sys.argv[1:] if args is None else args)
        open_missing_streams()
        settings = {"terminal_width": min(page_of(sys.stdout), PAGE), **extra, "standalone_mode": False}
        act = partial(super().main, words or ["--help"], *others, **settings)
        sys.exit(run(act, as_json="--json" in words, debug="--debug" in words))


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
