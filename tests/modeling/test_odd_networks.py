"""Networks that are built in unusual ways: read as they are, cut to the last bit, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, randomize
from provider import Acme, told

import torso
from torso.errors import CutError
from torso.modeling.graph_reader import read_graph
from torso.modeling.truncate import cut

layers, ops = keras.layers, keras.ops

Make = Callable[..., Acme]


def image() -> Any:
    return keras.Input((16, 16, 3), name="images")


# --- names --------------------------------------------------------------------------------------------------------------


def test_a_name_that_an_author_wrote_as_keras_would_stays_in_every_build(make: Make) -> None:
    acme = make(
        body='x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv2d_1")(images)\n'
        "    return keras.Model(images, layers.Conv2D(8, 3)(x))"
    )
    for _ in range(4):
        graph = acme.graph()
        assert [(node.name, node.channels) for node in graph][1:] == [("conv2d_1", 4), ("conv2d", 8)]
        keras.layers.Conv2D(1, 1)
    truncated = acme.create(truncate={"layer": "conv2d_1"})
    assert [(node.name, node.channels) for node in truncated.graph][1:] == [("conv2d_1", 4)]


FUNCTIONAL = """a = keras.Input(input_shape)
    inner = keras.Model(a, layers.Conv2D(8, 3)(layers.Conv2D(4, 3, name="conv2d_1")(a)), name="inner")
