"""The export formats of torso: for each, how to write its files and how to open them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torso.contracts.export_format import INPUT, SIGNATURE, ExportFormat
from torso.contracts.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np

    Compute = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # from images to features by name

LITERT: Final = "model.tflite"
ONNX: Final = "model.onnx"
OPENVINO: Final = "model.xml"


@hookimpl
def torso_export_formats() -> Iterable[ExportFormat]:
    yield _format("saved_model", "A SavedModel, for TensorFlow, TensorFlow Serving and what converts from it.")
    doc = "One .tflite file, for LiteRT on telephones and small machines."
    yield _format("litert", doc, needs=("ai_edge_litert",), install="torso[litert]")
    doc = "One .onnx file with its weights inside, for ONNX Runtime and others."
    yield _format("onnx", doc, needs=("tf2onnx", "onnx", "onnxruntime"), install="torso[onnx]")
    openvino = {"needs": ("openvino",), "install": "torso[openvino]", "precisions": ("float32", "bfloat16")}
    yield _format("openvino", "An .xml and a .bin file, for OpenVINO.", **openvino)


def _format(name: str, doc: str, **needed: Any) -> ExportFormat:
    return ExportFormat(name=name, doc=doc, write=f"{__name__}:write_{name}", open=f"{__name__}:open_{name}", **needed)


def write_saved_model(saved_model: Path, folder: Path) -> None:
    shutil.copytree(saved_model, folder, dirs_exist_ok=True)


def open_saved_model(folder: Path, threads: int | None) -> Compute:  # its threads are those of TensorFlow
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does

    def compute(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: one.numpy() for name, one in loaded.signatures[SIGNATURE](**{INPUT: tf.constant(images)}).items()}

    return compute


def write_litert(saved_model: Path, folder: Path) -> None:
    import tensorflow as tf

    # Not from functions of a Keras 3 model: from those, the converter writes a file without weights.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[SIGNATURE])
    (folder / LITERT).write_bytes(converter.convert())


def open_litert(folder: Path, threads: int | None) -> Compute:
    import os

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / LITERT), num_threads=threads or os.cpu_count())
    # Through the signature: the outputs of a .tflite file have an order of their own.
    signature = interpreter.get_signature_runner(SIGNATURE)
    return lambda images: dict(signature(**{INPUT: images}))  # the input takes on the shape of the images


def write_onnx(saved_model: Path, folder: Path) -> None:
    # from_function and from_keras of tf2onnx make inputs of constants that are in no variable, as mean and variance of
    # EfficientNet's normalisation are. From a SavedModel they stay constants.
    import onnx
    import tf2onnx
    from tf2onnx.tf_loader import from_saved_model

    _teach_erfc()
    graph, inputs, outputs, names = from_saved_model(
        str(saved_model), None, None, tag="serve", signatures=[SIGNATURE], return_tensors_to_rename=True
    )
    # Keras has XLA compile grouped convolutions, as functions with these marks. ONNX has no calls of functions: without the
    # marks, the nodes of a function replace its call.
    functions = graph.library.function
    for marked in (*graph.node, *functions, *(node for function in functions for node in function.node_def)):
        for mark in ("_XlaMustCompile", "_noinline"):
            marked.attr.pop(mark, None)
    model, _ = tf2onnx.convert.from_graph_def(
        graph, name=folder.name, input_names=inputs, output_names=outputs, tensors_to_rename=names
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"  # the same number of images for all
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / ONNX))  # a model of more than 2 GB is an error: it would need a second file


def _teach_erfc() -> None:
    """Teach tf2onnx an operation: GELU is made of ``Erfc`` in TensorFlow, which ONNX has as ``1 - Erf``."""
    import numpy as np
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, context: Any, node: Any, **others: Any) -> None:  # Any: tf2onnx's own classes
            result, shape, kind = node.output[0], context.get_shape(node.output[0]), context.get_dtype(node.output[0])
            context.remove_node(node.name)
            one = context.make_const(f"{node.name}_one", np.array(1, "float32"))
            erf = context.make_node("Erf", node.input, name=f"{node.name}_erf")
            operands = [one.output[0], erf.output[0]]
            context.make_node("Sub", operands, name=node.name, outputs=[result], shapes=[shape], dtypes=[kind])


def open_onnx(folder: Path, threads: int | None) -> Compute:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # its own choice
    session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))


def write_openvino(saved_model: Path, folder: Path) -> None:
    openvino = _openvino()
    # Otherwise OpenVINO would store float16.
    openvino.save_model(openvino.convert_model(str(saved_model)), str(folder / OPENVINO), compress_to_fp16=False)


def open_openvino(folder: Path, threads: int | None, precision: str = "float32") -> Compute:
    # In float32 also where the processor has something quicker and coarser, unless that is asked for.
    options = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]}
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    model = _openvino().compile_model(str(folder / OPENVINO), "CPU", options)

    def compute(images: np.ndarray) -> Mapping[str, np.ndarray]:
        given = model(images)
        return {name: given[output] for output in model.outputs for name in output.get_names()}

    return compute


def _openvino() -> Any:  # Any: the module
    """OpenVINO without its telemetry, which reports every import and leaves files in the user's home."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # then OpenVINO does without
    import openvino

    return openvino
