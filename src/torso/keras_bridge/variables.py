"""The layers of a model, and its variables, by paths that are the same in every process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Each layer that is no model itself, by its canonical name: ``outer/inner`` in a nested model."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def variables_by_path(model: keras.Model) -> dict[str, Any]:
    """Each variable of the layers, the states of random generators among them.

    A path is the layer's canonical name and what the layer calls the variable: ``conv1_bn/gamma``,
    ``attention/query/kernel``. Variables that a layer calls alike have ``:1``, ``:2`` behind it.
    """
    found: dict[str, Any] = {}
    for name, layer in leaves(model):
        for variable in layer.variables:
            path = stem = f"{name}/{_within(layer, variable)}"
            count = 0
            while path in found:
                count += 1
                path = f"{stem}:{count}"
            found[path] = variable
    return found


def _within(layer: keras.Layer, variable: Any) -> str:
    """The path of a variable within its layer; what surrounds the layer depends on how it was built."""
    parts = variable.path.split("/")
    return "/".join(parts[parts.index(layer.name) + 1 :] if layer.name in parts[:-1] else parts[-1:])
