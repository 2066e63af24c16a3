"""A file for LiteRT, the runtime that was TensorFlow Lite."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torso.contracts.export_format import INPUT, SIGNATURE

FILE = "model.tflite"


def write(saved_model: Path, folder: Path) -> None:
    """Convert by way of the SavedModel: from functions of a Keras 3 model, the converter writes a file without weights."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
    (folder / FILE).write_bytes(converter.convert())


def run(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Features by name, through the signature: the order of a .tflite file's outputs is its own."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(model_path=str(folder / FILE)).get_signature_runner(SIGNATURE)
    features: dict[str, np.ndarray] = signature(**{INPUT: images})  # the input takes on the shape of the images
    return features
