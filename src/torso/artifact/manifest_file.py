"""The folder of a saved backbone: ``manifest.json`` and the model that it describes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from torso.artifact.documents import Document, digest_of, is_written_by_torso, read_document
from torso.artifact.manifest import VERSION, SavedManifest
from torso.errors import IntegrityError, OptionError, TorsoError
from torso.files.atomic import put_back_old
from torso.files.hashing import hash_of

NAME: Final = "manifest.json"
MODEL: Final = "model.keras"


def read_manifest(folder: Path) -> SavedManifest:
    """Read the manifest, and check its digest and the hash of the model."""
    document, path = read_manifest_json(folder), folder / NAME
    if document.get("digest") != digest_of(document):
        fix = "undo the change, or build the backbone again from its spec"
        notes = [("see", f"torso verify {folder}"), ("fix", fix)]
        raise IntegrityError(f"{str(path)!r} was changed after it was saved", notes=notes)
    with understood(path):
        manifest = SavedManifest.from_json(document)
        expected, found = manifest.files[MODEL]["sha256"], hash_of_model(folder)
        if found is None:
            raise IntegrityError(f"{str(folder / MODEL)!r} is missing")
        if found != expected:
            notes = [("sha256 expected", expected), ("sha256 found", found)]
            raise IntegrityError(f"{str(folder / MODEL)!r} is not the model that was saved with its manifest", notes=notes)
    return manifest


def read_manifest_json(folder: Path) -> Document:
    """Read the JSON of a manifest, and check no more than its version; an OptionError where there is none."""
    put_back_old(folder)
    try:
        return read_document(folder / NAME, "manifest", VERSION)
    except OSError as error:
        near = [repr(str(one)) for one in (folder.parent, *backbones_in(folder)) if (one / NAME).is_file()]
        notes = [("did you mean", ", ".join(near))] if near else [("fix", "torso build SPEC -o FOLDER, or Backbone.save")]
        if not near and folder.is_file():
            notes = [("fix", f"keras.models.load_model({str(folder)!r}), or weights={{'file': {str(folder)!r}}}")]
        raise OptionError(f"{str(folder)!r} holds no saved backbone: it has no {NAME}", notes=notes) from error


def backbones_in(folder: Path) -> list[Path]:
    """The folder itself if it holds a saved backbone, else the folders in it that do, sorted; itself if none does."""
    inside = sorted(path.parent for path in folder.glob(f"*/{NAME}")) if not (folder / NAME).exists() else []
    return inside or [folder]


def hash_of_model(folder: Path) -> str | None:
    return hash_of(folder / MODEL) if (folder / MODEL).is_file() else None


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
    return is_written_by_torso(folder, NAME, "manifest")
