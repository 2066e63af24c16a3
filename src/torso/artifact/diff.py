"""The facts in which two saved backbones, two manifests or two locks differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torso.artifact.manifest import Difference, SavedManifest
from torso.artifact.manifest_file import read_manifest


def diff(one: str | Path, other: str | Path) -> tuple[Difference, ...]:
    """Compare two saved backbones: plan, weights variable by variable, features, freezing, versions.

    Args:
        one: A folder that torso saved.
        other: Another.

    Returns:
        For each fact that differs its path in the manifests, as ``plan.options.alpha`` or ``variables.conv1/kernel`` (by
        the hash of its values), and its value in each of the two; None where it is missing.

    Raises:
        OptionError: One of the folders holds no saved backbone.
        IntegrityError: One of the backbones does not match its manifest.
    """
    return differences(_compared(read_manifest(Path(one))), _compared(read_manifest(Path(other))))


def _compared(manifest: SavedManifest) -> dict[str, Any]:
    """What a manifest says of the backbone itself: not its name, nor where its files were, and no fact twice."""
    document = manifest.to_json()
    for fact in "manifest", "digest", "files", "spec", "name":
        del document[fact]
    for fact in "name", "warnings":
        document["plan"].pop(fact, None)
    if document["weights_file"]:
        del document["weights_file"]["path"]
    document["probe"] = {name: feature["sha256"] for name, feature in document["probe"]["features"].items()}
    return document


def differences(one: Any, other: Any) -> tuple[Difference, ...]:
    """Compare two documents of JSON fact by fact, sorted by path. A list of texts or numbers is one fact."""
    first, second = dict(_facts(one)), dict(_facts(other))
    pairs = ((path, first.get(path), second.get(path)) for path in sorted({*first, *second}))
    return tuple(pair for pair in pairs if pair[1] != pair[2])


def short_value(value: Any) -> str:
    """A fact for a person: the beginning of a hash, the two ends of a long text or list."""
    if value is None:
        return "-"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}…"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:30]}…{text[-29:]}"


def _facts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _facts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for position, below in enumerate(value):
            name = below.get("name", position) if isinstance(below, Mapping) else position
            yield from _facts(below, f"{path}.{name}")
    else:
        yield path, value
