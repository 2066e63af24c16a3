"""The layers of a model, and its variables, by paths that are the same in every process."""

import re
from collections.abc import Iterator
from typing import Any

import keras

from torso.model_config.layer_names import canonical_names
from torso.modeling.keras_private import inner_layers


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Each layer that is no model itself, by its canonical name: ``outer/inner`` in a nested model."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def variables_by_path(model: keras.Model) -> dict[str, Any]:
    """Each variable of the layers, the states of random generators among them, by the layer's name and its own.

    ``conv1_bn/gamma``, ``attention/query/kernel``; ``variable`` if it has no name, and ``:1``, ``:2`` after equal ones.
    """
    found: dict[str, Any] = {}
    for name, layer in leaves(model):
        owners = _owners(layer)
        for variable in layer.variables:
            path = stem = f"{name}/{_within(layer, owners.get(id(variable), []), variable)}"
            count = 0
            while path in found:
                count += 1
                path = f"{stem}:{count}"
            found[path] = variable
    return found


def _owners(layer: keras.Layer) -> dict[int, list[str]]:
    """By the identity of a variable: the names of the layers within this one that it belongs to, from the outside."""
    inner = [one for one in inner_layers(layer) if one is not layer]
    names = canonical_names((one.name, type(one).__name__) for one in inner)
    owners: dict[int, list[str]] = {}
    for one in inner:
        for variable in one.variables:
            owners.setdefault(id(variable), []).append(names[one.name])
    return owners


def _within(layer: keras.Layer, owners: list[str], variable: Any) -> str:
    """The path of a variable within its layer; what stands around the layer depends on how it was built."""
    own = re.sub(r"^variable_[0-9]+$", "variable", variable.name)  # where it has no name, Keras counts all that it makes
    if owners:  # a wrapper's loaded variables know nothing of it
        return "/".join((*owners, own))
    parts = variable.path.split("/")[:-1]
    above = next((count for count, part in enumerate(reversed(parts)) if part == layer.name), 0)
    return "/".join((*parts[len(parts) - above :], own))
