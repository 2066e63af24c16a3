"""Layers of classes that are not Keras' own: whether Keras makes them again, as they are, from their configuration."""

from contextlib import suppress
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from torso.modeling.freeze_checks import is_of_keras, varied
from torso.modeling.keras_private import calls_of, in_fresh_thread, inner_layers
from torso.planning import Plan
from torso.plugins.calling import plugin_errors


def require_copies(model: keras.Model, plan: Plan) -> None:
    """Refuse a layer that would be another one when Keras copies or loads the model; the model need not have values."""
    for layer in inner_layers(model):
        calls = calls_of(layer)
        own = [one for one in inner_layers(layer) if not is_of_keras(type(one))]  # a layer of Keras may wrap one
        if calls and own and not isinstance(layer, keras.Model):
            what = f"{type(own[0]).__name__}.from_config(get_config()) of {own[0].name!r} of {plan.architecture.qualified!r}"
            with plugin_errors(plan.architecture.plugin, what):
                in_fresh_thread(partial(_require_copy, layer, own, keras.tree.map_structure(varied, calls)))


def _require_copy(layer: keras.Layer, own: list[keras.Layer], calls: list[Any]) -> None:
    expected = None
    with suppress(Exception):  # then nothing can be compared
        expected = _outputs(layer, calls)
    with keras.saving.custom_object_scope({type(one).__name__: type(one) for one in own}):
        again = type(layer).from_config(layer.get_config())  # within a wrapper, Keras looks a class up by its name
    if expected and _outputs(again, calls) != expected:
        raise ValueError("it computes something else; let get_config return every argument of __init__")


def _outputs(layer: keras.Layer, calls: list[Any]) -> list[bytes]:
    """The bytes that a layer computes, with random values in place of its own."""

    def call() -> list[Any]:
        return [layer(*args, **{**kwargs, "training": False}) for args, kwargs in calls]

    with tf.device("/CPU:0"):
        _ = layer.built or call()  # it makes its weights
        with keras.StatelessScope([(one, varied(one)) for one in layer.variables]):
            return [np.asarray(one).tobytes() for one in keras.tree.flatten(call())]
