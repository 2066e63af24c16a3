"""What a backbone gives for fixed images, in numbers small enough to be kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from torso.modeling.variable_paths import variables_by_path

Features = Mapping[str, np.ndarray]
"""Features by name, each ``(N, …)``."""

TOLERANCE: Final = 1e-4
"""How far features may be from those of another machine, relative to the largest of them. Measured on twelve networks with
statistics from data: at most 2.9e-6 between oneDNN with AVX-512, oneDNN with SSE4.1, and TensorFlow's own kernels."""

SIDE: Final = 96
"""Height and width of the images, in pixels, for a network that takes any size."""

LAST_BIT: Final = 2.0**-24
"""Half the distance between float32 numbers, relative to them: bits differ, and nothing that is kept of them shows it."""

SKETCHED: Final = 64
"""How many values of a feature are kept."""


def probe_images(height: int | None, width: int | None, channels: int) -> np.ndarray:
    """Two different images of edges, slopes and stripes, the same on every machine: whole numbers alone make them.

    Returns:
        ``(2, height, width, channels)``, uint8.
    """
    image, y, x, channel = np.ogrid[:2, : height or SIDE, : width or SIDE, :channels]
    slopes = x * (3 + image) + y * (2 + channel % 3)
    tiles = ((x // 16 + image) ^ (y // 16)) * 37
    stripes = ((x + y * (1 + image)) // 4 % 2) * 64
    pixels: np.ndarray = ((slopes + tiles + stripes + channel * 41) % 256).astype("uint8")
    return pixels


def features_for(model: keras.Model, images: np.ndarray, names: Sequence[str], *, training: bool = False) -> Features:
    """What the model gives for images as it expects them, by the features' names; on the CPU, for a GPU rounds otherwise."""
    with tf.device("/CPU:0"):
        given = named(model(images, training=training))
    return dict(zip(names, (given[name] for name in names) if set(given) == set(names) else given.values(), strict=True))


def named(outputs: Any) -> dict[str, np.ndarray]:
    """The outputs of a model as arrays by their names, or by their numbers."""
    if not isinstance(outputs, dict):
        outputs = dict(enumerate(outputs if isinstance(outputs, (list, tuple)) else [outputs]))
    return {str(name): np.asarray(value) for name, value in outputs.items()}


def variable_hashes(model: keras.Model) -> dict[str, str]:
    """SHA-256 of the values of each weight, by its path."""
    weights = {id(weight) for weight in model.weights}  # the states of random generators are variables too
    variables = variables_by_path(model).items()
    return {path: digest_of(np.asarray(variable)) for path, variable in variables if id(variable) in weights}


def digest_of(values: np.ndarray) -> str:
    """SHA-256 of the values' bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def described(features: Features) -> dict[str, Any]:
    """Digest, statistics and a sketch of each feature, as JSON."""
    return {name: _described(values) for name, values in features.items()}


def _described(values: np.ndarray) -> dict[str, Any]:
    wide = values.astype("float64")
    return {
        "sha256": digest_of(values),
        "shape": list(values.shape),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "min": float(wide.min()),
        "max": float(wide.max()),
        "sketch": [float(value) for value in wide.ravel()[np.linspace(0, wide.size - 1, SKETCHED).astype(int)]],
    }


def largest_difference(expected: Features, found: Features) -> float:
    """The largest difference between features, relative to the largest value of each; 0 where all bits are the same."""
    return max((_difference(values, found[name]) for name, values in expected.items()), default=0.0)


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    if expected.shape != found.shape:
        return float("inf")
    if expected.tobytes() == found.tobytes():
        return 0.0
    return float(np.abs(expected.astype("float64") - found).max() / (np.abs(expected).max() or 1.0))


def difference_of_described(saved: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """How far a feature is from what was kept of it, relative to its largest value; 0 only where all bits are the same."""
    if saved["shape"] != found["shape"]:
        return float("inf")
    if saved["sha256"] == found["sha256"]:
        return 0.0
    scale = max(abs(saved["min"]), abs(saved["max"])) or 1.0
    pairs = [(saved[key], found[key]) for key in ("mean", "std", "min", "max")]
    pairs += zip(saved["sketch"], found["sketch"], strict=True)
    return float(max(LAST_BIT, max(abs(one - other) for one, other in pairs) / scale))