"""
SEQUENTIAL = """inner = keras.Sequential([layers.Conv2D(4, 3, name="conv2d_1"), layers.Conv2D(8, 3)], name="inner")
"""


@pytest.mark.parametrize("inner", [FUNCTIONAL, SEQUENTIAL], ids=["functional", "sequential"])
def test_a_name_that_an_author_wrote_as_keras_would_stays_within_a_nested_model(make: Make, inner: str) -> None:
    acme = make(body=f"{inner}    return keras.Model(images, inner(images))")
    names = [("inner/conv2d_1", 4), ("inner/conv2d", 8)]
    assert [(node.name, node.channels) for node in acme.graph()][1:] == names
    built = acme.create()
    assert [(node.name, node.channels) for node in built.graph][1:] == names
    assert [layer.name for layer in built.model.get_layer("inner").layers][-2:] == ["conv2d_1", "conv2d"]
    truncated = acme.create(truncate={"layer": "inner/conv2d_1"})
    assert [(node.name, node.channels) for node in truncated.graph][1:] == names[:1]


# --- outputs ------------------------------------------------------------------------------------------------------------


def test_the_second_output_of_a_node_is_kept_where_the_network_gives_that(make: Make) -> None:
    acme = make(
        body='p = layers.Conv2D(8, 3, padding="same", name="p")(images)\n'
        "    return keras.Model(images, [p, ops.split(p, [3], axis=-1)[1]])"
    )
    built = acme.create()
    whole, second = built.model(images((16, 16, 3)))
    assert_same_and_meaningful(second, np.asarray(whole)[..., 3:])
    assert [(feature.name, feature.channels) for feature in built.features] == [("p", 8), ("split", 5)]
    for truncate in ({"layer": {"name": "split", "allow_partial": True}}, {"layers": ["p", "split"]}):
        with pytest.raises(CutError) as caught:
            acme.create(truncate=truncate)
        assert caught.value.fact == "'split' of Net has 2 outputs, and a backbone ends at one"


def test_several_outputs_of_one_node_are_refused(make: Make) -> None:
    with pytest.raises(CutError) as caught:
        make(body="return keras.Model(images, ops.split(layers.Conv2D(4, 1)(images), 2, axis=-1))").create()
    assert told(caught.value) == (
        "Net has several outputs that are of one node, 'split'\n  fix: let the builder return each node once"
    )


def test_a_network_keeps_its_outputs_in_order_and_loses_none_unsaid(make: Make) -> None:
    acme = make(
        body='p = layers.Conv2D(4, 3, name="p")(images)\n    q = layers.Conv2D(6, 3, name="q")(p)\n'
        "    return keras.Model(images, {'zeta': p, 'alpha': q})"
    )
    built = acme.create()
    assert list(built.model(images((16, 16, 3)))) == ["zeta", "alpha"]
    assert [(feature.name, feature.node) for feature in built.features] == [("zeta", "p"), ("alpha", "q")]
    with pytest.raises(CutError) as caught:
        acme.create(truncate={"layer": "q"})
    assert str(caught.value) == (
        "a cut at 'q' would lose a branch of Net that runs beside it (argument truncate.layer)\n"
        "  lost: 'p', an output of the network\n"
        "  clean before: 'p'  (Conv2D, stride 1, 4 channels, pop 1)\n"
        "  fix: cut at a clean node, or add allow_partial: true to cut here anyway"
    )


def test_a_network_of_nested_outputs_is_kept_whole(make: Make, tmp_path: Path) -> None:
    acme = make(
        body="a = keras.Input(input_shape)\n"
        "    inner = keras.Model(a, [layers.Conv2D(2, 3, name='c')(a), layers.Conv2D(4, 3, name='d')(a)], name='inner')\n"
        "    return keras.Model(images, inner(images))"
    )
    built = acme.create()
    assert [feature.node for feature in built.features] == ["inner/c", "inner/d"]
    assert [value.shape[-1] for value in built.model(images((16, 16, 3)))] == [2, 4]
    assert torso.load(built.save(tmp_path / "saved")).features == built.features


# --- nested models ------------------------------------------------------------------------------------------------------


def named_inner() -> keras.Model:
    """A model with inputs and outputs by names that are not in alphabetical order."""
    first, second = keras.Input((16, 16, 4), name="z"), keras.Input((16, 16, 4), name="a")
    one, two = layers.Conv2D(3, 1, name="one")(first), layers.Conv2D(5, 3, padding="same", name="two")(second)
    return keras.Model({"z": first, "a": second}, {"z": one, "a": two}, name="inner")


def test_inputs_and_outputs_of_nested_models_are_told_apart_by_name() -> None:
    inputs = image()
    p = layers.Conv2D(4, 5, padding="same", name="p")(inputs)
    q = layers.Conv2D(4, 1, name="q")(inputs)
    given = named_inner()({"z": p, "a": q})
    model = keras.Model(inputs, layers.Concatenate(name="end")([layers.ReLU(name="of_z")(given["z"]), given["a"]]))
    randomize(model)
    graph = read_graph(model, "Net")
    assert [(name, graph[name].inputs, graph[name].channels, graph[name].receptive_field) for name in
            ("inner/one", "inner/two", "of_z")] == [
        ("inner/one", ("p",), 3, 5),
        ("inner/two", ("q",), 5, 3),
        ("of_z", ("inner/one",), 3, 5),
    ]  # fmt: skip
    pixels = images((16, 16, 3))
    assert_same_and_meaningful(cut(model, None, "truncated")(pixels), model(pixels))
    assert_same_and_meaningful(
        cut(model, "of_z", "truncated")(pixels), keras.Model(inputs, model.get_layer("of_z").output)(pixels)
    )


def test_a_cut_inside_a_nested_model_of_two_inputs_keeps_what_it_is_called_with() -> None:
    inputs = image()
    a, b = keras.Input((16, 16, 4)), keras.Input((16, 16, 4))
    left = layers.Conv2D(4, 3, padding="same", name="left")(a)
    inner = keras.Model([a, b], layers.Add()([left, layers.Conv2D(4, 1, name="right")(b)]), name="inner")
    p, q = layers.Conv2D(4, 1, name="p")(inputs), layers.Conv2D(4, 1, name="q")(inputs)
    model = keras.Model(inputs, inner([p, q]))
    randomize(model)
    pixels = images((16, 16, 3))
    expected = inner.get_layer("left")(keras.Model(inputs, p)(pixels))
    assert_same_and_meaningful(cut(model, "inner/left", "truncated")(pixels), expected)


def test_sizes_are_known_inside_a_nested_model_that_is_for_any_size() -> None:
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="act")], name="body"
    )
    graph = read_graph(keras.Model(inputs := image(), inner(inputs)), "Net")
    assert [(node.name, node.shape, node.macs) for node in graph][1:] == [
        ("body/conv", (14, 14, 4), 14 * 14 * 4 * 27),
        ("body/act", (14, 14, 4), 0),
    ]


def test_a_second_call_that_does_not_read_the_first_is_cut_alone() -> None:
    inputs = image()
    shared = layers.Conv2D(3, 1, name="shared")
    first, second = shared(inputs), shared(layers.ReLU(name="before")(layers.Conv2D(3, 1, name="own")(inputs)))
    behind = layers.ReLU(name="behind")(second)
    model = keras.Model(inputs, layers.Add()([first, behind]))
    randomize(model)
    pixels = images((16, 16, 3))
    assert_same_and_meaningful(cut(model, "shared:1", "truncated")(pixels), keras.Model(inputs, second)(pixels))
    truncated = cut(model, "behind", "truncated")
    assert_same_and_meaningful(truncated(pixels), keras.Model(inputs, behind)(pixels))
    assert [layer.name for layer in truncated.operations] == ["images", "own", "before", "shared", "behind"]


def test_the_level_of_a_call_stays_when_the_other_calls_are_gone(make: Make) -> None:
    acme = make(
        body="down = layers.Conv2D(3, 3, strides=2, padding='same', name='down')\n"
        "    return keras.Model(images, down(down(images)))"
    )
    built = acme.create(truncate={"level": "C1"})
    assert [(feature.node, feature.level) for feature in built.features] == [("down", "C1")]


def test_a_layer_that_two_models_share_is_counted_once_and_not_torn_apart(make: Make) -> None:
    acme = make(
        body="shared = layers.Conv2D(3, 3, padding='same', name='shared')\n    a = keras.Input(input_shape)\n"
        "    inner = keras.Model(a, shared(a), name='inner')\n    return keras.Model(images, shared(inner(images)))"
    )
    graph = acme.graph()
    assert graph.cost().parameters == 3 * 3 * 3 * 3 + 3
    with pytest.raises(CutError) as caught:
        acme.create()
    assert told(caught.value) == (
        "'inner/shared' and 'shared' are one layer, and a copy of the network would have two with weights of their own\n"
        "  fix: let a layer be called within one model only, nested ones or the outer one"
    )


def test_python_code_in_a_network_is_refused_by_name(make: Make) -> None:
    with pytest.raises(CutError) as caught:
        make(body="return keras.Model(images, layers.Lambda(lambda x: x * 2, name='twice')(images))").create()
    assert told(caught.value) == (
        "'twice' is a Lambda layer, and Python code in it is neither copied nor saved\n"
        "  fix: use an op of keras.ops, a layer of Keras, or your own: docs/plugins.md"
    )


# --- geometry and cost --------------------------------------------------------------------------------------------------


class Halved(layers.Layer):
    """Every second row and column, as no rule can know."""

    def call(self, values: Any) -> Any:
        return values[:, ::2, ::2]


class Block(layers.Layer):
    """Two convolutions under one name, with words of Keras' own in its configuration."""

    def __init__(self, kernel_size: int = 3, **more: Any) -> None:
        super().__init__(**more)
        self.kernel_size = kernel_size
        self.one, self.two = layers.Conv2D(4, kernel_size, padding="same"), layers.Conv2D(4, 1)

    def call(self, values: Any) -> Any:
        return self.two(self.one(values))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size}


UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "custom": Halved(),
    "patches": lambda x: ops.image.extract_patches(x, 4),
    "moveaxis": lambda x: ops.moveaxis(x, 3, 1),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "mean": lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
    "roll": lambda x: ops.roll(x, 1, axis=1),
}


@pytest.mark.parametrize("size", [(16, 16), (None, None)])
@pytest.mark.parametrize("change", UNKNOWN)
def test_what_moves_positions_in_unknown_ways_has_no_stride(change: str, size: tuple[int | None, int | None]) -> None:
    inputs = keras.Input((*size, 3))
    node = read_graph(keras.Model(inputs, UNKNOWN[change](layers.Conv2D(16, 3, padding="same")(inputs))), "Net").end
    assert (node.stride, node.receptive_field, node.sees_all) == (None, None, True)


def test_a_custom_layer_that_keeps_the_map_keeps_the_stride_and_its_cost_is_unknown() -> None:
    inputs = image()
    node = read_graph(keras.Model(inputs, Block()(layers.Conv2D(4, 3, strides=2, padding="same")(inputs))), "Net").end
    assert (node.stride, node.kernel, node.macs, node.flops) == (2, None, None, None)
    assert node.parameters == 4 * 9 * 4 + 4 + 4 * 4 + 4


@pytest.mark.parametrize("name", ["ZeroPadding2D", "GetItem", "Concatenate"])
def test_a_class_of_a_plugin_named_like_one_of_keras_is_not_taken_for_that(name: str) -> None:
    own = keras.saving.register_keras_serializable("acme")(type(name, (layers.Layer,), {"call": lambda self, x: x + 1}))
    for size in ((16, 16), (None, None)):
        inputs = keras.Input((*size, 3))
        node = read_graph(keras.Model(inputs, own()(layers.Conv2D(4, 3, strides=2)(inputs))), "Net").end
        assert (node.kind, node.stride, node.receptive_field) == (name, 2, 3)


