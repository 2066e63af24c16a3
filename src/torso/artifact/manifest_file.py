"""The folder of a saved backbone: ``manifest.json`` and the model that it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from torso.artifact.manifest import VERSION, Difference, SavedManifest, digest_of
from torso.errors import IntegrityError, Note, OptionError, TorsoError
from torso.files.atomic import put_back_old
from torso.files.hashing import hash_of, open_file

NAME: Final = "manifest.json"
MODEL: Final = "model.keras"


def read_manifest(folder: Path) -> SavedManifest:
    """Read the manifest, and check its digest and the hash of the model.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, is of another version, was changed, or the model is another one.
    """
    document, path = read_document(folder), folder / NAME
    if document.get("digest") != digest_of(document):
        raise IntegrityError(
            f"{str(path)!r} was changed after it was saved",
            notes=[
                ("see", f"torso verify {folder}"),
                ("fix", "undo the change, or build the backbone again from its spec"),
            ],
        )
    with understood(path):
        manifest = SavedManifest.from_json(document)
        for fact, expected, found in changed_files(folder, manifest):
            notes: list[Note] = []
            if found is not None:
                name = fact.rsplit(".", 1)[-1]
                notes = [(f"{name} expected", str(expected)), (f"{name} found", str(found))]
            problem = "is missing" if found is None else "is not the model that was saved with its manifest"
            raise IntegrityError(f"{str(folder / MODEL)!r} {problem}", notes=notes)
    return manifest


def read_document(folder: Path) -> Mapping[str, Any]:
    """Read the JSON of a manifest, and check no more than its version.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, or is of another version.
    """
    path = folder / NAME
    put_back_old(folder)
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise OptionError(f"{str(folder)!r} holds no saved backbone: it has no {NAME}") from error
    except NotADirectoryError as error:
        raise OptionError(f"{str(folder)!r} is not the folder of a saved backbone") from error
    except (OSError, ValueError, RecursionError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise IntegrityError(f"{str(path)!r} cannot be read", notes=[("cause", cause)]) from error
    written = document.get("manifest") if isinstance(document, dict) else None
    if written != VERSION:
        newer = isinstance(written, int) and written > VERSION
        raise IntegrityError(
            f"{str(path)!r} is a manifest of version {written}, and this torso reads version {VERSION}",
            notes=[("fix", "update torso" if newer else "use the torso that saved it, or build the backbone again")],
        )
    found: Mapping[str, Any] = document
    return found


def changed_files(folder: Path, manifest: SavedManifest) -> Iterator[Difference]:
    """Where the model is not the one that the manifest describes: its size or hash; None where it is missing."""
    if [*manifest.files] != [MODEL]:
        raise ValueError(f"the files are {', '.join(manifest.files) or 'none'}, and not {MODEL}")
    expected, path = manifest.files[MODEL], folder / MODEL
    if not path.is_file():
        yield f"files.{MODEL}", expected["sha256"], None
    elif (size := path.stat().st_size) != expected["bytes"]:
        yield f"files.{MODEL}.bytes", expected["bytes"], size
    elif (found := hash_of(path)) != expected["sha256"]:
        yield f"files.{MODEL}.sha256", expected["sha256"], found


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what missing or odd values in a manifest lead to into an error that names the manifest."""
    try:
        yield
    except TorsoError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise IntegrityError(f"{str(path)!r} is not a valid manifest", notes=[("cause", cause)]) from error


def is_saved_backbone(folder: Path) -> bool:
    """Whether a folder holds what torso saves, and nothing else."""
    try:
        document = read_json(folder / NAME)
        return {path.name for path in folder.iterdir()} == {NAME, MODEL} and isinstance(document["manifest"], int)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read_json(path: Path) -> Any:  # Any: JSON
    """Read a regular file of JSON that names every key once: other readers may take the other of two.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
        ValueError: It is not JSON in UTF-8, or names a key twice.
        RecursionError: It is nested too deep.
    """
    with open_file(path) as stream:
        return json.loads(stream.read().decode("utf-8"), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)!r} twice")
    return found
