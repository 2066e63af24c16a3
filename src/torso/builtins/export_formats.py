"""The export formats that come with torso. What each does stands in a module of its own, in the room ``exports``."""

from __future__ import annotations

from collections.abc import Iterable

from torso.contracts.export_format import ExportFormat
from torso.contracts.hookspecs import hookimpl

_ROOM = "torso.builtins.exports"


@hookimpl
def torso_export_formats() -> Iterable[ExportFormat]:
    """Offer the formats that every user has."""
    yield ExportFormat(
        name="saved_model",
        doc="A SavedModel, for TensorFlow, TensorFlow Serving and what converts from it.",
        write=f"{_ROOM}.saved_model:write",
        run=f"{_ROOM}.saved_model:run",
    )
    yield ExportFormat(
        name="litert",
        doc="One .tflite file, for LiteRT on telephones and small machines.",
        write=f"{_ROOM}.litert:write",
        run=f"{_ROOM}.litert:run",
        needs=("ai_edge_litert",),
        install="torso[litert]",
    )
    yield ExportFormat(
        name="onnx",
        doc="One .onnx file with its weights inside, for ONNX Runtime and others.",
        write=f"{_ROOM}.onnx:write",
        run=f"{_ROOM}.onnx:run",
        needs=("tf2onnx", "onnx", "onnxruntime"),
        install="torso[onnx]",
    )
    yield ExportFormat(
        name="openvino",
        doc="An .xml and a .bin file, for OpenVINO.",
        write=f"{_ROOM}.openvino:write",
        run=f"{_ROOM}.openvino:run",
        needs=("openvino",),
        install="torso[openvino]",
    )
