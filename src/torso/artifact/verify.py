"""Replay what a saved backbone says of itself, offline, and tell where it is something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torso.artifact.diff import in_words
from torso.artifact.manifest import (
    MODEL,
    NAME,
    Difference,
    Manifest,
    changed_files,
    digest_of,
    parse_manifest,
    understood,
    version_of,
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What: ``manifest``, ``files``, ``graph``, ``features``, ``variables``, ``frozen``, ``preprocessing``,
            ``probe``, ``made with``, ``plugins``.
        holds: Whether it is as it was saved; what holds may still be worth a word, as another version of Keras.
        words: What was found, in one line.
        differences: Each fact that is not as the manifest tells it.
    """

    name: str
    holds: bool
    words: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of :func:`verify`.

    Attributes:
        folder: What was looked at.
        name: The backbone's name.
        checks: One by one, in order.
    """

    folder: Path
    name: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether the folder is what its manifest says."""
        return all(check.holds for check in self.checks)


def verify(folder: str | Path) -> Verification:
    """Look whether a saved backbone is what its manifest says: files, graph, features, freezing, pixels and values.

    The probe's images are put through it once more. On the machine where it was saved, with the same versions, its features
    have the same bits; elsewhere they may differ within the tolerance that the manifest names. A file whose hash is not the
    one in the manifest is not opened.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, or is of another version.
    """
    place = Path(folder)
    manifest = parse_manifest(place)
    with understood(place / NAME):
        changed = tuple(changed_files(place, manifest))
        checks = [_manifest(manifest), _files(place, manifest, changed)]
        if not changed:
            checks += _replayed(place, manifest)
        checks += _surroundings(manifest)
        return Verification(folder=place, name=str(manifest["name"]), checks=tuple(checks))


def _manifest(manifest: Manifest) -> Check:
    told, found = manifest.get("digest"), digest_of(manifest)
    if told == found:
        return Check(name="manifest", holds=True, words="as it was written")
    return Check(name="manifest", holds=False, words="changed after it was written", differences=(("digest", told, found),))


def _files(place: Path, manifest: Manifest, changed: tuple[Difference, ...]) -> Check:
    if changed:
        return Check(name="files", holds=False, words=f"{_listed(changed)}; not opened", differences=changed)
    strange = sorted(path.name for path in place.iterdir() if path.name not in (NAME, *manifest["files"]))
    if strange:
        facts = tuple((f"files.{name}", None, "here") for name in strange)
        return Check(name="files", holds=False, words=f"not saved with it: {in_words(strange)}", differences=facts)
    return Check(name="files", holds=True, words=f"{MODEL}, as it was saved")


def _replayed(place: Path, manifest: Manifest) -> Iterator[Check]:
    """Load the model and have it compute."""
    from torso.artifact.replay import replay

    found = replay(place / MODEL, manifest)
    words = {
        "graph": f"{manifest['graph']['nodes']} nodes",
        "features": ", ".join(feature["name"] for feature in manifest["features"]),
        "variables": f"{len(manifest['variables'])} with the same bits",
        "frozen": _frozen(manifest),
        "preprocessing": "the same bits",
    }
    for name, right in words.items():
        wrong = tuple(one for one in found.differences if one[0].split(".")[0] == name)
        yield Check(name=name, holds=not wrong, words=_listed(wrong) if wrong else right, differences=wrong)
    tolerance = float(manifest["probe"]["tolerance"])
    for name, off in found.off.items():
        holds = off <= tolerance
        said = "the same bits" if off == 0 else f"off by {off:.1e} of the largest value, tolerated is {tolerance:g}"
        wrong = () if holds else ((f"probe.{name}", "the same", f"off by {off:.1e}"),)
        yield Check(name="probe", holds=holds, words=f"{name}: {said}", differences=wrong)


def _frozen(manifest: Manifest) -> str:
    frozen = manifest["frozen"]
    if frozen["everything"]:
        return "nothing trains, and training gives the same bits"
    return f"{len(frozen['trains'])} variables train, as saved"


def _surroundings(manifest: Manifest) -> Iterator[Check]:
    """What is installed here, which need not be what it was saved with."""
    other = {name: (told, version_of(name)) for name, told in manifest["made_with"].items()}
    said = [f"{name} {told}, here {here or 'not installed'}" for name, (told, here) in other.items() if told != here]
    yield Check(name="made with", holds=True, words="; ".join(said) or "the same versions as here")
    missing = [
        f"{plugin['distribution']} {plugin['version']}, here {version_of(plugin['distribution']) or 'not installed'}"
        for plugin in manifest["plugins"]
        if plugin["distribution"] and version_of(plugin["distribution"]) != plugin["version"]
    ]
    said_of = f"{'; '.join(missing)} (to load it, no plugin is needed)" if missing else "those that are here"
    yield Check(name="plugins", holds=True, words=said_of)


def _listed(found: Sequence[Difference]) -> str:
    first: Any = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{first[0]} was {in_words(first[1])}, is {in_words(first[2])}{more}"
