from __future__ import annotations

import keras
import pytest

from torso.errors import CutError
from torso.modeling.graph_reader import read_graph


def test_read_graph_lists_every_call_in_topological_order_and_always_the_same(residual: keras.Model) -> None:
    graph = read_graph(residual, "Residual")
    found = [(node.name, node.kind, node.inputs, node.shape, node.stride, node.parameters) for node in graph]
    assert found == [
        ("image", "InputLayer", (), (8, 8, 3), 1, 0),
        ("stem", "Conv2D", ("image",), (4, 4, 4), 2, 3 * 3 * 3 * 4 + 4),
        ("conv2d", "Conv2D", ("stem",), (4, 4, 4), 2, 3 * 3 * 4 * 4 + 4),
        ("norm", "BatchNormalization", ("conv2d",), (4, 4, 4), 2, 4 * 4),
        ("drop", "Dropout", ("norm",), (4, 4, 4), 2, 0),
        ("join", "Add", ("drop", "stem"), (4, 4, 4), 2, 0),
        ("add", "Add", ("join",), (4, 4, 4), 2, 0),
        ("pool", "MaxPooling2D", ("add",), (2, 2, 4), 4, 0),
        ("conv2d_1", "Conv2D", ("pool",), (2, 2, 6), 4, 4 * 6 + 6),
    ]
    assert [node.name for node in graph if node.is_op] == ["add"]
    assert sum(node.parameters for node in graph) == residual.count_params()
    for _ in range(3):
        keras.layers.Conv2D(1, 1)
    assert read_graph(keras.models.clone_model(residual), "Residual") == graph


def test_read_graph_flattens_nested_models_and_finds_their_end_by_their_own_name() -> None:
    inner_input = keras.Input((4, 4, 2))
    convolved = keras.layers.Conv2D(2, 1, name="conv")(inner_input)
    inner = keras.Model(inner_input, keras.layers.ReLU(name="act")(convolved), name="inner")
    chain = keras.Sequential([keras.layers.Conv2D(3, 2, strides=2, name="down"), keras.layers.ReLU()], name="chain")
    inputs = keras.Input((4, 4, 2), name="image")
    graph = read_graph(keras.Model(inputs, chain(inner(inputs))), "Nested")
    assert [(node.name, node.inputs, node.shape) for node in graph] == [
        ("image", (), (4, 4, 2)),
        ("inner/conv", ("image",), (4, 4, 2)),
        ("inner/act", ("inner/conv",), (4, 4, 2)),
        ("chain/down", ("inner/act",), (2, 2, 3)),
        ("chain/re_lu", ("chain/down",), (2, 2, 3)),
    ]
    assert graph["inner"].name == "inner/act"
    assert graph["chain"].name == "chain/re_lu"


def test_read_graph_numbers_the_calls_of_a_shared_layer() -> None:
    inputs = keras.Input((4, 4, 2), name="image")
    shared = keras.layers.Conv2D(2, 1, name="shared")
    graph = read_graph(keras.Model(inputs, shared(keras.layers.ReLU(name="act")(shared(inputs)))), "Shared")
    assert [(node.name, node.inputs) for node in graph] == [
        ("image", ()),
        ("shared:0", ("image",)),
        ("act", ("shared:0",)),
        ("shared:1", ("act",)),
    ]


def test_read_graph_finds_the_end_of_models_within_models_by_the_name_of_each() -> None:
    deep = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(2, 1, name="conv")], name="deep")
    deeper = keras.Sequential([keras.Input((4, 4, 2)), deep], name="outer")
    graph = read_graph(keras.Model(inputs := keras.Input((4, 4, 2), name="image"), deeper(inputs)), "Nested")
    assert [node.name for node in graph] == ["image", "outer/deep/conv"]
    assert graph["outer/deep"] == graph["outer"] == graph.end


def test_read_graph_tells_the_layer_in_a_nested_model_that_is_called_twice() -> None:
    inner = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(2, 1, name="conv")], name="inner")
    inputs = keras.Input((4, 4, 2), name="image")
    graph = read_graph(keras.Model(inputs, inner(inner(inputs))), "Twice")
    assert [(node.name, node.layer) for node in graph] == [
        ("image", ""),
        ("inner:0/conv", "inner/conv"),
        ("inner:1/conv", "inner/conv"),
    ]


def test_read_graph_refuses_a_model_without_a_graph() -> None:
    class Subclassed(keras.Model):
        def call(self, inputs: object) -> object:
            return inputs

    with pytest.raises(CutError) as caught:
        read_graph(Subclassed(), "acme/eyenet")
    assert str(caught.value) == (
        "acme/eyenet has no graph to cut: its Subclassed is not a functional model\n"
        "  fix: let the builder return keras.Model(inputs, outputs), of layers of your own if need be (docs/plugins.md)"
    )


def test_read_graph_refuses_two_nodes_of_one_name() -> None:
    inputs = keras.Input((4,))
    twice = keras.layers.Dense(4, name="a")
    outputs = keras.layers.Dense(4, name="a:1")(twice(twice(inputs)))
    with pytest.raises(CutError) as caught:
        read_graph(keras.Model(inputs, outputs), "Net")
    assert str(caught.value) == (
        "two nodes would be called 'a:1'\n  fix: give each layer a name of its own, without a colon"
    )
