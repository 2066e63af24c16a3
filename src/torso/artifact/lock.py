"""A lock: what the backbones of a spec are made of, down to versions and hashes, kept beside the spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torso.artifact.diff import differences, in_words
from torso.artifact.manifest import Difference, Manifest, plugins_as_json, read_json, versions, with_hash
from torso.errors import IntegrityError, Note, OptionError
from torso.planning import Plan

VERSION: Final = 1
_MOST = 12  # differences that an error lists


def lock_path(spec: str | Path) -> Path:
    """Where the lock of a spec stands: ``backbones.lock.json`` beside ``backbones.yaml``."""
    return Path(spec).with_suffix(".lock.json")


@dataclass(frozen=True)
class Lock:
    """What backbones may be.

    Attributes:
        path: Where it is kept.
        entries: All that decides what a backbone computes, by its name; nothing of the machine where it was written.
    """

    path: Path
    entries: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, path: Path, manifests: Iterable[Manifest]) -> Lock:
        """The lock that names these backbones."""
        return cls(path, {manifest["name"]: _entry(manifest) for manifest in manifests})

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock.

        Raises:
            OptionError: There is none.
            IntegrityError: It cannot be read, is of another version, or was changed by hand.
        """
        try:
            document = read_json(path)
        except FileNotFoundError as error:
            raise OptionError(
                f"there is no {str(path)!r}, and --locked builds what a lock names",
                notes=[("fix", f"torso lock {path.name.removesuffix('.lock.json')}.yaml, and keep it beside the spec")],
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise IntegrityError(f"{str(path)!r} cannot be read", notes=[("cause", str(error))]) from error
        if not isinstance(document, dict) or document.get("lock") != VERSION:
            found = document.get("lock") if isinstance(document, dict) else None
            raise IntegrityError(f"{str(path)!r} is a lock of version {found}, and this torso reads version {VERSION}")
        if document.get("digest") != _digest({key: document.get(key) for key in ("lock", "backbones")}):
            raise IntegrityError(
                f"{str(path)!r} was changed after it was written",
                notes=[("fix", "take that back, or write it anew: torso lock --force")],
            )
        return cls(path, document["backbones"])

    def text(self) -> str:
        """It as it is written, with a hash of itself."""
        said = {"lock": VERSION, "backbones": self.entries}
        return json.dumps({**said, "digest": _digest(said)}, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def hold(self, plan: Plan) -> Plan:
        """The plan, with the hash of the weights file that it is to open.

        Raises:
            IntegrityError: The lock does not name the backbone, or names another: other options, plugins or versions.
        """
        if plan.name not in self.entries:
            known: list[Note] = [("known", ", ".join(self.entries))] if self.entries else []
            raise IntegrityError(f"{str(self.path)!r} does not name the backbone {plan.name!r}", notes=[*known, _again()])
        entry = self.entries[plan.name]
        now = _before_building(plan.report(), plugins_as_json(plan.plugins), versions())
        chosen = {plugin["name"] for plugin in now["plugins"]}  # others may have a hand in it while it is built
        told = {**entry, "plugins": [plugin for plugin in entry["plugins"] if plugin["name"] in chosen]}
        self._refuse(plan.name, differences({key: told[key] for key in now}, now))
        source = plan.weights.source
        if not entry["weights"] or source is None or "sha256" not in {option.name for option in source.value.options}:
            return plan
        request = {**plan.weights.request, "sha256": entry["weights"]["sha256"]}
        return replace(plan, weights=replace(plan.weights, request=request))

    def require(self, manifest: Manifest) -> None:
        """Refuse a backbone that was built and is not what the lock names.

        Raises:
            IntegrityError: What differs.
        """
        name = manifest["name"]
        self._refuse(name, differences(self.entries[name], _entry(manifest)))

    def _refuse(self, name: str, found: Sequence[Difference]) -> None:
        if not found:
            return
        notes: list[Note] = [(fact, f"{in_words(here)}, locked is {in_words(told)}") for fact, told, here in found[:_MOST]]
        more: list[Note] = [("and", f"{len(found) - _MOST} more")] if len(found) > _MOST else []
        raise IntegrityError(f"backbone {name!r} is not what {str(self.path)!r} names", notes=[*notes, *more, _again()])


def _entry(manifest: Manifest) -> dict[str, Any]:
    file = with_hash(manifest["weights_file"])
    told = {
        **_before_building(manifest["plan"], manifest["plugins"], manifest["made_with"]),
        "weights": file and {fact: file[fact] for fact in ("bytes", "sha256", "channels")},
        "graph": manifest["graph"]["fingerprint"],
        "features": manifest["features"],
        "frozen": manifest["frozen"],
        "preprocessing": manifest["preprocessing"],
    }
    entry: dict[str, Any] = json.loads(json.dumps(told))
    return entry


def _before_building(plan: Mapping[str, Any], plugins: Any, made_with: Any) -> dict[str, Any]:
    """What is known of a backbone before it is built."""
    of_this_machine = ("name", "provider", "warnings", "weights")
    told = {
        "plan": {key: value for key, value in plan.items() if key not in of_this_machine},
        "weights_label": plan["weights"]["label"],
        "plugins": plugins,
        "made_with": made_with,
    }
    now: dict[str, Any] = json.loads(json.dumps(told))
    return now


def _again() -> Note:
    return ("fix", "go back to what is locked, or lock what is here: torso lock")


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
