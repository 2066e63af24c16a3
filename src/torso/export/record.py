"""``export.json``: what the files beside it are, their inputs and outputs, and how far they are from the Keras model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torso.artifact.manifest import digest_of
from torso.errors import PluginError
from torso.files.hashing import hash_of, open_file

NAME: Final = "export.json"
VERSION: Final = 1
KIND: Final = "an export that torso wrote"

Record = Mapping[str, Any]  # JSON


def is_export(folder: Path) -> bool:
    """Whether a folder holds what torso exported, and nothing else."""
    try:
        with open_file(folder / NAME) as stream:
            record = json.loads(stream.read())
        if not isinstance(record["export"], int) or any(path.is_symlink() for path in folder.rglob("*")):
            return False
        return {*files_in(folder)} == {NAME, *record["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def files_in(folder: Path) -> dict[str, Path]:
    """All files in a folder by their names with ``/``, sorted."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def write_record(record: Record, folder: Path) -> None:
    """Write the record beside the files, with the size and hash of each; a PluginError for a link, a pipe or a device."""
    files = files_in(folder)
    for name, path in files.items():
        if path.is_symlink() or not path.is_file():
            raise PluginError(f"the export has {name!r}, which is no regular file", notes=[("fix", "write plain files")])
    facts = {name: {"bytes": path.stat().st_size, "sha256": hash_of(path)} for name, path in files.items()}
    whole = {**record, "export": VERSION, "files": facts}
    text = json.dumps({**whole, "digest": digest_of(whole)}, indent=2, ensure_ascii=False, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """Read the record of an export."""
    record: Record = json.loads((folder / NAME).read_text(encoding="utf-8"))
    return record
