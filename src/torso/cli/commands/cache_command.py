"""``torso cache``."""

import click

from torso.builtins.weight_sources import cache_folder
from torso.cli.progress import done
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import format_bytes, plural, table
from torso.files.download import locked

_LEFTOVERS = (".part", ".rejected")


@torso_command("cache", example="torso cache --prune", codes=(0, 2, 5))
@click.option("--prune", is_flag=True, help="Delete unfinished downloads and files with a wrong hash.")
def command(session: Session, prune: bool) -> Result:
    """List the weights files that were downloaded.

    Keras and torso share the folder; KERAS_HOME moves it. Whole files stay with --prune.
    """
    folder = cache_folder()
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    for path in [path for path in files if prune and path.suffix in _LEFTOVERS]:
        with locked(path.with_suffix("")):  # another process may be downloading it
            path.unlink(missing_ok=True)
        done(f"deleted {path.name}")
    sizes = {path.name: path.stat().st_size for path in sorted(files) if path.exists() and path.suffix != ".lock"}
    rows = [(name, format_bytes(size)) for name, size in sizes.items()]
    total = f"{folder}: {plural(len(sizes), 'file')}, {format_bytes(sum(sizes.values()))}"
    text = f"{table(('file', '>size'), rows)}\n\n{total}" if rows else total
    return Result(document={"folder": str(folder), "files": sizes}, text=text)
