"""What stands beside every saved model: how it was made, and what must be true of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from torso.errors import IntegrityError, OptionError
from torso.files import hash_of
from torso.graph import Feature, Graph

NAME: Final = "manifest.json"
MODEL: Final = "model.keras"
VERSION: Final = 1

Manifest = Mapping[str, Any]  # JSON


def fingerprint(graph: Graph) -> str:
    """A hash of names, kinds, edges, shapes and ends: equal for equal graphs, in any process."""
    lines = [f"{node.name}|{node.kind}|{','.join(node.inputs)}|{node.shape}|{node.parameters}" for node in graph]
    if graph.ends != (graph.nodes[-1].name,):
        lines.append(f"ends|{','.join(graph.ends)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def features_of(manifest: Manifest) -> tuple[Feature, ...]:
    """The features that a manifest tells of."""
    return tuple(Feature(**{**feature, "shape": tuple(feature["shape"])}) for feature in manifest["features"])


def features_as_json(features: tuple[Feature, ...]) -> list[dict[str, Any]]:
    return [{**asdict(feature), "shape": list(feature.shape)} for feature in features]


def is_saved_backbone(folder: Path) -> bool:
    """Whether a folder holds what torso saves, and nothing besides."""
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return {path.name for path in folder.iterdir()} == {NAME, MODEL} and isinstance(manifest["manifest"], int)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it beside the model, with the model's size and hash."""
    model = folder / MODEL
    files = {MODEL: {"bytes": model.stat().st_size, "sha256": hash_of(model)}}
    text = json.dumps({**manifest, "files": files}, indent=2, ensure_ascii=False, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what a manifest with missing or odd values leads to into an error that says so."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise IntegrityError(f"{str(path)!r} does not say what a manifest says", notes=[("cause", cause)]) from error


def read_manifest(folder: Path) -> Manifest:
    """Read it, and make sure that the model beside it is the one it tells of.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, is of another version, or the model is not the one that was saved.
    """
    path = folder / NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OptionError(f"{str(folder)!r} holds no saved backbone: it has no {NAME}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{str(path)!r} cannot be read", notes=[("cause", str(error))]) from error
    if not isinstance(manifest, dict) or manifest.get("manifest") != VERSION:
        version = manifest.get("manifest") if isinstance(manifest, dict) else None
        raise IntegrityError(
            f"{str(path)!r} is a manifest of version {version}, and this torso reads version {VERSION}",
            notes=[("fix", "use the torso that saved it, or build the backbone again")],
        )
    model = folder / MODEL
    with understood(path):
        expected = {fact: manifest["files"][MODEL][fact] for fact in ("bytes", "sha256")}
    if not model.is_file():
        raise IntegrityError(f"{str(model)!r} is missing")
    for fact, found in (("bytes", model.stat().st_size), ("sha256", hash_of(model))):
        if found != expected[fact]:
            raise IntegrityError(
                f"{str(model)!r} is not the model that was saved with its manifest",
                notes=[(f"{fact} expected", str(expected[fact])), (f"{fact} found", str(found))],
            )
    return manifest
