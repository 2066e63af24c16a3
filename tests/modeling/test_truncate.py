from __future__ import annotations

import gc
import weakref

import keras
import pytest
from networks import assert_same_and_meaningful, images, randomize

from torso.errors import CutError
from torso.modeling.graph_reader import read_graph
from torso.modeling.truncate import cut


def test_cut_gives_the_activation_of_the_full_model_at_every_node(residual: keras.Model) -> None:
    pixels = images((8, 8, 3))
    by_kind = {layer.name: layer for layer in residual.operations}
    for node, operation in zip(read_graph(residual, "Residual"), by_kind.values(), strict=True):
        if node.kind == "InputLayer":
            continue
        expected = keras.Model(residual.input, operation.output)(pixels)
        assert_same_and_meaningful(cut(residual, node.name, "trunk")(pixels), expected)


def test_cut_lets_the_full_model_die(residual: keras.Model) -> None:
    full = keras.models.clone_model(residual)
    dead = weakref.ref(full.layers[-1])
    trunk = cut(full, "pool", "trunk")
    del full
    gc.collect()
    assert dead() is None
    assert trunk.name == "trunk"


def test_cut_inside_a_nested_model_keeps_the_part_in_front_of_it() -> None:
    inner_input = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(2, 1, name="conv")(inner_input)
    inner = keras.Model(inner_input, keras.layers.ReLU(name="act")(x), name="inner")
    chain = keras.Sequential([keras.layers.Conv2D(3, 2, name="down"), keras.layers.BatchNormalization()], name="chain")
    inputs = keras.Input((4, 4, 2), name="image")
    model = keras.Model(inputs, keras.layers.ReLU(name="end")(chain(inner(inputs))))
    randomize(model)
    pixels = images((4, 4, 2))
    at_conv = keras.Model(inner_input, x)(pixels)
    assert_same_and_meaningful(cut(model, "inner/conv", "trunk")(pixels), at_conv)
    at_down = chain.layers[0](inner(pixels))
    assert_same_and_meaningful(cut(model, "chain/down", "trunk")(pixels), at_down)
    assert_same_and_meaningful(cut(model, "chain/batch_normalization", "trunk")(pixels), chain(inner(pixels)))
    assert_same_and_meaningful(cut(model, "end", "trunk")(pixels), model(pixels))


def test_cut_inside_a_model_that_is_called_twice_is_refused() -> None:
    inner_input = keras.Input((4,))
    x = keras.layers.Dense(4, name="first")(inner_input)
    inner = keras.Model(inner_input, keras.layers.Dense(4, name="second")(x), name="inner")
    inputs = keras.Input((4,))
    with pytest.raises(CutError) as caught:
        cut(keras.Model(inputs, inner(inner(inputs))), "inner:1/first", "trunk")
    assert str(caught.value) == (
        "'inner:1/first' lies inside a nested model: only one output can end there, and if that model is called once\n"
        "  fix: cut after a call of that model, or let the builder not nest its models"
    )


def test_cut_keeps_a_layer_class_that_keras_does_not_know() -> None:
    class Doubled(keras.layers.Layer):
        def call(self, values: keras.KerasTensor) -> keras.KerasTensor:
            return values * 2.0

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="end")(Doubled(name="doubled")(inputs)))
    pixels = images((2, 2, 1)).reshape(2, 4)
    assert_same_and_meaningful(cut(model, "doubled", "trunk")(pixels), pixels * 2)
