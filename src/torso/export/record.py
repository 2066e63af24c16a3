"""What stands beside every export: what the files are, what goes in and comes out, and how far that is from the model."""

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
    """Whether a folder holds what torso exported, and nothing besides."""
    try:
        with open_file(folder / NAME) as stream:
            record = json.loads(stream.read())
        if not isinstance(record["export"], int) or any(path.is_symlink() for path in folder.rglob("*")):
            return False
        return {*files_in(folder)} == {NAME, *record["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder and those below it, by their names with ``/``, sorted."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def write_record(record: Record, folder: Path) -> None:
    """Write it beside the files, with the size and the hash of each, and a hash of its own.

    Raises:
        PluginError: There is a link, a pipe or a device among them.
    """
    files = files_in(folder)
    for name, path in files.items():
        if path.is_symlink() or not path.is_file():
            raise PluginError(f"the export has {name!r}, which is no file of its own", notes=[("fix", "write plain files")])
    facts = {name: {"bytes": path.stat().st_size, "sha256": hash_of(path)} for name, path in files.items()}
    whole = {**record, "export": VERSION, "files": facts}
    text = json.dumps({**whole, "digest": digest_of(whole)}, indent=2, ensure_ascii=False, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """Read what was just written."""
    record: Record = json.loads((folder / NAME).read_text(encoding="utf-8"))
    return record
