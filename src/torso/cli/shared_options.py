"""What all commands share: the options that may come before or after any command, and the registry they select."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from torso.cli.completion import plugin_names
from torso.cli.progress import say
from torso.cli.result import EXIT_CODES, Result
from torso.cli.text import write
from torso.files.descriptors import diverted

if TYPE_CHECKING:
    from torso.plugins.registry import Registry


Names = tuple[str, ...]  # the values of an argument or option that can be given several times


@dataclass
class Session:
    """The values of the shared options."""

    plugin: list[str] = field(default_factory=list)
    plugins_dir: list[str] = field(default_factory=list)
    debug: bool = False
    quiet: bool = False

    def registry(self) -> Registry:
        """All plugins that are installed or named; an error if one that was named cannot be used."""
        from torso.plugins.registry import Registry

        registry = Registry.load(plugins=self.plugin, plugins_dirs=self.plugins_dir)
        for info in registry.plugins.absent:
            if self.debug and info.traceback:
                write(f"{info} is disabled:\n{info.traceback.rstrip()}", sys.stderr)
            elif info.status == "disabled" and info.origin == "--plugins-dir":  # the user asked for it
                say(f"warning: {info} is disabled: {info.reason}")
        return registry


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # Any: of the option's type
    name = str(parameter.name)
    if name == "offline" and value:
        os.environ["TORSO_OFFLINE"] = "1"
    elif isinstance(value, tuple):
        getattr(context.obj, name).extend(value)
    elif value:
        setattr(context.obj, name, value)


def shared_options() -> list[click.Parameter]:
    """New options that work the same before and after the command."""
    option = partial(click.Option, expose_value=False, callback=_store)
    plugin_help = "Load a plugin, by its name or module; no:NAME blocks one. Repeatable."
    folder_help = "Load each *.py file of a folder as a plugin. Repeatable."
    json_help = "Write one JSON document to stdout, errors included."
    return [
        option(["-p", "--plugin"], multiple=True, metavar="NAME", help=plugin_help, shell_complete=plugin_names),
        option(["--plugins-dir"], multiple=True, type=click.Path(file_okay=False), metavar="DIR", help=folder_help),
        # Only declared: app.main looks for --json itself, because click may fail before it gets here.
        click.Option(["--json"], is_flag=True, expose_value=False, help=json_help),
        option(["-q", "--quiet"], is_flag=True, help="Report no progress, only warnings and errors."),
        option(["--offline"], is_flag=True, help="Use no internet connection, as TORSO_OFFLINE=1 does."),
        option(["--debug"], is_flag=True, help="Show tracebacks, also those of disabled plugins."),
    ]


class Command(click.Command):
    """A command with the shared options, an example, and its exit codes."""

    def __init__(self, *args: Any, example: str = "", codes: Sequence[int] = (), **kwargs: Any) -> None:  # Any: click's
        super().__init__(*args, **kwargs)
        self.params += shared_options()
        self.example = example
        self.codes = codes

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's; it is the Result
        with redirect_stdout(sys.stderr), diverted(1, to=2):  # plugins, builders and Keras print; stdout is for the result
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write(f"{' ' * formatter.current_indent}{self.example}\n")
        write_exit_codes(formatter, self.codes)


def write_exit_codes(formatter: click.HelpFormatter, codes: Sequence[int]) -> None:
    """The section of a help page that explains exit codes."""
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), EXIT_CODES[code]) for code in codes])


def command(name: str, *, example: str, codes: Sequence[int]) -> Callable[[Callable[..., Result]], Command]:
    """Make a command of a function that takes the session and the command's own arguments; its docstring is the help."""
    return lambda function: click.command(name, cls=Command, example=example, codes=codes)(click.pass_obj(function))
