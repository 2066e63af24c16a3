"""Load a saved model and have it compute once more what its manifest keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torso.artifact.manifest import Difference, Manifest
from torso.artifact.reference_outputs import described, difference_of_described, digest_of, features_for, probe_images
from torso.artifact.save import read_model
from torso.modeling.preprocess_layer import preprocessing_from


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What was found.

    Attributes:
        differences: Each fact that is not as the manifest tells it; a path begins with ``graph``, ``features``,
            ``variables``, ``frozen`` or ``preprocessing``.
        off: For each feature, how far its values are from those that were saved, relative to the largest; 0 for the same
            bits, infinite where it cannot be computed.
    """

    differences: tuple[Difference, ...]
    off: Mapping[str, float]


def replay(path: Path, manifest: Manifest) -> Replay:
    """Replay what a manifest tells of its model.

    Raises:
        IntegrityError: The model cannot be loaded.
    """
    model, _, wrong = read_model(path, manifest)
    if any(fact == "graph.input_shape" for fact, *_ in wrong):  # no images fit both
        wrong.append(("preprocessing.pixels", manifest["probe"]["pixels"], "not looked at"))
        names = [feature["name"] for feature in manifest["features"]]
        return Replay(differences=tuple(wrong), off=dict.fromkeys(names, float("inf")))
    probe = manifest["probe"]
    pixels = probe_images(*manifest["plan"]["input_shape"])
    images = np.asarray(preprocessing_from(manifest)(pixels))
    for fact, values in ("pixels", pixels), ("preprocessed", images):
        if probe[fact] != digest_of(values):
            wrong.append((f"preprocessing.{fact}", probe[fact], digest_of(values)))
    names = [feature["name"] for feature in manifest["features"]]
    if any(fact == "features" for fact, *_ in wrong):
        return Replay(differences=tuple(wrong), off=dict.fromkeys(names, float("inf")))
    features = features_for(model, images, names)
    if manifest["frozen"]["everything"]:
        again = features_for(model, images, names, training=True)
        moved = [name for name in names if features[name].tobytes() != again[name].tobytes()]
        if moved:
            wrong.append(("frozen.in_training", "the same bits", f"other features: {', '.join(moved)}"))
    found = described(features)
    return Replay(
        differences=tuple(wrong),
        off={name: difference_of_described(probe["features"][name], found[name]) for name in names},
    )
