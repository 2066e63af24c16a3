"""Compare what was written for another runtime with the Keras model, and refuse what is something else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from torso.artifact.reference_outputs import Features, largest_difference
from torso.errors import IntegrityError, Note
from torso.export.record import files_in

LEAST: Final = 0.95
"""How much of the weights' bytes the files must have at least. Only arrays of two axes and more count: converters fold the
vectors of a normalisation into the kernels beside it, and leave them out."""


def require_finite(features: Features) -> None:
    """Refuse features that nothing can be compared with.

    Raises:
        IntegrityError: Some values are no numbers.
    """
    for name, values in features.items():
        if not np.isfinite(values).all():
            raise IntegrityError(
                f"feature {name!r} of the Keras model has values that are NaN or infinite: nothing can be compared",
                notes=[("fix", "look at the weights, and at the images if they are yours")],
            )


def require_weights(model: keras.Model, folder: Path, written: str) -> None:
    """Refuse files that are too small to hold the weights of a model.

    Args:
        model: The model.
        folder: Where the files are.
        written: What errors call them.

    Raises:
        IntegrityError: They have too few bytes.
    """
    wanted = sum(_bytes_of(weight) for weight in model.weights if len(weight.shape) > 1)
    found = sum(path.stat().st_size for path in files_in(folder).values())
    if found < LEAST * wanted or not found:
        cause = (
            "the converter left weights out, as that of TFLite does with the functions of a Keras 3 model, or wrote them in "
            "lower precision"
        )
        raise IntegrityError(
            f"{written} has {found:,} bytes, and the kernels of the network alone have {wanted:,}",
            notes=[("cause", cause), ("fix", "another format, or another version of the converter")],
        )


def errors_of(expected: Features, found: Features, written: str) -> dict[str, float]:
    """How far each feature is off, relative to its largest value: by name, whatever the order. NaN where it is no number.

    Raises:
        IntegrityError: A feature is not there, or has another shape.
    """
    errors = {}
    for name, values in expected.items():
        if name not in found:
            there = ", ".join(map(repr, found)) or "none"
            raise IntegrityError(f"{written} gives no feature {name!r}", notes=[("known", there)])
        if found[name].shape != values.shape:
            raise IntegrityError(
                f"{written} gives feature {name!r} in another shape",
                notes=[("expected", str(values.shape)), ("found", str(found[name].shape))],
            )
        errors[name] = largest_difference({name: values}, found)
    return errors


def require_near(errors: Mapping[str, float], bound: float, written: str) -> None:
    """Refuse features that are further off than is tolerated, or no numbers.

    Raises:
        IntegrityError: Which, and by how much.
    """
    far = {name: _said(error) for name, error in errors.items() if not error <= bound}  # NaN is within no bound
    if far:
        first, *others = far
        more: list[Note] = [(name, far[name]) for name in others]
        fix = "another format; or a larger bound with --bound (Python: bound=), where that is good enough"
        raise IntegrityError(
            f"{written} gives another feature {first!r} than the Keras model: {far[first]}, and {bound:g} is tolerated",
            notes=[*more, ("fix", fix)],
        )


def _said(error: float) -> str:
    return f"off by {error:.1e} of its largest value" if math.isfinite(error) else "with values that are NaN or infinite"


def _bytes_of(weight: Any) -> int:  # Any: a variable of Keras
    size: int = math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
    return size
