"""Words that a shell can complete; whatever is wrong with plugins or specs, completion stays quiet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torso.cli.shared_options import Session
from torso.errors import TorsoError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Words = list["CompletionItem | str"]


def architecture_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> Words:
    """Bare names, or those behind ``provider/`` once that is typed."""
    words: list[str] = []
    with _quietly():
        catalogue = _session(context).registry().architectures
        words = [one.qualified if "/" in incomplete else one.name for one in catalogue]
    return _beginning(words, incomplete)


def export_formats(context: click.Context, parameter: click.Parameter, incomplete: str) -> Words:
    """Bare names, or those behind ``provider/`` once that is typed."""
    words: list[str] = []
    with _quietly():
        catalogue = _session(context).registry().export_formats
        words = [one.qualified if "/" in incomplete else one.name for one in catalogue]
    return _beginning(words, incomplete)


def backbone_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> Words:
    """The backbones of the spec that stands before them."""
    words: list[str] = []
    with _quietly():
        from torso.specs.spec_file import read_spec

        words = list(read_spec(Path(context.params["spec"])).backbones)
    return _beginning(words, incomplete)


def plugin_names(context: click.Context, incomplete: str) -> Words:
    """What can stand behind ``-p``."""
    words: list[str] = []
    with _quietly():
        from torso.plugins import Plugins

        words = [info.name for info in Plugins.load(plugins_dirs=_session(context).plugins_dir)]
    prefix = "no:" if incomplete.startswith("no:") else ""
    return _beginning([prefix + word for word in words], incomplete)


@contextmanager
def _quietly() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            yield
        except (TorsoError, KeyError):  # KeyError: no spec stands there yet
            return


def _session(context: click.Context) -> Session:
    return context.find_root().ensure_object(Session)


def _beginning(words: Iterable[str], incomplete: str) -> Words:
    folded = incomplete.casefold()
    return [word for word in words if word.casefold().startswith(folded)]
