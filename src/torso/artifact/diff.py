"""Where two saved backbones are not the same; where two manifests, or two locks, say different things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from torso.artifact.manifest import Difference, Manifest, read_manifest

NOTHING: Final = None
"""What stands for a fact that one of the two does not tell."""


def diff(one: str | Path, other: str | Path) -> tuple[Difference, ...]:
    """The facts in which two saved backbones differ: plan, weights variable by variable, features, freezing, versions.

    Args:
        one: A folder that torso saved.
        other: Another.

    Returns:
        The path of each fact in the manifests, as ``plan.options.alpha`` or ``variables.conv1/kernel`` (by the hash of its
        values), and what each of the two says; None where one says nothing.

    Raises:
        OptionError: One is no saved backbone.
        IntegrityError: One is not what its manifest says.
    """
    first, second = (_told(read_manifest(Path(folder))) for folder in (one, other))
    return differences(first, second)


def _told(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says of the backbone itself: not where its files were, and nothing twice."""
    twice = ("manifest", "digest", "files", "spec", "name")
    told = {fact: value for fact, value in manifest.items() if fact not in twice}
    file = manifest["weights_file"]
    return {
        **told,
        "plan": {fact: value for fact, value in manifest["plan"].items() if fact not in ("name", "warnings")},
        "weights_file": file and {fact: file[fact] for fact in file if fact != "path"},
        "probe": {name: feature["sha256"] for name, feature in manifest["probe"]["features"].items()},
    }


def differences(one: Any, other: Any) -> tuple[Difference, ...]:
    """The facts that differ, in the order of their names.

    Args:
        one: JSON.
        other: JSON of about the same form.

    Returns:
        The path of each fact, as ``frozen.trainable``, and what each of the two says; None where one says nothing. A list
        of texts or numbers is one fact.
    """
    first, second = dict(_facts(one)), dict(_facts(other))
    paths = sorted({*first, *second})
    return tuple(
        (path, first.get(path, NOTHING), second.get(path, NOTHING))
        for path in paths
        if first.get(path, NOTHING) != second.get(path, NOTHING)
    )


def in_words(value: Any, *, most: int = 60) -> str:
    """A fact's value for a person: a hash by its beginning, a long text cut in the middle, and a long list counted."""
    if value is NOTHING:
        return "-"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}…"
    if isinstance(value, list) and len(", ".join(map(str, value))) > most:
        return f"{', '.join(map(str, value[:2]))}, …"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


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
