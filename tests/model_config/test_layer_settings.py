"""What of a configuration counts, and what does not."""

from __future__ import annotations

import keras
import pytest
from keras import layers, ops

from torso.model_config.layer_settings import by_node
from torso.modeling.functional import remake
from torso.modeling.graph_reader import read_graph


def settings(make):
    """The settings of the last node of a network."""
    first, second = keras.Input((4, 4, 2)), keras.Input((4, 4, 2))
    model = keras.Model([first, second], make(first, second))
    graph = read_graph(model, "any")
    again = read_graph(remake(model, model.get_config()), "any")
    assert [node.settings for node in again] == [node.settings for node in graph]
    return graph.nodes[-1].settings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x, y: layers.ReLU(6)(x), lambda x, y: layers.ReLU(5)(x)),
        (lambda x, y: layers.BatchNormalization(epsilon=1e-5)(x), lambda x, y: layers.BatchNormalization()(x)),
        (lambda x, y: layers.Conv2D(2, 1, dtype="mixed_float16")(x), lambda x, y: layers.Conv2D(2, 1)(x)),
        (lambda x, y: layers.Dropout(0.5)(x, training=True), lambda x, y: layers.Dropout(0.5)(x)),
        (lambda x, y: x * 2.0, lambda x, y: x * 3.0),
        (lambda x, y: 1.0 - x, lambda x, y: x - 1.0),
        (lambda x, y: ops.clip(x, 0, 6), lambda x, y: ops.clip(x, 0, 5)),
        (lambda x, y: ops.concatenate([x, y, x]), lambda x, y: ops.concatenate([x, y, y])),
        (lambda x, y: ops.split(x, 2, -1)[0] + y[..., :1], lambda x, y: ops.split(x, 2, -1)[1] + y[..., :1]),
        (
            lambda x, y: layers.TimeDistributed(layers.Dense(2, activation="relu"))(x),
            lambda x, y: layers.TimeDistributed(layers.Dense(2))(x),
        ),
        (lambda x, y: layers.Activation(keras.activations.silu)(x), lambda x, y: layers.Activation("relu6")(x)),
    ],
)
def test_what_changes_the_values_counts(one, other):
    assert settings(one) != settings(other)
    assert settings(one) == settings(one)  # also where Keras counts on with the names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x, y: layers.Conv2D(2, 1, name="a")(x), lambda x, y: layers.Conv2D(2, 1, name="b")(x)),
        (lambda x, y: layers.Dropout(0.5, seed=1)(x), lambda x, y: layers.Dropout(0.5, seed=2)(x)),
        (lambda x, y: layers.Dense(2, kernel_initializer="zeros")(x), lambda x, y: layers.Dense(2, trainable=False)(x)),
    ],
)
def test_names_seeds_and_initialisers_do_not(one, other):
    assert settings(one) == settings(other)


def test_settings_are_words_that_are_read_back_by_node():
    text = settings(lambda x, y: layers.ReLU(6)(x))
    assert text == "dtype=float32 max_value=6 negative_slope=0 threshold=0"
    found = by_node({f"ReLU {text}": ["a", "b"], "Add": ["c"]})
    assert found["b"] == {"kind": "ReLU", "dtype": "float32", "max_value": "6", "negative_slope": "0", "threshold": "0"}
    assert found["c"] == {"kind": "Add"}
    assert settings(lambda x, y: layers.Rescaling([0.123456789] * 2, [0.987654321987] * 2)(x)) != text
