"""Values that a shell can complete; errors of plugins or specs are silent here."""

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click

from torso.errors import TorsoError

Values = Callable[[click.Context, str], Iterable[str]]


def _completion(values: Values) -> Callable[[click.Context, click.Parameter, str], list[Any]]:  # Any: as click has it
    """A completion function for click, from one that takes the context and the incomplete text."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                found = list(values(context, incomplete))
            except (TorsoError, KeyError):  # KeyError: no spec is given yet
                return []
        return [value for value in found if value.casefold().startswith(incomplete.casefold())]

    return complete


def _names(catalogue: str) -> Values:
    """Names of one kind of contributions; qualified ones once ``provider/`` is typed."""
    return lambda context, incomplete: (
        one.qualified if "/" in incomplete else one.name for one in getattr(context.obj.registry(), catalogue)
    )


architecture_names = _completion(_names("architectures"))
export_formats = _completion(_names("export_formats"))


@_completion
def backbone_names(context: click.Context, incomplete: str) -> Iterable[str]:
    from torso.specs.spec_file import read_spec

    return read_spec(Path(context.params["spec"]))


@_completion
def plugin_names(context: click.Context, incomplete: str) -> Iterable[str]:
    from torso.plugins import Plugins

    prefix = "no:" if incomplete.startswith("no:") else ""
    return [prefix + info.name for info in Plugins.load(plugins_dirs=context.obj.plugins_dir)]
