"""``torso completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb


@verb("completion", example='eval "$(torso completion bash)"      # in ~/.bashrc', codes=(0, 2))
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, session: Session, shell: str) -> Outcome:
    """Print the script that makes a SHELL complete verbs, options, architectures, backbones and plugins.

    In bash or zsh, have the start-up file evaluate it; in fish, save it as ~/.config/fish/completions/torso.fish.
    """
    root = context.find_root()
    complete = get_completion_class(shell)
    assert complete is not None  # one of the three that click knows
    script = complete(root.command, {}, "torso", "_TORSO_COMPLETE").source().rstrip()
    return Outcome(document={"shell": shell, "script": script}, text=script)
