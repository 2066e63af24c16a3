"""A lock: what the backbones of a spec are made of, down to versions and hashes. It is kept beside the spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from torso.artifact.diff import differences, short_value
from torso.artifact.documents import digest_of, read_document, text_of
from torso.artifact.manifest import Difference, Manifest, PluginRecord, as_json, plugin_records, versions
from torso.errors import IntegrityError, Note, OptionError, TorsoError, collect, known, raise_all
from torso.planning import Plan

VERSION: Final = 1
_FIX: Note = ("fix", "go back to what is locked, or lock the new state: torso lock")


def read_lock(spec: str | Path, plans: Iterable[Plan]) -> Lock:
    """Read the lock beside a spec, and refuse everything in the plans that is not locked, at once."""
    lock = Lock.read(lock_path(spec))
    errors: list[TorsoError] = []
    for plan in plans:
        collect(errors, lock.check_plan, plan)
    raise_all(errors)
    return lock


def lock_path(spec: str | Path) -> Path:
    """The path of a spec's lock: ``backbones.lock.json`` beside ``backbones.yaml``."""
    return Path(spec).with_suffix(".lock.json")


@dataclass(frozen=True)
class Lock:
    """What the backbones of a spec must be."""

    path: Path
    entries: Mapping[str, Mapping[str, Any]]  # by backbone, what decides what it computes; nothing of this machine

    @classmethod
    def of(cls, path: Path, manifests: Iterable[Manifest]) -> Lock:
        return cls(path, {manifest.name: _entry(manifest) for manifest in manifests})

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock; an OptionError where there is none, and an IntegrityError where it was changed by hand."""
        try:
            document = read_document(path, "lock", VERSION)
        except OSError as error:
            fix = f"torso lock {path.name.removesuffix('.lock.json')}.yaml, and keep it beside the spec"
            raise OptionError(
                f"there is no {str(path)!r}, and --locked builds what a lock names", notes=[("fix", fix)]
            ) from error
        if document.get("digest") != digest_of(document):
            fix = "undo the change, or write the lock again: torso lock --force"
            raise IntegrityError(f"{str(path)!r} was changed after it was written", notes=[("fix", fix)])
        return cls(path, _portable(document["backbones"]))

    def text(self) -> str:
        """The text of the file, with its digest."""
        return text_of({"lock": VERSION, "backbones": self.entries})

    def check_plan(self, plan: Plan) -> Plan:
        """The plan, with the hash that its weights file must have; refused where the lock names another one, or none."""
        if plan.name not in self.entries:
            fact = f"{str(self.path)!r} does not name the backbone {plan.name!r}"
            raise IntegrityError(fact, notes=[known(self.entries), _FIX])
        locked = self.entries[plan.name]
        planned = _before_building(plan.report(), plugin_records(plan.plugins), versions())
        chosen = {plugin["name"] for plugin in planned["plugins"]}  # others may take part while it is built
        plugins = [plugin for plugin in locked["plugins"] if plugin["name"] in chosen]
        self._refuse(plan.name, differences({**{key: locked[key] for key in planned}, "plugins": plugins}, planned))
        source = plan.weights.source
        if not locked["weights"] or source is None or "sha256" not in source.value.hashes:
            return plan
        request = {**plan.weights.request, "sha256": locked["weights"]["sha256"]}
        return replace(plan, weights=replace(plan.weights, request=request))

    def check_manifest(self, manifest: Manifest) -> None:
        """Refuse a backbone that was built and is not the locked one."""
        self._refuse(manifest.name, differences(self.entries[manifest.name], _entry(manifest)))

    def _refuse(self, name: str, found: Sequence[Difference]) -> None:
        notes = [(fact, f"{short_value(now)}, locked is {short_value(locked)}") for fact, locked, now in found]
        if notes:
            raise IntegrityError(f"backbone {name!r} is not the one that {str(self.path)!r} names", notes=[*notes, _FIX])


def _entry(manifest: Manifest) -> dict[str, Any]:
    document, file = manifest.to_json(), manifest.weights_file
    hashed = as_json(file.hashed()) if file else None
    return {
        **_before_building(manifest.plan, manifest.plugins, manifest.made_with),
        "weights": hashed and {fact: hashed[fact] for fact in ("bytes", "sha256", "channels")},
        "graph": manifest.graph.fingerprint,
        **{fact: document[fact] for fact in ("features", "frozen", "preprocessing")},
    }


def _before_building(
    plan: Mapping[str, Any], plugins: Iterable[PluginRecord], made_with: Mapping[str, str | None]
) -> dict[str, Any]:
    """What is known of a backbone before it is built."""
    of_this_machine = ("name", "provider", "warnings", "weights")
    shared = {key: value for key, value in plan.items() if key not in of_this_machine}
    facts = {"plan": shared, "weights_label": plan["weights"]["label"], "made_with": dict(made_with)}
    return _portable({**facts, "plugins": [asdict(plugin) for plugin in plugins]})


def _portable(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON without the module name that a plugin of one file gets from its path: it differs from machine to machine."""
    found: dict[str, Any] = json.loads(re.sub('"torso_file_[0-9a-f]{12}:', '"torso_file:', json.dumps(entry)))
    return found
