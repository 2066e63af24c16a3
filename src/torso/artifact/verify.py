"""Recheck a saved backbone against its manifest, offline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torso.artifact.differences import error_of_described, short_value
from torso.artifact.documents import digest_of as digest_of_document
from torso.artifact.manifest import Difference, SavedManifest, version_of
from torso.artifact.manifest_file import MODEL, NAME, hash_of_model, read_manifest_json, understood
from torso.plugins.registry import Registry


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
        folder: The folder that was checked; of features, a text where it is an address.
        name: The backbone's name.
        checks: The results, in order.
    """

    folder: Path | str
    name: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether the folder matches its manifest."""
        return all(check.holds for check in self.checks)


def verify(folder: str | Path, *, registry: Registry | None = None) -> Verification:
    """Check a saved backbone against its manifest: files, graph, features, freezing, preprocessing, values, outputs.

    The outputs for the reference images are computed again. With the same versions on the same machine they have the same
    bits; elsewhere they may differ within the tolerance in the manifest. A model file with a different hash is not opened.
    ``registry`` is only needed for layers of a plugin that is not installed.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: The manifest cannot be read, or is of a different version.
        PluginError: It needs layers of a plugin that is not here.
    """
    place = Path(folder)
    document = read_manifest_json(place)
    with understood(place / NAME):
        manifest = SavedManifest.from_json(document)
        digest = ("digest", document.get("digest"), digest_of_document(document))
        checks = [_check("manifest", [digest], "unchanged", otherwise="changed after it was written")]
        model = (f"files.{MODEL}.sha256", manifest.files[MODEL]["sha256"], hash_of_model(place))
        if model[1] != model[2]:
            checks.append(_check("files", [model], "", otherwise=f"{_first_of([model])}; not opened"))
        else:
            others = sorted({path.name for path in place.iterdir()} - {NAME, MODEL})
            more = [(f"files.{name}", None, "here") for name in others]
            words = f"not saved with it: {short_value(others)}"
            checks.append(_check("files", more, f"{MODEL}, unchanged", otherwise=words))
            import_module("torso.modeling")  # before Keras
            from torso.artifact.custom_objects import import_layers

            import_layers(manifest, registry)
            checks += _check_model(place, manifest)
        checks += _check_installed(manifest)
        return Verification(folder=place, name=manifest.name, checks=tuple(checks))


def _check(name: str, facts: Sequence[Difference], words: str, *, otherwise: str | None = None) -> Check:
    """A check that holds where each fact is found as expected."""
    wrong = tuple(fact for fact in facts if fact[1] != fact[2])
    return Check(name=name, holds=not wrong, words=(otherwise or _first_of(wrong)) if wrong else words, differences=wrong)


def _check_model(place: Path, manifest: SavedManifest) -> Iterator[Check]:
    differences, errors = _recompute(place / MODEL, manifest)
    trains = f"{len(manifest.frozen.trains)} variables train, as saved"
    trains = "nothing trains, and training gives the same bits" if manifest.frozen.everything else trains
    words = {
        "graph": f"{manifest.graph.nodes} nodes",
        "features": ", ".join(manifest.feature_names),
        "variables": f"{len(manifest.variables)} identical",
        "frozen": "; ".join(filter(None, [trains, manifest.frozen.lost_flags])),
        "preprocessing": "identical",
    }
    for name, right in words.items():
        yield _check(name, [one for one in differences if one[0].split(".")[0] == name], right)
    tolerance = float(manifest.probe.tolerance)
    for name, error in errors.items():
        off = f"off by {error:.1e}"
        said = "identical" if error == 0 else f"{off} of the largest value, tolerance {tolerance:g}"
        wrong = [] if error <= tolerance else [(f"probe.{name}", "the same", off)]
        yield _check("probe", wrong, f"{name}: {said}", otherwise=f"{name}: {said}")


def _recompute(path: Path, manifest: SavedManifest) -> tuple[list[Difference], dict[str, float]]:
    """Facts, and how far each feature is off, relative to its largest value: infinite where unknown."""
    from torso.artifact.load import load_and_compare, preprocess_layer_of
    from torso.artifact.reference_outputs import described, digest_of, features_for, reference_images

    saved, names = manifest.probe, manifest.feature_names
    model, _, differences = load_and_compare(path, manifest)
    other_features = any(fact == "features" for fact, *_ in differences)
    pixels = reference_images(*manifest.plan["input_shape"])
    images = preprocess_layer_of(manifest)(pixels).numpy()
    differences.append(("preprocessing.pixels", saved.pixels, digest_of(pixels)))
    differences.append(("preprocessing.preprocessed", saved.preprocessed, digest_of(images)))
    if other_features:
        return differences, dict.fromkeys(names, float("inf"))
    features = features_for(model, images, names)
    if manifest.frozen.everything:
        again = features_for(model, images, names, training=True)
        moved = [name for name in names if features[name].tobytes() != again[name].tobytes()]
        if moved:
            differences.append(("frozen.in_training", "the same bits", f"different features: {', '.join(moved)}"))
    return differences, {name: error_of_described(saved.features[name], described(features[name])) for name in names}


def _check_installed(manifest: SavedManifest) -> Iterator[Check]:
    """Compare the installed versions, which need not be those that it was saved with."""
    plugins = {plugin.distribution: plugin.version for plugin in manifest.plugins if plugin.distribution}
    unneeded = "" if manifest.custom_objects else " (not needed to load it)"
    for check, versions, note in ("made with", manifest.made_with, ""), ("plugins", plugins, unneeded):
        found = [(name, saved, version_of(name)) for name, saved in versions.items()]
        others = [f"{name} {saved}, here {here or 'not installed'}" for name, saved, here in found if here != saved]
        yield _check(check, (), f"{'; '.join(others)}{note}" if others else "same versions installed")


def _first_of(differences: Sequence[Difference]) -> str:
    fact, expected, found = differences[0]
    more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
    return f"{fact} was {short_value(expected)}, is {short_value(found)}{more}"
