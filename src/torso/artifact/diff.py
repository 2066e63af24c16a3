"""The facts in which two saved backbones, two specs, two locks, or two folders of backbones differ."""

from collections.abc import Iterable, Mapping
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
    (kind, entries), (other_kind, others) = _read(Path(one), registry), _read(Path(other), registry)
    if kind != other_kind:
        fix = "name two specs, two locks, two saved backbones, or two folders of them"
        raise OptionError(f"{str(one)!r} is a {kind}, and {str(other)!r} is a {other_kind}", notes=[("fix", fix)])
    found: list[Difference] = []
    for name in dict.fromkeys([*entries, *others]):
        if name in entries and name in others:
            facts = _differences(entries[name], others[name])
            found += ((f"{name}.{fact}" if name else fact, here, there) for fact, here, there in facts)
        else:
            found.append((name, "is there" if name in entries else None, "is there" if name in others else None))
    return tuple(found)


_Entry = tuple[Mapping[str, Any], dict[str, Any]]  # what the spec of a backbone declares, and all other facts of it


def _read(path: Path, registry: Registry | None) -> tuple[str, dict[str, _Entry]]:
    """What this is, and its backbones by name; a single one is under "": its name does not count."""
    if path.name.endswith(".lock.json"):
        return "lock", {name: ({}, dict(entry)) for name, entry in Lock.read(path).entries.items()}
    if not path.is_dir() and path.suffix in (".yaml", ".yml"):
        plans = make_plans(read_spec(path).values(), registry or Registry.load())
        return "spec", {name: (_declared(plan.declared), {"plan": plan.report()}) for name, plan in plans.items()}
    folders = backbones_in(path)
    entries = {"" if folder == path else folder.name: _saved(read_manifest(folder)) for folder in folders}
    return "saved backbone" if "" in entries else "folder of backbones", entries


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
    return _declared(manifest.spec), document


def _declared(spec: str) -> Mapping[str, Any]:
    """The keys of the one backbone in the text of a spec."""
    (keys,) = yaml.safe_load(spec)["backbones"].values()
    return dict(keys)


def _differences(one: _Entry, other: _Entry) -> Iterable[Difference]:
    """First what the specs say, hashes last. Other versions alone are no difference, but may be the cause of one."""
    (declared, facts), (other_declared, others) = one, other
    probe, other_probe = (each.pop("probe", {"features": {}}) for each in (facts, others))
    found = list(differences(facts, others))
    for name, feature in probe["features"].items():
        there = other_probe["features"].get(name, feature)
        if error_of_described(feature, there) > probe["tolerance"]:
            found.append((f"probe.{name}", feature["sha256"], there["sha256"]))
    if all(fact.startswith(("made_with.", "plugins.")) for fact, *_ in found):
        return ()
    found.sort(key=lambda each: (is_hash(each[1]) or is_hash(each[2]), each[0]))
    return [*differences(declared, other_declared), *found]
