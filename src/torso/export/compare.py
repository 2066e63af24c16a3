"""Compare exported files with the Keras model, and refuse what computes or holds something else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import keras
import numpy as np

from torso.artifact.documents import files_in
from torso.artifact.reference_outputs import Features, error_of
from torso.errors import IntegrityError, known

# The least size of the files, as a part of the kernels' bytes. Vectors do not count: converters fold those of a
# normalisation into the kernels beside it.
LEAST: Final = 0.95


def require_finite(features: Features) -> None:
    """Refuse features of the Keras model with NaN or infinite values."""
    for name, values in features.items():
        if not np.isfinite(values).all():
            fact = f"feature {name!r} of the Keras model has values that are NaN or infinite: nothing can be compared"
            raise IntegrityError(fact, notes=[("fix", "check the weights; or the images, if they are yours")])


def require_weights(model: keras.Model, folder: Path, written: str) -> None:
    """Refuse files, called ``written`` in errors, that are too small to hold the weights of a model."""
    kernels = [weight for weight in model.weights if len(weight.shape) > 1]
    wanted = sum(math.prod(kernel.shape) * np.dtype(kernel.dtype).itemsize for kernel in kernels)
    found = sum(path.stat().st_size for path in files_in(folder).values())
    if found < LEAST * wanted or not found:
        fact = f"{written} has {found:,} bytes, and the kernels of the network alone have {wanted:,}"
        # As TFLite's does with functions of a Keras 3 model.
        cause = "the converter left weights out, or wrote them in lower precision"
        raise IntegrityError(fact, notes=[("cause", cause), ("fix", "another format, or another version of the converter")])


def errors_of(expected: Features, found: Features, written: str) -> dict[str, float]:
    """The largest error of each feature, by name, relative to its largest value; NaN if it has NaN."""
    errors = {}
    for name, values in expected.items():
        if name not in found:
            raise IntegrityError(f"{written} gives no feature {name!r}", notes=[known(map(repr, found))])
        if found[name].shape != values.shape:
            shapes = [("expected", str(values.shape)), ("found", str(found[name].shape))]
            raise IntegrityError(f"{written} gives feature {name!r} in another shape", notes=shapes)
        errors[name] = error_of(values, found[name])
    return errors


def require_near(errors: Mapping[str, float], bound: float, written: str) -> None:
    """Refuse errors above the bound, and NaN."""
    far = {
        name: f"off by {error:.1e} of its largest value" if math.isfinite(error) else "with values that are NaN or infinite"
        for name, error in errors.items()
        if not error <= bound  # NaN is within no bound
    }
    if far:
        (first, by), *others = far.items()
        fix = "another format; or a larger bound with --bound (Python: bound=), where that is good enough"
        fact = f"{written} gives another feature {first!r} than the Keras model: {by}, and {bound:g} is tolerated"
        raise IntegrityError(fact, notes=[*others, ("fix", fix)])
