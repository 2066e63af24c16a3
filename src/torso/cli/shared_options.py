"""What all verbs share: the options that may stand before or behind any of them, and the registry that these ask for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from torso.cli.result import EXIT_CODES, Outcome, errors_of
from torso.cli.text import write

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from torso.plugins.registry import Registry


@dataclass
class Session:
    """One run of the command line.

    Attributes:
        plugin: What ``-p`` named.
        plugins_dir: Folders of single files.
        debug: Tracebacks are wanted.
        out: Where the result will be written; while a verb runs, ``sys.stdout`` is something else.
    """

    plugin: list[str] = field(default_factory=list)
    plugins_dir: list[str] = field(default_factory=list)
    debug: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)

    def registry(self) -> Registry:
        """All plugins that are installed or named.

        Raises:
            TorsoError: One that was named is at fault, or not there.
        """
        from torso.plugins.registry import Registry

        registry = Registry.load(plugins=self.plugin, plugins_dirs=self.plugins_dir)
        if self.debug:
            for info in registry.plugins.absent:
                if info.traceback:
                    write(f"{info} is disabled:\n{info.traceback.rstrip()}", sys.stderr)
        return registry


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # Any: of the option's type
    session = context.find_root().ensure_object(Session)
    name = str(parameter.name)
    if isinstance(value, tuple):
        getattr(session, name).extend(value)
    elif value:
        setattr(session, name, value)


def _complete_plugins(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem | str]:
    from torso.cli.completion import plugin_names

    return plugin_names(context, incomplete)


def shared_options() -> list[click.Parameter]:
    """New options that act the same before and behind the verb."""
    return [
        click.Option(
            ["-p", "--plugin"],
            multiple=True,
            metavar="NAME",
            help="Load a plugin, by its name or module; no:NAME blocks one. Repeatable.",
            shell_complete=_complete_plugins,
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--plugins-dir"],
            multiple=True,
            type=click.Path(file_okay=False),
            metavar="DIR",
            help="Load each *.py file of a folder as a plugin. Repeatable.",
            expose_value=False,
            callback=_keep,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Write one JSON document to stdout, errors included.",
            expose_value=False,  # how a run ends is looked up before click has read the words, which may be wrong
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            help="Show the tracebacks of failing plugins and of defects.",
            expose_value=False,
            callback=_keep,
        ),
    ]


class Verb(click.Command):
    """A verb with the shared options, an example, and its exit codes."""

    def __init__(self, *args: Any, example: str = "", codes: Sequence[int] = (), **kwargs: Any) -> None:  # Any: click's
        super().__init__(*args, **kwargs)
        self.params += shared_options()
        self.example = example
        self.codes = codes

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's; it is the Outcome
        with redirect_stdout(sys.stderr):  # what plugins, builders and Keras print is no result
            try:
                return super().invoke(ctx)
            except SystemExit as end:
                raise errors_of(end)[0] from end

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write(f"{' ' * formatter.current_indent}{self.example}\n")
        write_codes(formatter, self.codes)


def write_codes(formatter: click.HelpFormatter, codes: Sequence[int]) -> None:
    """The section of a help page that explains exit codes."""
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), EXIT_CODES[code]) for code in codes])


def verb(name: str, *, example: str, codes: Sequence[int]) -> Callable[[Callable[..., Outcome]], Verb]:
    """Make a verb of a function that takes the session and the verb's own arguments; its docstring is the help."""

    def decorate(function: Callable[..., Outcome]) -> Verb:
        return click.command(name, cls=Verb, example=example, codes=codes)(click.pass_obj(function))

    return decorate
