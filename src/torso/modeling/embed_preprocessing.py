"""Embed the preprocessing into a model, as its first nodes."""

from collections.abc import Mapping

import keras

from torso.contracts.preprocessing import Preprocessing
from torso.graph import Graph
from torso.model_config.calls import Config, History, map_histories, visit_tensors
from torso.model_config.layer_names import canonical_names
from torso.modeling.graph_reader import read_graph
from torso.modeling.preprocess_layer import preprocessing_layer
from torso.modeling.truncate import cut


def embed_preprocessing(model: keras.Model, graph: Graph, numbers: Preprocessing) -> tuple[keras.Model, Graph]:
    """A model that takes pixels of 0 to 255 and its graph, with the nodes ``preprocess_…`` after the input."""
    if numbers == Preprocessing(built_in=numbers.built_in, source=numbers.source):
        return model, graph
    _, *steps = preprocessing_layer(numbers, model.input_shape[-1]).get_config()["layers"]
    taken, names = {op.name for op in model.operations}, dict[str, str]()
    for step, canonical in canonical_names((step["name"], step["class_name"]) for step in steps).items():
        names[step] = f"preprocess_{canonical}"
        while names[step] in taken:
            names[step] += "_"
    embedded = cut(model, None, model.name, change=lambda config: _after_the_input(config, steps, names))
    return embedded, read_graph(embedded, graph.name).knowing(graph.levels)


def _after_the_input(config: Config, steps: list[Config], names: Mapping[str, str]) -> Config:
    """The configuration with some layers, under new names, between its input and what reads that."""
    image = config["input_layers"][0]
    last = names[steps[-1]["name"]]

    def read_last(tensor: Config) -> None:
        if tensor["keras_history"][0] == image:
            tensor["keras_history"] = [last, 0, 0]

    def rename(tensor: Config) -> None:
        tensor["keras_history"][0] = names.get(tensor["keras_history"][0], image)

    for entry in config["layers"]:
        visit_tensors(entry["inbound_nodes"], read_last)
    for step in steps:
        visit_tensors(step["inbound_nodes"], rename)
        step["name"] = step["config"]["name"] = names[step["name"]]

    def end(history: History) -> History:
        return [last, 0, 0] if history[0] == image else history  # images may be among what a builder returns

    layers = [*config["layers"][:1], *steps, *config["layers"][1:]]
    return config | {"layers": layers, "output_layers": map_histories(config["output_layers"], end)}
