"""``torso help``."""

import click

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command


@torso_command("help", example="torso help build", codes=(0, 2))
@click.argument("name", required=False, metavar="[COMMAND]")
@click.pass_context
def command(context: click.Context, session: Session, name: str | None) -> Result:
    """Show the help of torso or of a command, as --help does."""
    shown = root = context.find_root()
    if name:
        _, found, _ = root.command.resolve_command(root, [name])  # type: ignore[attr-defined]  # a group
        shown = click.Context(found, info_name=name, parent=root)
    text = shown.get_help()
    return Result(document={"help": text}, text=text)
