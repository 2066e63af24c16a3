"""What stands beside every saved model: how it was made, and what must be true of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from torso.errors import IntegrityError, Note, OptionError, TorsoError
from torso.files.hashing import hash_of, hash_of_same, open_file
from torso.graph import Feature, Graph
from torso.plugins import PluginInfo

NAME: Final = "manifest.json"
MODEL: Final = "model.keras"
VERSION: Final = 2

Manifest = Mapping[str, Any]  # JSON
Difference = tuple[str, Any, Any]
"""What is told, as a manifest tells it, and as it was found."""


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


def as_json(value: Any) -> Any:  # Any: a frozen dataclass, and JSON
    """A dataclass as it is once it was written and read."""
    return json.loads(json.dumps(asdict(value)))


def digest_of(manifest: Manifest) -> str:
    """A hash of all that a manifest says, which it bears itself, so that a change by hand does not go unnoticed."""
    said = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def plugins_as_json(plugins: Iterable[PluginInfo]) -> list[dict[str, Any]]:
    """The plugins that something comes from, each once."""
    facts = ("name", "origin", "distribution", "version")
    return [{fact: getattr(plugin, fact) for fact in facts} for plugin in dict.fromkeys(plugins)]


def with_hash(told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a manifest keeps of its weights file, with the hash of what was read: None where that is not there any more."""
    if told is None or "identity" not in told:
        return told
    kept = {fact: value for fact, value in told.items() if fact != "identity"}  # that of a file here says nothing elsewhere
    return {**kept, "sha256": told["sha256"] or hash_of_same(Path(told["path"]), told["identity"])}


def versions() -> dict[str, str | None]:
    """The versions here of what computes."""
    return {name: version_of(name) for name in ("torso", "keras", "tensorflow", "h5py")}


def version_of(distribution: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def read_json(path: Path) -> Any:  # Any: JSON
    """What a regular file says, if it says every fact once: of two, other readers may take the other.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
        ValueError: It is no JSON in UTF-8, or says something twice.
        RecursionError: It goes too deep.
    """
    with open_file(path) as stream:
        return json.loads(stream.read().decode("utf-8"), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"it says {twice!r} twice")
    return found


def is_saved_backbone(folder: Path) -> bool:
    """Whether a folder holds what torso saves, and nothing besides."""
    try:
        manifest = read_json(folder / NAME)
        return {path.name for path in folder.iterdir()} == {NAME, MODEL} and isinstance(manifest["manifest"], int)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it beside the model, with the model's size and hash, and a hash of its own."""
    model = folder / MODEL
    whole = {**manifest, "files": {MODEL: {"bytes": model.stat().st_size, "sha256": hash_of(model)}}}
    text = json.dumps({**whole, "digest": digest_of(whole)}, indent=2, ensure_ascii=False, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what a manifest with missing or odd values leads to into an error that says so."""
    try:
        yield
    except TorsoError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise IntegrityError(f"{str(path)!r} does not say what a manifest says", notes=[("cause", cause)]) from error


def read_manifest(folder: Path) -> Manifest:
    """Read it, and make sure that it is as it was written, and that the model beside it is the one it tells of.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, is of another version, was changed, or the model is another one.
    """
    manifest = parse_manifest(folder)
    path = folder / NAME
    if manifest.get("digest") != digest_of(manifest):
        raise IntegrityError(
            f"{str(path)!r} was changed after it was saved",
            notes=[
                ("see", f"torso verify {folder}"),
                ("fix", "take back what was changed, or build the backbone again from its spec"),
            ],
        )
    for fact, expected, found in changed_files(folder, manifest):
        raise IntegrityError(
            f"{str(folder / MODEL)!r} is not the model that was saved with its manifest"
            if found is not None
            else f"{str(folder / MODEL)!r} is missing",
            notes=_both(fact.rsplit(".", 1)[-1], expected, found) if found is not None else [],
        )
    return manifest


def parse_manifest(folder: Path) -> Manifest:
    """Read it as it stands.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, or is of another version.
    """
    path = folder / NAME
    try:
        manifest = read_json(path)
    except FileNotFoundError as error:
        raise OptionError(f"{str(folder)!r} holds no saved backbone: it has no {NAME}") from error
    except NotADirectoryError as error:
        raise OptionError(f"{str(folder)!r} is no folder with a saved backbone") from error
    except (OSError, ValueError, RecursionError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise IntegrityError(f"{str(path)!r} cannot be read", notes=[("cause", cause)]) from error
    written = manifest.get("manifest") if isinstance(manifest, dict) else None
    if written != VERSION:
        newer = isinstance(written, int) and written > VERSION
        raise IntegrityError(
            f"{str(path)!r} is a manifest of version {written}, and this torso reads version {VERSION}",
            notes=[("fix", "update torso" if newer else "use the torso that saved it, or build the backbone again")],
        )
    found: Manifest = manifest
    return found


def changed_files(folder: Path, manifest: Manifest) -> Iterator[Difference]:
    """Where the files beside a manifest are not those that it tells of; what is not there is None."""
    with understood(folder / NAME):
        if [*manifest["files"]] != [MODEL]:
            raise ValueError(f"the files are {', '.join(manifest['files']) or 'none'}, and not {MODEL}")
        for name, facts in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                yield f"files.{name}", facts["sha256"], None
                continue
            for fact, found in (("bytes", path.stat().st_size), ("sha256", hash_of(path))):
                if facts[fact] != found:
                    yield f"files.{name}.{fact}", facts[fact], found
                    break


def _both(fact: str, expected: object, found: object) -> list[Note]:
    return [(f"{fact} expected", str(expected)), (f"{fact} found", str(found))]
