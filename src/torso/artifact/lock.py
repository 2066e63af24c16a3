"""A lock: what the backbones of a spec are made of. It is kept beside the spec.

What decides the values must be as locked. Versions are noted: a different one is a warning, or with ``strict`` an error.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torso.artifact.differences import differences, short_value
from torso.artifact.documents import digest_of, lock_command, read_document, text_of
from torso.artifact.manifest import Difference, Manifest, PluginRecord, as_json, plugin_records, versions
from torso.errors import IntegrityError, Note, OptionError, TorsoError, collect, known, raise_all
from torso.planning import Plan

VERSION: Final = 2


def read_lock(
    spec: str | Path, plans: Iterable[Plan], *, strict: bool = False, warn: Callable[[str], object] = warnings.warn
) -> Lock:
    """Read the lock beside a spec, and refuse everything in the plans that is not locked, at once."""
    lock = replace(Lock.read(lock_path(spec)), strict=strict)
    errors: list[TorsoError] = []
    for plan in plans:
        collect(errors, lock.check_plan, plan, warn)
    raise_all(errors)
    return lock


def require_fresh(spec: str | Path, plans: Mapping[str, Plan], warn: Callable[[str], object], *, whole: bool = True) -> None:
    """Refuse a lock of other plans or other local weights files, and if these are the ``whole`` spec, one of more."""
    lock = read_lock(spec, plans.values(), warn=warn)
    errors: list[TorsoError] = []
    for plan in plans.values():
        collect(errors, lock.check_plan(plan).weights.check)
    for name in lock.entries if whole else ():
        if name not in plans:
            errors.append(IntegrityError(f"{str(lock.path)!r} names {name!r}, which is not in the spec", notes=[lock.fix]))
    raise_all(errors)


def lock_path(spec: str | Path) -> Path:
    """The path of a spec's lock: ``backbones.lock.json`` beside ``backbones.yaml``."""
    if str(spec) == "-":
        raise OptionError("a spec on stdin has no lock", notes=[("fix", "name the file of the spec")])
    return Path(spec).with_suffix(".lock.json")


@dataclass(frozen=True)
class Lock:
    """What the backbones of a spec must be."""

    path: Path
    entries: Mapping[str, Mapping[str, Any]]  # by backbone, what decides what it computes; nothing of this machine
    strict: bool = False

    @property
    def fix(self) -> Note:
        return ("fix", f"go back to what is locked, or lock the new state: {lock_command(self.path)}")

    @classmethod
    def of(cls, path: Path, manifests: Iterable[Manifest]) -> Lock:
        return cls(path, {manifest.name: _entry(manifest) for manifest in manifests})

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock; an OptionError where there is none, and an IntegrityError where it was changed by hand."""
        try:
            document = read_document(path, "lock", VERSION)
        except OSError as error:
            fix = f"{lock_command(path)}, and keep it beside the spec"
            raise OptionError(f"there is no lock {str(path)!r}", notes=[("fix", fix)]) from error
        if document.get("digest") != digest_of(document):
            fix = f"undo the change, or write the lock again: {lock_command(path)} --force"
            raise IntegrityError(f"{str(path)!r} was changed after it was written", notes=[("fix", fix)])
        return cls(path, document["backbones"])

    def text(self) -> str:
        return text_of({"lock": VERSION, "backbones": self.entries})

    def check_plan(self, plan: Plan, warn: Callable[[str], object] = lambda text: None) -> Plan:
        """The plan, with the hash that its weights file must have; refused where the lock names a different one, or none."""
        if plan.name not in self.entries:
            fact = f"{str(self.path)!r} does not name the backbone {plan.name!r}"
            raise IntegrityError(fact, notes=[known(self.entries), self.fix])
        locked = self.entries[plan.name]
        planned = _before_building(plan.report(), plugin_records(plan.plugins), versions())
        # Others may take part while it is built.
        plugins = {name: version for name, version in locked["plugins"].items() if name in planned["plugins"]}
        found = differences({**{key: locked[key] for key in planned}, "plugins": plugins}, planned)
        self._refuse(plan.name, found)
        for fact, then, now in found:
            warn(f"{plan.name}: warning: {fact}: {short_value(now)}, locked is {short_value(then)}")
        source = plan.weights.source
        if not locked["weights"] or source is None or "sha256" not in source.value.hashes:
            return plan
        request = {**plan.weights.request, "sha256": locked["weights"]["sha256"]}
        return replace(plan, weights=replace(plan.weights, request=request))

    def check_manifest(self, manifest: Manifest) -> None:
        """Refuse a backbone that was built and is not the locked one."""
        self._refuse(manifest.name, differences(self.entries[manifest.name], _entry(manifest)))

    def _refuse(self, name: str, found: Sequence[Difference]) -> None:
        if not found or (all(map(_is_noted, found)) and not self.strict):
            return
        notes = [(fact, f"{short_value(now)}, locked is {short_value(locked)}") for fact, locked, now in found]
        notes.sort(key=lambda note: ".layers." in note[0])
        if len(notes) > 20:
            notes[20:] = [("more", f"{len(notes) - 20} other facts")]
        raise IntegrityError(f"backbone {name!r} is not the one that {str(self.path)!r} names", notes=[*notes, self.fix])


def _is_noted(difference: Difference) -> bool:
    """Whether both facts are versions of one thing."""
    fact, locked, now = difference
    return fact.startswith("made_with.") or (fact.startswith("plugins.") and None not in (locked, now))


def _entry(manifest: Manifest) -> dict[str, Any]:
    document, file = manifest.to_json(), manifest.weights_file
    hashed = as_json(file.hashed()) if file else None
    if hashed and hashed["sha256"] is None:
        fact = f"the weights file {hashed['path']!r} was changed or replaced after it was read: its hash is not known"
        raise IntegrityError(fact, notes=[("fix", "do it again when nothing else writes the file")])
    return {
        **_before_building(manifest.plan, manifest.plugins, manifest.made_with),
        "weights": hashed and {fact: hashed[fact] for fact in ("bytes", "sha256", "channels")},
        "graph": {fact: document["graph"][fact] for fact in ("fingerprint", "layers")},
        **{fact: document[fact] for fact in ("features", "frozen", "preprocessing")},
    }


def _before_building(
    plan: Mapping[str, Any], plugins: Iterable[PluginRecord], made_with: Mapping[str, str | None]
) -> dict[str, Any]:
    """What is known of a backbone before it is built."""
    left_out = ("name", "provider", "builder", "warnings", "weights")  # of this machine; the graph is what a builder makes
    facts = {
        "plan": {key: value for key, value in plan.items() if key not in left_out},
        "weights_label": plan["weights"]["label"],
        "made_with": {name: made_with[name] for name in ("keras", "tensorflow", "torso")},
        "plugins": {plugin.name: plugin.version or plugin.origin for plugin in plugins},
    }
    return dict(json.loads(json.dumps(facts)))  # as it is read
