"""A small saved backbone, its manifest edited, and what is in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from networks import images, settle

import torso
from torso.artifact.documents import digest_of

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"


def saved_with(registry: torso.Registry, folder: Path, seed: int) -> Path:
    """A backbone on disk; the seed decides its values, and nothing else differs."""
    backbone = torso.create_backbone("TinyNet", name="edge", weights="none", registry=registry)
    settle(backbone.model, images((8, 8, 3), seed=seed))
    backbone.model.get_layer("stem").bias.assign([seed] * 4)
    return backbone.save(folder)


def write_weights(path: Path, registry: torso.Registry, seed: int = 1) -> None:
    """A weights file of TinyNet; the seed decides its values."""
    model = torso.get_base_model("TinyNet", weights="none", registry=registry)
    settle(model, images((8, 8, 3), seed=seed))
    model.get_layer("stem").bias.assign([seed] * 4)
    model.save_weights(path)


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, sign: bool = True) -> None:
    """Change a manifest, and sign it anew as somebody would who wants to deceive."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    if sign:
        manifest["digest"] = digest_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def contents(place: Path) -> dict[str, bytes]:
    """The bytes of every file at a place, by name."""
    if place.is_file():
        return {"": place.read_bytes()}
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
