"""Put the preprocessing in front of a model, as the first nodes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import keras

from torso.contracts.preprocessing import Preprocessing
from torso.graph import Graph
from torso.model_config.calls import Config, History, map_histories, visit_tensors
from torso.modeling.graph_reader import layer_names, read_graph
from torso.modeling.preprocess_layer import preprocessing_layer
from torso.modeling.truncate import derive, regrown

PREFIX = "preprocess_"
"""How the names of the new nodes begin."""


def bake(model: keras.Model, graph: Graph, numbers: Preprocessing) -> tuple[keras.Model, Graph]:
    """A model that takes pixels of 0 to 255, and computes from them what this one expects with the very same operations.

    Args:
        model: Trunk with canonical names, from images ``(N, H, W, C)``.
        graph: The trunk as data.
        numbers: What the trunk expects of its pixels.

    Returns:
        The new model and its graph, which has the nodes ``preprocess_…`` behind the input; the same two where there is
        nothing to compute.
    """
    if numbers == Preprocessing(built_in=numbers.built_in, source=numbers.source):
        return model, graph
    _, *steps = preprocessing_layer(numbers, model.input_shape[-1]).get_config()["layers"]
    taken = {op.name for op in model.operations}
    new = {step["name"]: _free(PREFIX + name, taken) for step, name in zip(steps, layer_names(steps).values(), strict=True)}
    names = [node.name for node in graph]
    baked, weights = regrown(model, None, model.name, keep=names, change=lambda config: _behind(config, steps, new))
    for old, kept in weights:
        kept.assign(old)
    derive(baked)
    return baked, read_graph(baked, graph.name, keep=names).knowing(graph.levels)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _behind(config: Config, steps: list[Config], names: Mapping[str, str]) -> Config:
    """The configuration with some layers, under new names, between its input and what reads that."""
    image = config["input_layers"][0]
    last = names[steps[-1]["name"]]

    def later(tensor: Config) -> None:
        if tensor["keras_history"][0] == image:
            tensor["keras_history"] = [last, 0, 0]

    def renamed(tensor: Config) -> None:
        tensor["keras_history"][0] = names.get(tensor["keras_history"][0], image)

    for entry in config["layers"]:
        visit_tensors(entry["inbound_nodes"], later)
    for step in steps:
        visit_tensors(step["inbound_nodes"], renamed)
        step["name"] = step["config"]["name"] = names[step["name"]]

    def ending(history: History) -> History:
        return [last, 0, 0] if history[0] == image else history

    return config | {
        "layers": [*config["layers"][:1], *steps, *config["layers"][1:]],
        "output_layers": map_histories(config["output_layers"], ending),  # images may be among what a builder gives
    }
