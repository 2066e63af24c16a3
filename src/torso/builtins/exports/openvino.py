"""Files for OpenVINO."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

FILE = "model.xml"


def write(saved_model: Path, folder: Path) -> None:
    """Convert a SavedModel; the weights stay float32, which OpenVINO would halve otherwise."""
    openvino = _openvino()
    openvino.save_model(openvino.convert_model(str(saved_model)), str(folder / FILE), compress_to_fp16=False)


def run(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Features by name, computed in float32 also where the processor has something quicker and coarser."""
    model = _openvino().compile_model(str(folder / FILE), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = model(images)
    return {name: given[output] for output in model.outputs for name in output.get_names()}


def _openvino() -> Any:  # Any: the module
    """OpenVINO without what tells its makers of every import, and leaves files in the user's home."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # not to be had: it does without
    import openvino

    return openvino
