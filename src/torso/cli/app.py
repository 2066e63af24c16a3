"""The commands, and the options before them."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from torso.cli.result import EXIT_CODES, UsageError
from torso.cli.run import run
from torso.cli.shared_options import Command, Session, shared_options, write_exit_codes
from torso.errors import did_you_mean, known

# A new command is one line here and one module, torso/cli/commands/NAME_command.py, whose docstring begins with this line.
COMMANDS: Final = {
    "list": "List the available architectures.",
    "show": "Show an architecture's details, levels and cut points.",
    "check": "Check specs and report every error at once.",
    "plan": "Preview a build without TensorFlow.",
    "fetch": "Download weights into a portable offline bundle.",
    "build": "Build, truncate, freeze and save backbones.",
    "lock": "Write a lock file for reproducible builds.",
    "verify": "Check saved backbones against their manifests.",
    "diff": "Compare two saved backbones, specs or locks.",
    "export": "Convert saved backbones for other runtimes.",
    "bench": "Measure how fast each runtime computes features.",
    "extract": "Compute the features of many pictures.",
    "probe": "Find the best cut for your own pictures.",
    "plugins": "List the plugins, and why some are disabled.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "completion": "Print a shell completion script.",
    "cache": "List the weights files that were downloaded.",
    "help": "Show the help of torso or of a command.",
}
ENVIRONMENT: Final = {
    "TORSO_DISABLED_PLUGINS": "plugins to block, separated by commas",
    "TORSO_DISABLE_PLUGIN_AUTOLOAD": "1: load only built-ins and what -p or --plugins-dir add",
    "TORSO_OFFLINE": "1: use no internet connection; missing weights are an error",
    "KERAS_HOME": "Keras folder (default ~/.keras); weights are cached in its models/ subfolder",
    "NO_COLOR": "1: no bold text",
}


class _Torso(click.Group):
    """The group of commands; a command's module is imported when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: Command = import_module(f"torso.cli.commands.{cmd_name}_command").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            notes = [*did_you_mean(args[0], COMMANDS), known(COMMANDS, most=len(COMMANDS))]
            raise UsageError(f"no such command {args[0]!r}", notes=notes)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):  # click would import every command for its help
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment variables"):
            formatter.write_dl(list(ENVIRONMENT.items()))
        write_exit_codes(formatter, list(EXIT_CODES))
        formatter.write(f"\n{self.epilog}\n")

    def main(self, args: Sequence[str] | None = None, *others: Any, **extra: Any) -> NoReturn:
        """Run one command line, and exit with its code. (``Any``: the other arguments are click's.)"""
        arguments = list(sys.argv[1:] if args is None else args)
        extra |= {"obj": Session(), "standalone_mode": False}
        act = partial(super().main, arguments or ["--help"], *others, **extra)
        sys.exit(run(act, as_json="--json" in arguments, debug="--debug" in arguments))


main = _Torso(
    "torso",
    params=shared_options(),
    help="Turn a name or a YAML entry into a pretrained, truncated, frozen Keras backbone.",
    epilog="More about a command, with an example: torso COMMAND --help",
    subcommand_metavar="COMMAND [ARGUMENTS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(None, "-V", "--version", package_name="torso", message="torso %(version)s", help="Print the version.")(
    main
)
