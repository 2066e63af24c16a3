"""A provider whose network is written in the test, and a weights file of it that plain Keras wrote."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
from networks import assert_same_and_meaningful, images, randomize, save_listed

import torso
from torso.modeling.keras_private import has_value

SHAPE = (16, 16, 3)
HEAD = """
import keras
import torso
from keras import layers, ops

def network(input_shape):
    images = keras.Input(input_shape, name="images")
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    y = layers.Conv2D(4, 3, padding="same", name="left")(x)
    x = layers.Add(name="join")([x, layers.BatchNormalization(name="norm")(y)])
    x = layers.Dropout(0.5, name="drop")(x)
    return keras.Model(images, layers.Conv2D(6, 3, padding="same", name="end")(x))

def build(*, input_shape):
    return network(input_shape)
"""
BODY = """
def build(*, input_shape{options}):
    images = keras.Input(input_shape, name="images")
    {body}
"""
HOOK = """
@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Net", family="Net", builder=f"{__name__}:build", input=torso.InputRules(default=(16, 16)),
        **dict(preprocessing=torso.Preprocessing(), clean="stem|join|drop", can_stop_early=True) | dict(MORE)
    )
"""


class Acme:
    """The provider ``acme`` with one architecture, ``Net``.

    Args:
        folder: Where its module and its weights file are.
        source: Code of the module, which may define ``build`` anew, and hooks.
        file: The name of the weights file, which tells its format.
        body: The lines of a builder, from ``images`` on.
        more: Further arguments of the architecture, and ``options`` of that builder.
    """

    def __init__(
        self, folder: Path, source: str = "", file: str = "w.h5", *, body: str = "", more: str = "", options: str = ""
    ) -> None:
        source = textwrap.dedent(source) + (BODY.format(body=body, options=options) if body else "")
        self.text = HEAD + source + HOOK.replace("MORE", more)
        (folder / "acme.py").write_text(self.text)
        self.registry = torso.Registry.load(plugins_dirs=[folder], discover=False)
        self.path = folder / file

    def plain(self, seed: int | None = 0) -> keras.Model:
        """The network as Keras alone builds it, with values that its initialisers would not make, but for seed None."""
        names: dict[str, Any] = {"__name__": "acme_by_itself"}
        exec(compile(self.text.replace("@torso.hookimpl", ""), "acme_by_itself.py", "exec"), names)
        model: keras.Model = names["build"](input_shape=SHAPE)
        if seed is not None:
            randomize(model, seed)
        return model

    def write(self, model: keras.Model) -> None:
        if self.path.name.endswith(".weights.h5"):
            model.save_weights(self.path)
        elif self.path.suffix == ".keras":
            model.save(self.path)
        else:
            save_listed(model, self.path)

    def written(self) -> keras.Model:
        """The plain network, whose values are in the file now."""
        full = self.plain()
        self.write(full)
        return full

    def create(self, **spec: Any) -> torso.Backbone:
        """A backbone with the values of the file, if there is one."""
        weights: Any = {"file": self.path} if self.path.exists() else "none"
        return torso.create_backbone("Net", registry=self.registry, **{"weights": weights, **spec})

    def graph(self, **spec: Any) -> torso.Graph:
        return torso.read_graph("Net", registry=self.registry, **spec)


def told(error: torso.TorsoError) -> str:
    """The text of an error without the lines that name the plugin."""
    labels = ("  plugin: ", "  see: ", "  raised by: ")
    return "\n".join(line for line in str(error).split("\n") if not line.startswith(labels))


def built(backbone: torso.Backbone) -> tuple[str, str]:
    """The build mode, and why it was not the one before."""
    told = backbone.manifest["built"]
    return told["way"], told["why"]


def assert_as_plain(backbone: torso.Backbone, full: keras.Model) -> None:
    """The same features as the plain way gives at the same node, and no variable without a value."""
    assert all(has_value(variable) for variable in backbone.model.variables)
    node = backbone.features[0].node
    plain = keras.Model(full.input, next(op for op in full.operations if op.name == node).output)
    pixels = images(SHAPE)
    assert_same_and_meaningful(backbone.model(pixels), plain(pixels))
    for weight, wanted in zip(backbone.model.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)
