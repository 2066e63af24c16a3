"""Global pooling after each output of a model."""

from itertools import count
from typing import Any

import keras

from torso.errors import CutError
from torso.graph import Graph
from torso.model_config.layer_names import automatic_stem
from torso.modeling.functional import outputs_of
from torso.modeling.graph_reader import read_graph


def pool(model: keras.Model, graph: Graph, kind: str) -> tuple[keras.Model, Graph]:
    """The same layers, and after each output its mean or maximum over all positions: ``(N, channels)``."""
    pooling = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}[kind]
    names = (f"{automatic_stem(pooling.__name__)}{f'_{number}' if number else ''}" for number in count())
    taken = {op.name for op in model.operations}

    def pooled(tensor: Any) -> Any:
        if len(tensor.shape) != 4:
            raise CutError(f"pooling {kind} takes feature maps, and {graph.name} gives {tuple(tensor.shape[1:])}")
        name = next(name for name in names if name not in taken)
        return pooling(data_format="channels_last", name=name)(tensor)

    outputs = outputs_of(model)
    if isinstance(outputs, dict):
        outputs = {name: pooled(tensor) for name, tensor in outputs.items()}
    else:
        outputs = [*map(pooled, outputs)] if isinstance(outputs, (list, tuple)) else pooled(outputs)
    after = keras.Model(model.input, outputs, name=model.name)
    return after, read_graph(after, graph.name).knowing(graph.levels)
