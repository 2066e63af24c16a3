"""Reference images, and what a backbone gives for them: in numbers small enough to be kept in its manifest."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from torso.modeling.variable_paths import variables_by_path

Features = Mapping[str, np.ndarray]  # by name, each (N, …)

# How far features may be from those of another machine, relative to the largest value. Measured on twelve networks with
# statistics from data: at most 2.9e-6 between oneDNN with AVX-512, oneDNN with SSE4.1, and TensorFlow's own kernels.
TOLERANCE: Final = 1e-4

SIDE: Final = 96  # pixels, for a network that takes images of any size
_SKETCHED: Final = 64  # values that are kept of a feature

_first_sums: WeakKeyDictionary[Any, list[int]] = WeakKeyDictionary()


def reference_images(height: int | None, width: int | None, channels: int) -> np.ndarray:
    """Two images of edges, slopes and stripes, ``(2, height, width, channels)`` uint8: the same on every machine."""
    image, y, x, channel = np.ogrid[:2, : height or SIDE, : width or SIDE, :channels]
    slopes = x * (3 + image) + y * (2 + channel % 3)
    tiles = ((x // 16 + image) ^ (y // 16)) * 37
    stripes = ((x + y * (1 + image)) // 4 % 2) * 64
    pixels: np.ndarray = ((slopes + tiles + stripes + channel * 41) % 256).astype("uint8")
    return pixels


def features_for(model: keras.Model, images: np.ndarray, names: Sequence[str], *, training: bool = False) -> Features:
    """The model's features for images as it expects them, in the order of the names; computed on the CPU."""
    with tf.device("/CPU:0"):  # a GPU rounds differently
        given = model(images, training=training)
        if not isinstance(given, dict):
            given = dict(zip(names, tf.nest.flatten(given), strict=True))
        return {name: np.asarray(given[name]) for name in names}


def weights_by_path(model: keras.Model) -> dict[str, Any]:
    weights = {id(weight) for weight in model.weights}  # the states of random generators are variables, but not weights
    variables = variables_by_path(model).items()
    return {path: variable for path, variable in variables if id(variable) in weights}


def hashes_of(weights: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the values of each weight, by its path."""
    return {path: digest_of(_values_of(weight)) for path, weight in weights.items()}


def _values_of(weight: Any) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(weight.value))  # not copied, as those of the variable itself would be


def has_changed(model: keras.Model) -> bool:
    """Whether a model has different values than when this was first asked, which is once it is built or loaded."""
    arrays = [np.ascontiguousarray(_values_of(weight)).reshape(-1) for weight in model.weights]
    # The bits of each, added up: ten times faster than a hash.
    sums = [int(one.view("u1" if one.nbytes % 8 else "u8").sum(dtype="u8")) for one in arrays]
    return _first_sums.setdefault(model, sums) != sums


def digest_of(values: np.ndarray) -> str:
    """SHA-256 of the values' bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).view("uint8").data).hexdigest()  # a view, as bfloat16 has no buffer


def described(values: np.ndarray) -> dict[str, Any]:
    """Hash, statistics and a sample of the values of a feature, as JSON."""
    wide = values.astype("float64")
    return {
        "sha256": digest_of(values),
        "shape": list(values.shape),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "min": float(wide.min()),
        "max": float(wide.max()),
        "sketch": [float(value) for value in wide.ravel()[np.linspace(0, wide.size - 1, _SKETCHED).astype(int)]],
    }


def error_of(expected: np.ndarray, found: np.ndarray) -> float:
    """How far a feature is off, relative to its largest value; 0 only where all bits are the same."""
    if expected.shape != found.shape:
        return float("inf")
    if expected.tobytes() == found.tobytes():
        return 0.0
    return float(np.abs(expected.astype("float64") - found).max() / (np.abs(expected).max() or 1.0))
