"""``torso completion``."""

import click
from click.shell_completion import get_completion_class

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command


@torso_command("completion", example='eval "$(torso completion bash)"      # in ~/.bashrc', codes=(0, 2))
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, session: Session, shell: str) -> Result:
    """Print a shell completion script.

    It completes commands, options, architectures, backbones and plugins. SHELL is bash, zsh or fish. In bash or zsh,
    evaluate the script in the start-up file. In fish, save it as ~/.config/fish/completions/torso.fish.
    """
    complete = get_completion_class(shell)
    assert complete is not None  # click knows all three
    script = complete(context.find_root().command, {}, "torso", "_TORSO_COMPLETE").source().rstrip()
    return Result(document={"shell": shell, "script": script}, text=script)
