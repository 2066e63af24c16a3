"""A file for ONNX Runtime, and whatever else reads ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from torso.contracts.export_format import INPUT, SIGNATURE

FILE = "model.onnx"


def write(saved_model: Path, folder: Path) -> None:
    """Convert a SavedModel into one file that has its weights inside, and one input."""
    # from_function and from_keras of tf2onnx make inputs of constants that stand in no variable, as mean and variance of
    # EfficientNet's normalisation do; by way of a SavedModel they stay constants.
    import onnx
    import tf2onnx
    from tf2onnx.tf_loader import from_saved_model

    _teach()
    graph, inputs, outputs, names = from_saved_model(
        str(saved_model), None, None, tag="serve", signatures=[SIGNATURE], return_tensors_to_rename=True
    )
    _open(graph)
    model, _ = tf2onnx.convert.from_graph_def(
        graph, name=folder.name, input_names=inputs, output_names=outputs, tensors_to_rename=names
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"  # the same number of images for all
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / FILE))  # a model of more than 2 GB is an error: it would need a second file


def run(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Features by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: images}), strict=True))


def _open(graph: Any) -> None:
    """Let functions be put in the place of their calls, which ONNX has not: Keras has XLA compile grouped convolutions."""
    functions = graph.library.function
    for marked in (*graph.node, *functions, *(node for function in functions for node in function.node_def)):
        for mark in ("_XlaMustCompile", "_noinline"):
            marked.attr.pop(mark, None)


def _teach() -> None:
    """Teach tf2onnx what it does not know: GELU is made of ``Erfc`` in TensorFlow, which ONNX has as ``1 - Erf``."""
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
