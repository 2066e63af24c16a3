"""The export formats of torso; each is a module in ``torso.builtins.exports``."""

from __future__ import annotations

from collections.abc import Iterable

from torso.contracts.export_format import ExportFormat
from torso.contracts.hookspecs import hookimpl

_EXPORTS = "torso.builtins.exports"


@hookimpl
def torso_export_formats() -> Iterable[ExportFormat]:
    yield ExportFormat(
        name="saved_model",
        doc="A SavedModel, for TensorFlow, TensorFlow Serving and what converts from it.",
        write=f"{_EXPORTS}.saved_model:write",
        run=f"{_EXPORTS}.saved_model:run",
    )
    yield ExportFormat(
        name="litert",
        doc="One .tflite file, for LiteRT on telephones and small machines.",
        write=f"{_EXPORTS}.litert:write",
        run=f"{_EXPORTS}.litert:run",
        needs=("ai_edge_litert",),
        install="torso[litert]",
    )
    yield ExportFormat(
        name="onnx",
        doc="One .onnx file with its weights inside, for ONNX Runtime and others.",
        write=f"{_EXPORTS}.onnx:write",
        run=f"{_EXPORTS}.onnx:run",
        needs=("tf2onnx", "onnx", "onnxruntime"),
        install="torso[onnx]",
    )
    yield ExportFormat(
        name="openvino",
        doc="An .xml and a .bin file, for OpenVINO.",
        write=f"{_EXPORTS}.openvino:write",
        run=f"{_EXPORTS}.openvino:run",
        needs=("openvino",),
        install="torso[openvino]",
    )
