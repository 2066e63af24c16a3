"""A SavedModel: what every other format begins from, as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from torso.contracts.export_format import INPUT, SIGNATURE


def write(saved_model: Path, folder: Path) -> None:
    """Copy it."""
    shutil.copytree(saved_model, folder, dirs_exist_ok=True)


def run(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Features by name, as its signature gives them."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    return {name: values.numpy() for name, values in signature(**{INPUT: tf.constant(images)}).items()}
