"""The export formats of torso; each is a module in ``torso.builtins.exports``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torso.contracts.export_format import ExportFormat
from torso.contracts.hookspecs import hookimpl


@hookimpl
def torso_export_formats() -> Iterable[ExportFormat]:
    yield _format("saved_model", "A SavedModel, for TensorFlow, TensorFlow Serving and what converts from it.")
    doc = "One .tflite file, for LiteRT on telephones and small machines."
    yield _format("litert", doc, needs=("ai_edge_litert",), install="torso[litert]")
    doc = "One .onnx file with its weights inside, for ONNX Runtime and others."
    yield _format("onnx", doc, needs=("tf2onnx", "onnx", "onnxruntime"), install="torso[onnx]")
    yield _format("openvino", "An .xml and a .bin file, for OpenVINO.", needs=("openvino",), install="torso[openvino]")


def _format(name: str, doc: str, **needed: Any) -> ExportFormat:
    module = f"torso.builtins.exports.{name}"
    return ExportFormat(name=name, doc=doc, write=f"{module}:write", run=f"{module}:run", **needed)
