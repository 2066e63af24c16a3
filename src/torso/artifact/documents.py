"""Files of JSON that name their version and carry a digest: manifests, locks, and the records of exports."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torso.errors import IntegrityError

Document = Mapping[str, Any]  # JSON


def digest_of(document: Document) -> str:
    """SHA-256 of everything that a document says, but for the digest itself."""
    facts = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def text_of(document: Document) -> str:
    """The text of a document's file, with its digest."""
    whole = {**document, "digest": digest_of(document)}
    text = json.dumps(whole, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    flat = r"\[[^\[\]{}]*\]|\{[^\[\]{}]{,160}\}"  # a list, or a few facts, on one line; no string has a line end in JSON
    return re.sub(flat, lambda found: re.sub(r"\n *", "", found[0].replace(",\n", ", \n")), text)


def read_document(path: Path, kind: str, version: int) -> Document:
    """Read a document, and check no more than its version; ``kind`` is the key that holds it, and its name in errors."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise  # what to do about that depends on the kind
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise IntegrityError(f"{str(path)!r} cannot be read", notes=[("cause", cause)]) from error
    found = document.get(kind) if isinstance(document, dict) else None
    if found != version:
        newer = isinstance(found, int) and found > version
        fact = f"{str(path)!r} is a {kind} of version {found}, and this torso reads version {version}"
        again = f"lock again: {lock_command(path)} --force" if kind == "lock" else "build it again from its spec"
        fix = "update torso" if newer else again
        raise IntegrityError(fact, notes=[("fix", fix)])
    return dict(document)


def lock_command(path: Path) -> str:
    """The command that writes a lock."""
    specs = [path.with_name(path.name.removesuffix("lock.json") + suffix) for suffix in ("yaml", "yml")]
    return shlex.join(["torso", "lock", str(next(filter(Path.exists, specs), specs[0]))])


def is_written_by_torso(folder: Path, name: str, kind: str) -> bool:
    """Whether a folder holds the files that the document in it names, and nothing else."""
    try:
        document = json.loads((folder / name).read_bytes())
        return isinstance(document[kind], int) and {*files_in(folder)} == {name, *document["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False


def files_in(folder: Path) -> dict[str, Path]:
    """All files in a folder by their names with ``/``, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): path for path in paths}
