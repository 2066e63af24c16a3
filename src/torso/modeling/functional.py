"""Functional models: made plain, and made anew from a configuration."""

import copy
from typing import Any

import keras

from torso.errors import CutError
from torso.model_config.calls import Config, is_functional
from torso.modeling.keras_private import FUNCTIONAL


def functional(model: keras.Model, name: str) -> keras.Model:
    """The same layers as a plain functional model, where the model has a graph."""
    kind = type(model)
    if kind.__name__ == FUNCTIONAL and kind.__module__.startswith("keras.") and isinstance(model.input, keras.KerasTensor):
        return model
    try:
        inputs, outputs = model.inputs, outputs_of(model)
        return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)
    except (AttributeError, ValueError, TypeError) as error:
        fact = f"{name} has no graph to cut: its {type(model).__name__} is not a functional model"
        fix = "let the builder return keras.Model(inputs, outputs), of layers of your own if need be (docs/plugins.md)"
        raise CutError(fact, notes=[("fix", fix)]) from error


def outputs_of(model: keras.Model) -> Any:
    """The output tensors: one alone, several as a list, or as the dictionary that the model returns."""
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output  # a Sequential's may be another call's
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs


def custom_classes(model: keras.Model) -> dict[str, type]:
    """The classes of a model's layers that Keras could not find by their name alone."""
    classes: dict[str, type] = {}
    for layer in model.operations:
        if isinstance(layer, keras.Model):
            classes |= custom_classes(functional(layer, layer.name))
        kind = type(layer)
        if not kind.__module__.startswith("keras."):
            classes |= {kind.__name__: kind, keras.saving.get_registered_name(kind): kind}
    return classes


def remake(model: keras.Model, config: Config) -> keras.Model:
    """A functional model of the classes of this one, from a different configuration."""
    made = type(model).from_config(copy.deepcopy(config), custom_objects=custom_classes(model))  # Keras empties it
    restore_names(made, config)
    return made


def restore_names(model: keras.Model, config: Config) -> None:
    """Give the ops of a model their names: Keras loses some when it makes the model from its configuration."""
    names = {entry["name"]: entry["class_name"] for entry in config["layers"]}
    lost = [name for name in names if name not in {op.name for op in model.operations}]
    for op in model.operations:
        alike = [name for name in lost if names[name] == type(op).__name__]
        if op.name not in names and alike:
            op.name = alike[0]
            lost.remove(op.name)
    for entry in config["layers"]:
        if is_functional(entry):
            restore_names(model.get_layer(entry["name"]), entry["config"])
