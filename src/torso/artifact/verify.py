"""Recheck a saved backbone against its manifest, offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torso.artifact.diff import short_value
from torso.artifact.manifest import Difference, SavedManifest, digest_of, version_of
from torso.artifact.manifest_file import MODEL, NAME, changed_files, read_document, understood


@dataclass(frozen=True, kw_only=True)
class Check:
    """One result of :func:`verify`.

    Attributes:
        name: What was checked: ``manifest``, ``files``, ``graph``, ``features``, ``variables``, ``frozen``,
            ``preprocessing``, ``probe`` (the reference outputs), ``made with``, ``plugins``.
        holds: Whether it is as it was saved. Other installed versions are mentioned, and hold.
        words: What was found, in one line.
        differences: Each fact that is not what the manifest says: its path, and what was expected and found.
    """

    name: str
    holds: bool
    words: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The results of :func:`verify`.

    Attributes:
        folder: The folder that was checked.
        name: The backbone's name.
        checks: The results, in order.
    """

    folder: Path
    name: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether the folder matches its manifest."""
        return all(check.holds for check in self.checks)


def verify(folder: str | Path) -> Verification:
    """Check a saved backbone against its manifest: files, graph, features, freezing, preprocessing, values, outputs.

    The outputs for the reference images are computed again. With the same versions on the same machine they have the same
    bits; elsewhere they may differ within the tolerance in the manifest. A model file with another hash is not opened.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, or is of another version.
    """
    place = Path(folder)
    document = read_document(place)
    with understood(place / NAME):
        manifest = SavedManifest.from_json(document)
        changed = tuple(changed_files(place, manifest))
        checks = [_check_digest(document), _check_files(place, changed)]
        if not changed:
            checks += _check_model(place, manifest)
        checks += _check_installed(manifest)
        return Verification(folder=place, name=manifest.name, checks=tuple(checks))


def _check_digest(document: Mapping[str, Any]) -> Check:
    digest, found = document.get("digest"), digest_of(document)
    wrong = (("digest", digest, found),) if digest != found else ()
    return Check(
        name="manifest", holds=not wrong, words="changed after it was written" if wrong else "unchanged", differences=wrong
    )


def _check_files(place: Path, changed: tuple[Difference, ...]) -> Check:
    if changed:
        return Check(name="files", holds=False, words=f"{_first_of(changed)}; not opened", differences=changed)
    others = sorted({path.name for path in place.iterdir()} - {NAME, MODEL})
    wrong = tuple((f"files.{name}", None, "here") for name in others)
    words = f"not saved with it: {short_value(others)}" if others else f"{MODEL}, unchanged"
    return Check(name="files", holds=not wrong, words=words, differences=wrong)


def _check_model(place: Path, manifest: SavedManifest) -> Iterator[Check]:
    differences, errors = _recompute(place / MODEL, manifest)
    frozen = f"{len(manifest.frozen.trains)} variables train, as saved"
    words = {
        "graph": f"{manifest.graph.nodes} nodes",
        "features": ", ".join(manifest.feature_names),
        "variables": f"{len(manifest.variables)} identical",
        "frozen": "nothing trains, and training gives the same bits" if manifest.frozen.everything else frozen,
        "preprocessing": "identical",
    }
    for name, right in words.items():
        wrong = tuple(one for one in differences if one[0].split(".")[0] == name)
        yield Check(name=name, holds=not wrong, words=_first_of(wrong) if wrong else right, differences=wrong)
    tolerance = float(manifest.probe.tolerance)
    for name, error in errors.items():
        off = f"off by {error:.1e}"
        said = "identical" if error == 0 else f"{off} of the largest value, tolerance {tolerance:g}"
        wrong = () if error <= tolerance else ((f"probe.{name}", "the same", off),)
        yield Check(name="probe", holds=not wrong, words=f"{name}: {said}", differences=wrong)


def _recompute(path: Path, manifest: SavedManifest) -> tuple[list[Difference], dict[str, float]]:
    """Load the model and compute its reference outputs again.

    Returns:
        The facts that differ, and how far each feature is off, relative to its largest value: infinite where it cannot be
        computed.
    """
    from torso.artifact.load import load_and_compare, preprocess_layer_of
    from torso.artifact.reference_outputs import described, digest_of, error_of_described, features_for, reference_images

    saved, names = manifest.probe, manifest.feature_names
    model, _, differences = load_and_compare(path, manifest)
    facts = {fact for fact, *_ in differences}
    if "graph.input_shape" in facts:  # no images fit both
        differences.append(("preprocessing.pixels", saved.pixels, "not computed"))
        return differences, dict.fromkeys(names, float("inf"))
    pixels = reference_images(*manifest.plan["input_shape"])
    images = preprocess_layer_of(manifest)(pixels).numpy()
    for fact, digest, values in ("pixels", saved.pixels, pixels), ("preprocessed", saved.preprocessed, images):
        if digest != digest_of(values):
            differences.append((f"preprocessing.{fact}", digest, digest_of(values)))
    if "features" in facts:
        return differences, dict.fromkeys(names, float("inf"))
    features = features_for(model, images, names)
    if manifest.frozen.everything:
        again = features_for(model, images, names, training=True)
        moved = [name for name in names if features[name].tobytes() != again[name].tobytes()]
        if moved:
            differences.append(("frozen.in_training", "the same bits", f"other features: {', '.join(moved)}"))
    return differences, {name: error_of_described(saved.features[name], one) for name, one in described(features).items()}


def _check_installed(manifest: SavedManifest) -> Iterator[Check]:
    """Compare the installed versions, which need not be those that it was saved with."""
    plugins = {plugin.distribution: plugin.version for plugin in manifest.plugins if plugin.distribution}
    for check, versions, note in ("made with", manifest.made_with, ""), ("plugins", plugins, " (not needed to load it)"):
        others = [
            f"{name} {saved}, here {version_of(name) or 'not installed'}"
            for name, saved in versions.items()
            if version_of(name) != saved
        ]
        words = f"{'; '.join(others)}{note}" if others else "same versions installed"
        yield Check(name=check, holds=True, words=words)


def _first_of(differences: tuple[Difference, ...]) -> str:
    fact, expected, found = differences[0]
    more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
    return f"{fact} was {short_value(expected)}, is {short_value(found)}{more}"
