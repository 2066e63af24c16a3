"""The facts in which two saved backbones, two specs, two locks, or two folders of backbones differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from torso.artifact.differences import differences, error_of_described, is_hash
from torso.artifact.lock import Lock
from torso.artifact.manifest import Difference, SavedManifest
from torso.artifact.manifest_file import backbones_in, read_manifest
from torso.errors import OptionError
from torso.planning import make_plans
from torso.plugins.registry import Registry
from torso.specs.spec_file import read_spec


def diff(one: str | Path, other: str | Path, *, registry: Registry | None = None) -> tuple[Difference, ...]:
    """Compare two of a kind: saved backbones, folders of them as ``torso build`` writes, specs or locks.

    Args:
        one: A folder that torso saved, a folder of such folders, a spec (``.yaml``) or a lock (``.lock.json``).
        other: Another of the same kind.
        registry: The plugins, for specs; by default those that are installed.

    Returns:
        For each fact that differs its path, and its value in each of the two; None where it is missing. First what the
        specs say (``truncate.layer``), then what follows from it (``plan.options.alpha``), then hashes
        (``variables.conv1/kernel``). In folders, specs and locks of several backbones, paths begin with the backbone's
        name. Nothing where no more than versions differ, and reference outputs within their tolerance.

    Raises:
        OptionError: One is of no kind that can be compared, or they are of two kinds.
        SpecError: One of the specs is wrong.
        IntegrityError: One of the backbones does not match its manifest.
    """
    first, second = _read(Path(one), registry), _read(Path(other), registry)
    if first.kind != second.kind:
        fix = "name two specs, two locks, two saved backbones, or two folders of them"
        raise OptionError(f"{str(one)!r} is a {first.kind}, and {str(other)!r} is a {second.kind}", notes=[("fix", fix)])
    return tuple(_found(first, second))


@dataclass(frozen=True)
class _Side:
    """One of the two that are compared."""

    kind: str
    entries: Mapping[str, _Entry]  # by backbone; under "" for a single one, of which the name does not count


@dataclass(frozen=True)
class _Entry:
    facts: dict[str, Any]
    declared: Mapping[str, Any] = field(default_factory=dict)
    manifest: SavedManifest | None = None


def _read(path: Path, registry: Registry | None) -> _Side:
    if path.name.endswith(".lock.json"):
        return _Side("lock", {name: _Entry(dict(entry)) for name, entry in Lock.read(path).entries.items()})
    if not path.is_dir() and path.suffix in (".yaml", ".yml"):
        plans = make_plans(read_spec(path).values(), registry or Registry.load())
        reports = {name: {"plan": plan.report()} for name, plan in plans.items()}
        return _Side("spec", {name: _Entry(report, _declared(plans[name].declared)) for name, report in reports.items()})
    folders = backbones_in(path)
    entries = {"" if folder == path else folder.name: _saved(read_manifest(folder)) for folder in folders}
    return _Side("saved backbone" if "" in entries else "folder of backbones", entries)


def _saved(manifest: SavedManifest) -> _Entry:
    """What a manifest says of the backbone itself: not its name, nor where its files were, and no fact twice."""
    document = manifest.to_json()
    for fact in "manifest", "digest", "files", "spec", "name":
        del document[fact]
    for fact in "name", "warnings", "provider", "builder":
        document["plan"].pop(fact, None)
    document["plan"]["weights"].pop("file", None)
    if document["weights_file"]:
        del document["weights_file"]["path"]
    document["probe"] = {name: feature["sha256"] for name, feature in document["probe"]["features"].items()}
    return _Entry(document, _declared(manifest.spec), manifest)


def _declared(spec: str) -> Mapping[str, Any]:
    """The keys of the one backbone in the text of a spec."""
    (keys,) = yaml.safe_load(spec)["backbones"].values()
    return dict(keys)


def _found(first: _Side, second: _Side) -> Iterator[Difference]:
    for name in dict.fromkeys([*first.entries, *second.entries]):
        one, other = first.entries.get(name), second.entries.get(name)
        if one is None or other is None:
            yield name, one and "is there", other and "is there"
        else:
            for fact, *values in _of_backbone(one, other):
                yield f"{name}.{fact}" if name else fact, values[0], values[1]


def _of_backbone(one: _Entry, other: _Entry) -> list[Difference]:
    facts, others = one.facts, other.facts
    for name in facts.get("probe", {}).keys() & others.get("probe", {}).keys():
        assert one.manifest and other.manifest  # noqa: PT018  # for the type checker: what has a probe is saved
        features = one.manifest.probe.features[name], other.manifest.probe.features[name]
        if error_of_described(*features) <= one.manifest.probe.tolerance:
            del facts["probe"][name], others["probe"][name]
    found = differences(facts, others)  # other versions alone are no difference, but may be the cause of one
    if all(fact.startswith(("made_with.", "plugins.")) for fact, *_ in found):
        return []
    found = tuple(sorted(found, key=lambda one: is_hash(one[1]) or is_hash(one[2])))
    return [*differences(one.declared, other.declared), *found]
