"""``export.json``: what the files beside it are, their inputs and outputs, and how far they are from the Keras model."""

from pathlib import Path
from typing import Final

from torso.artifact.documents import Document, files_in, is_written_by_torso, text_of
from torso.errors import PluginError
from torso.files.hashing import hash_of

NAME: Final = "export.json"
VERSION: Final = 1


def is_export(folder: Path) -> bool:
    """Whether a folder holds what torso exported, and nothing else."""
    return is_written_by_torso(folder, NAME, "export")


def write_record(record: Document, folder: Path) -> None:
    """Write the record beside the files, with the size and hash of each; a PluginError for a link, a pipe or a device."""
    facts = {}
    for name, path in files_in(folder).items():
        if path.is_symlink() or not path.is_file():
            raise PluginError(f"the export has {name!r}, which is no regular file", notes=[("fix", "write plain files")])
        facts[name] = {"bytes": path.stat().st_size, "sha256": hash_of(path)}
    (folder / NAME).write_text(text_of({**record, "export": VERSION, "files": facts}), encoding="utf-8")