class Added(layers.Layer):
    """The sum of two maps, which are given one by one."""

    def call(self, one: Any, other: Any) -> Any:
        return one + other


class Silent(layers.Layer):
    """Fails for any size that is known."""

    def compute_output_spec(self, values: Any) -> Any:
        if values.shape[1] is not None:
            raise RuntimeError
        return keras.KerasTensor(values.shape)


@pytest.mark.parametrize(
    ("layer", "stride"),
    [
        (Block(), 2),
        (Halved(), None),
        (lambda x: Added()(x, ops.relu(x)), 2),
        (Silent(), None),
    ],
    ids=["keeps the map", "halves it", "of two", "does not tell"],
)
def test_a_layer_that_no_rule_knows_is_asked_what_it_does_to_a_map_of_any_size(layer: Any, stride: int | None) -> None:
    inputs = keras.Input((None, None, 3))
    node = read_graph(keras.Model(inputs, layer(layers.Conv2D(4, 3, strides=2)(inputs))), "Net").end
    assert node.stride == stride


@pytest.mark.parametrize("size", [(16, 16), (None, None)])
@pytest.mark.parametrize(("axis", "stride"), [(1, None), (-2, None), (3, 2), (-1, 2)])
def test_maps_that_are_put_beside_each_other_are_no_map_of_the_image(size: Any, axis: int, stride: int | None) -> None:
    inputs = keras.Input((*size, 3))
    convolved = layers.Conv2D(4, 3, strides=2)(inputs)
    node = read_graph(keras.Model(inputs, layers.Concatenate(axis=axis)([convolved, ops.relu(convolved)])), "Net").end
    assert node.stride == stride


def test_each_output_of_a_node_has_its_own_shape_for_who_reads_it() -> None:
    inputs = image()
    wide, narrow = ops.split(layers.Conv2D(8, 1)(inputs), [6], axis=-1)
    both = layers.Concatenate()([layers.Conv2D(1, 1, name="of_wide")(wide), layers.Conv2D(1, 1, name="of_narrow")(narrow)])
    graph = read_graph(keras.Model(inputs, both), "Net")
    assert (graph["of_wide"].macs, graph["of_narrow"].macs) == (256 * 6, 256 * 2)


def test_an_op_that_keras_saves_without_its_name_is_loaded_under_it(make: Make, tmp_path: Path) -> None:
    built = make(
        body="return keras.Model(images, layers.Dense(8, name='embed')(ops.image.extract_patches(images, 4)))"
    ).create()
    again = torso.load(built.save(tmp_path / "saved"))
    assert again.graph == built.graph
    pixels = images((16, 16, 3))
    assert_same_and_meaningful(again.model(pixels), built.model(pixels))


def test_a_backbone_does_not_end_by_a_budget_where_no_cells_are_left(make: Make) -> None:
    acme = make(
        body="x = layers.Conv2D(4, 3, name='conv')(images)\n    x = layers.GlobalAveragePooling2D(name='mean')(x)\n"
        "    return keras.Model(images, layers.Dense(100, name='end')(x))",
        more='end="conv"',
    )
    graph = acme.graph()
    assert [node.name for node in graph.clean] == ["images", "conv"]
    assert acme.create(truncate={"budget": {"macs": 14 * 14 * 4 * 27 + 300}}).features[0].node == "conv"
