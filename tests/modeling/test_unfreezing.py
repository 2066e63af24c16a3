"""What trains after an unfreeze is what stands behind the boundary, as the builder made it, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, moved_by, settle

import torso
from torso.graph import Graph
from torso.modeling.freeze import disagreements
from torso.modeling.variable_paths import leaves, variables_by_path

PLUGIN = """
import torso

def stage(x, number):
    import keras
    layers = keras.layers
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name=f"down{number}")(x)
    x = y = layers.ReLU(name=f"relu{number}")(layers.BatchNormalization(name=f"norm{number}")(x))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"conv{number}")(y)
    y = layers.BatchNormalization(name=f"bn{number}")(y)
    y = layers.Dropout(number / 10, name=f"drop{number}")(y)
    return layers.Add(name=f"add{number}")([x, y])

def ladder(*, input_shape):
    import keras
    images = x = keras.Input(input_shape, name="images")
    for number in 1, 2, 3, 4:
        x = stage(x, number)
    return keras.Model(images, x)

def nest(*, input_shape):
    import keras
    images = keras.Input(input_shape, name="images")
    inner = keras.Input((*(side // 4 for side in input_shape[:2]), 4))
    x = keras.Model(inner, stage(inner, 3), name="inner")(stage(stage(images, 1), 2))
    return keras.Model(images, stage(x, 4))

def twice(*, input_shape):
    import keras
    layers = keras.layers
    images = x = keras.Input(input_shape, name="images")
    conv = layers.Conv2D(3, 3, padding="same", use_bias=False, name="conv")
    norm, drop = layers.BatchNormalization(name="norm"), layers.Dropout(0.5, name="drop")
    for number in 1, 2:
        x = layers.MaxPooling2D(name=f"pool{number}")(norm(drop(conv(x))))
    return keras.Model(images, layers.Conv2D(2, 1, name="end")(x))

@torso.hookimpl
def torso_architectures():
    for name in "ladder", "nest", "twice":
        yield torso.Architecture(
            name=name.title(), family="Ladder", builder=f"{__name__}:{name}", input=torso.InputRules(default=(32, 32)),
            preprocessing=torso.Preprocessing(divide=255.0),
        )
"""
slow = partial(pytest.param, marks=pytest.mark.slow)
RATES = {f"drop{number}": number / 10 for number in (1, 2, 3, 4)}
PIXELS = images((32, 32, 3)) / 255
Create = Callable[..., torso.Backbone]


@pytest.fixture(scope="module")
def create(tmp_path_factory: pytest.TempPathFactory) -> Create:
    """Networks of four stages, one of them nested, and a network whose layers with weights are called twice but for one."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "acme.py").write_text(PLUGIN)
    registry = torso.Registry.load(plugins_dirs=[folder], discover=False)

    def create(architecture: str = "Ladder", **spec: Any) -> torso.Backbone:
        return torso.create_backbone(architecture, weights="none", registry=registry, **spec)

    return create


def frozen_nodes(graph: Graph, end: str) -> set[str]:
    """What a node is computed from, found forwards: each node has what the nodes that it reads have, and itself."""
    found: dict[str, set[str]] = {}
    for node in graph:
        found[node.name] = {node.name}.union(*(found[name] for name in node.inputs))
    return found[end]


def expected(backbone: torso.Backbone, end: str, norm: str) -> tuple[set[str], set[str]]:
    """The variables that train and those that adapt where a node is the last that is frozen, by what they are called."""
    frozen = frozen_nodes(backbone.graph, end)
    held = {node.weights_of for node in backbone.graph if node.name in frozen}
    trains, adapts = set(), set()
    for node in backbone.graph:
        if node.weights_of in held or (node.kind == "BatchNormalization" and norm == "frozen"):
            continue
        for path in variables_by_path(backbone.model):
            if path.startswith(f"{node.weights_of}/") and "seed_generator" not in path:
                (adapts if path.rsplit("/", 1)[1] in ("moving_mean", "moving_variance") else trains).add(path)
    return trains, adapts


def rates(backbone: torso.Backbone) -> dict[str, float]:
    return {name: layer.rate for name, layer in leaves(backbone.model) if isinstance(layer, keras.layers.Dropout)}


def assert_frozen_through(backbone: torso.Backbone, end: str, pixels: np.ndarray = PIXELS) -> None:
    """Training changes nothing up to a node, and something behind it."""
    layer = dict(leaves(backbone.model))[end]
    part = keras.Model(backbone.model.input, layer.output)
    assert_same_and_meaningful(part(pixels, training=True), part(pixels, training=False))


def config(backbone: torso.Backbone) -> str:
    """What Keras would write of the model; it reads lists where it wrote tuples."""
    return json.dumps(backbone.model.get_config(), sort_keys=True)


def told(backbone: torso.Backbone) -> dict[str, Any]:
    """What a report says, but for what Keras loses, which only saving finds out."""
    return {axis: said for axis, said in backbone.manifest["frozen"].items() if axis != "lost_by_keras"}


# --- what trains --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "norm", "stochastic", "end"),
    [
        slow({"from_level": "C4"}, "frozen", "on", "add3"),  # the highest
        slow({"from_level": "C4"}, "train", "on", "add3"),
        ({"from_level": "C3"}, "train", "off", "add2"),
        slow({"from_level": "C3"}, "frozen", "off", "add2"),
        slow({"from_level": "C1"}, "train", "on", "Ladder_input"),  # the lowest
        ({"from_node": "conv3"}, "train", "on", "relu3"),
        slow({"from_node": "down3"}, "frozen", "on", "add2"),
        slow({"from_node": "Ladder_input"}, "frozen", "on", "Ladder_input"),
        slow({}, "train", "off", "Ladder_input"),
        ({}, "frozen", "on", "Ladder_input"),
    ],
)
def test_an_unfreeze_lets_train_what_lies_after_the_boundary_as_it_was_built(
    create: Create, place: dict[str, str], norm: Any, stochastic: Any, end: str
) -> None:
    backbone = create()
    settle(backbone.model, PIXELS)
    backbone.unfreeze(**place, norm=norm, stochastic=stochastic)
    trains, adapts = expected(backbone, end, norm)
    report = backbone.manifest["frozen"]
    assert (set(report["trains"]), set(report["adapts"])) == (trains, adapts)
    assert report["trainable"] == sum(np.prod(variables_by_path(backbone.model)[path].shape) for path in trains)
    assert report["trainable"] + report["frozen"] == backbone.model.count_params()
    assert report["everything"] is False

    behind = {name for name in RATES if name not in frozen_nodes(backbone.graph, end)}
    woken = behind if stochastic == "on" else set()
    assert rates(backbone) == {name: rate if name in woken else 0 for name, rate in RATES.items()}
    assert report["silenced"] == {name: rate for name, rate in RATES.items() if name not in woken}
    if end != "Ladder_input":
        assert_frozen_through(backbone, end)
    assert moved_by(backbone.model) == trains | adapts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "truncate", "level"),
    [
        ("EfficientNetB0", {"level": "C2"}, "C2"),
        ("EfficientNetB0", "none", "C4"),
        ("MobileNetV2", {"level": "C4"}, "C3"),
        ("ConvNeXtTiny", {"level": "C3"}, "C3"),
        ("ResNet50", "none", "C5"),
        ("NASNetMobile", "none", "C4"),
    ],
)
def test_a_real_network_trains_from_a_level(create: Create, name: str, truncate: Any, level: str) -> None:
    spec: dict[str, Any] = {"input": {"size": [64, 64]}, "truncate": truncate}
    backbone, loose = create(name, **spec), create(name, freeze="none", **spec)
    settle(backbone.model, images((64, 64, 3)))
    end = backbone.graph.levels[f"C{int(level[1]) - 1}"]
    backbone.unfreeze(from_level=level, norm="train")
    trains, adapts = expected(backbone, end, "train")
    assert set(backbone.manifest["frozen"]["trains"]) == trains != set()
    assert set(backbone.manifest["frozen"]["adapts"]) == adapts
    frozen = frozen_nodes(backbone.graph, end)
    assert rates(backbone) == {name: 0 if name in frozen else rate for name, rate in rates(loose).items()}
    moved = moved_by(backbone.model, eagerly=False)
    assert moved <= trains | adapts
    assert len(moved) > 0.9 * len(trains | adapts)  # a unit that is never active has no gradient


def test_a_layer_on_both_sides_of_the_boundary_stays_frozen_and_silent(create: Create) -> None:
    backbone = create("Twice")
    settle(backbone.model, PIXELS)
    assert [node.name for node in backbone.graph][4:] == ["pool1", "conv:1", "drop:1", "norm:1", "pool2", "end"]
    backbone.unfreeze(from_node="pool1", norm="train")
    assert backbone.manifest["frozen"]["trains"] == ["end/kernel", "end/bias"]
    assert rates(backbone) == {"drop": 0}
    assert moved_by(backbone.model) == {"end/kernel", "end/bias"}
    backbone.unfreeze(norm="train")
    assert rates(backbone) == {"drop": 0.5}
    assert moved_by(backbone.model) == {
        "conv/kernel", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance", "end/kernel", "end/bias",
    }  # fmt: skip


@pytest.mark.parametrize("level", ["C3", slow("C4")])
def test_a_boundary_beside_a_nested_model_parts_it_from_the_rest(create: Create, level: str) -> None:
    backbone = create("Nest")
    assert backbone.graph.levels["C3"] == "inner/add3"
    backbone.unfreeze(from_level=level, norm="train")
    behind = ("inner/", "down4", "norm4", "conv4", "bn4") if level == "C3" else ("down4", "norm4", "conv4", "bn4")
    moving = {path for path in variables_by_path(backbone.model) if path.startswith(behind) and "seed" not in path}
    assert len(moving) == (20 if level == "C3" else 10)
    assert {*backbone.manifest["frozen"]["trains"], *backbone.manifest["frozen"]["adapts"]} == moving
    assert rates(backbone) == {"drop1": 0, "drop2": 0, "inner/drop3": 0.3 if level == "C3" else 0, "drop4": 0.4}
    assert moved_by(backbone.model) == moving
    backbone.unfreeze(from_node="inner/conv3", norm="train")  # and one within it parts that
    trains, adapts = expected(backbone, "inner/relu3", "train")
    assert {path for path in trains if path.startswith("inner/")} == {
        "inner/conv3/kernel", "inner/bn3/gamma", "inner/bn3/beta",
    }  # fmt: skip
    assert moved_by(backbone.model) == trains | adapts


def test_a_pyramid_with_its_preprocessing_trains_from_a_level_that_it_does_not_give(create: Create) -> None:
    backbone = create(truncate={"levels": ["C2", "C4"]}, preprocess={"include": True})
    assert set(backbone.model(PIXELS)) == {"C2", "C4"}
    assert [node.kind for node in backbone.graph][:2] == ["InputLayer", "Divide"]  # which never train
    backbone.unfreeze(from_level="C3", norm="train")
    trains, adapts = expected(backbone, "add2", "train")
    assert set(backbone.manifest["frozen"]["trains"]) == trains
    assert moved_by(backbone.model) == trains | adapts
    quiet, training = (backbone.model(PIXELS, training=training) for training in (False, True))
    np.testing.assert_array_equal(quiet["C2"], training["C2"])
    assert (np.asarray(quiet["C4"]) != np.asarray(training["C4"])).any()
    backbone.unfreeze(norm="train")
    trains, adapts = expected(backbone, backbone.graph.nodes[0].name, "train")
    assert len(trains) == 4 * 6
    assert moved_by(backbone.model) == trains | adapts


# --- again, and back ----------------------------------------------------------------------------------------------------

STEPS: list[dict[str, Any]] = [
    {"from_level": "C2", "norm": "train"},
    {"from_level": "C4"},
    {"from_level": "C3", "stochastic": "off"},
    {},
    {"norm": "train"},
    {"from_node": "conv2", "norm": "train"},
]


@pytest.fixture(scope="module")
def after_each(create: Create) -> list[tuple[Any, str]]:
    """For each of the steps, the report and the configuration of a backbone of which it is the first."""
    found = []
    for step in STEPS:
        fresh = create()
        fresh.unfreeze(**step)
        found.append((told(fresh), config(fresh)))
    return found


@pytest.mark.parametrize("freeze", ["adapt_norm", *map(slow, ("all", "none", "all_but_norm", {"through": "C3"}))])
def test_only_the_last_of_several_unfreezes_counts(create: Create, after_each: list[tuple[Any, str]], freeze: Any) -> None:
    backbone = create(freeze=freeze)
    for number in (*range(len(STEPS)), *reversed(range(len(STEPS)))):
        backbone.unfreeze(**STEPS[number])
        assert (told(backbone), config(backbone)) == after_each[number]


@pytest.mark.parametrize(
    ("freeze", "step", "same_as"),
    [
        ("adapt_norm", {"norm": "train"}, "none"),
        *(slow(one, {"norm": "train"}, "none") for one in ("all", "all_but_norm", {"all_but_last": 1})),
        ("all", {"from_level": "C3"}, {"through": "C2"}),
        ("all", {"from_node": "conv3", "norm": "train", "stochastic": "off"},
         {"through": {"at": "relu3", "norm": "train", "stochastic": "off"}}),
    ],
)  # fmt: skip
def test_to_unfreeze_is_to_have_frozen_less(create: Create, freeze: Any, step: dict[str, Any], same_as: Any) -> None:
    backbone, frozen = create(freeze=freeze), create(freeze=same_as)
    backbone.unfreeze(**step)
    assert told(backbone) == told(frozen)
    assert config(backbone) == config(frozen)
    if same_as == "none":
        assert rates(backbone) == rates(frozen) == RATES
        assert moved_by(backbone.model) == moved_by(frozen.model)


def test_a_backbone_may_be_frozen_anew_as_a_spec_would_have_it(create: Create) -> None:
    backbone = create(freeze="none")
    for policy in ({"through": "C2"}, "all", "adapt_norm", "none"):
        backbone.freeze(policy)
        fresh = create(freeze=policy)
        assert (told(backbone), config(backbone)) == (told(fresh), config(fresh))
    before = told(backbone), config(backbone)
    for policy in ("some", {"through": "conv3"}, {"all": 1}, None):
        with pytest.raises(torso.TorsoError):
            backbone.freeze(policy)
        assert (told(backbone), config(backbone)) == before


def test_rates_that_are_not_what_flags_say_are_a_warning_when_saved(create: Create, tmp_path: Path) -> None:
    backbone = create()
    backbone.model.trainable = True
    text = "drop1, drop2, drop3, drop4 are set to trainable, and still off: backbone.unfreeze(...) turns on what trains"
    with pytest.warns(torso.FreezeWarning, match=re.escape(text)):
        backbone.save(tmp_path / "off")
    backbone.unfreeze(from_level="C3")
    for layer in backbone.model.layers[-7:]:  # as a tutorial has it; without drop3
        layer.trainable = False
    text = "drop4 is not trainable, and still random in training: backbone.freeze(...) turns that off"
    with pytest.warns(torso.FreezeWarning, match=re.escape(text)):
        backbone.save(tmp_path / "on")
    backbone.unfreeze(stochastic="off")  # rates and flags may differ where that was asked for
    assert list(disagreements(torso.load(backbone.save(tmp_path / "meant")).model)) == []


# --- refusals -----------------------------------------------------------------------------------------------------------

LEVELS = "".join(f"\n  C{number}: 'add{number}'  (Add, stride {2**number}, 4 channels)" for number in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            {"from_node": "bn3"},
            "'bn3' does not begin a block of Ladder, and a block is frozen or trains as a whole\n"
            "  begins before: 'conv3', after 'relu3'\n"
            "  begins after: 'down4', after 'add3'",
        ),
        (
            {"from_node": "down5"},
            "node 'down5' is not in Ladder\n"
            "  did you mean: 'down4'  (Conv2D, stride 16, 4 channels), or 'down3' or 'down2'\n"
            "  clean cuts: add4, relu4, norm4, down4, add3, relu3, … and 10 more",
        ),
        ({"from_level": "C5"}, "Ladder has no level C5" + LEVELS),
        (
            {"from_level": "add3"},
            "'add3' is no level\n  fix: write from_node, and a node that begins a block\n  known: C1, C2, C3, C4, C5",
        ),
        (
            {"from_level": "C2", "from_node": "down2"},
            "level 'C2' and node 'down2' are two places to train from: give one of them",
        ),
        ({"norm": "adapt"}, "norm must be 'frozen' or 'train', not 'adapt'"),
        ({"from_level": "C4", "stochastic": True}, "stochastic must be 'on' or 'off', not True"),
    ],
)
def test_what_is_no_boundary_is_refused_and_changes_nothing(create: Create, asked: dict[str, Any], text: str) -> None:
    backbone = create(freeze={"through": "C3"})
    before = json.dumps(backbone.manifest), config(backbone)
    with pytest.raises(torso.TorsoError) as caught:
        backbone.unfreeze(**asked)
    assert str(caught.value) == text
    assert (json.dumps(backbone.manifest), config(backbone)) == before


def test_a_level_that_was_cut_off_is_refused(create: Create) -> None:
    with pytest.raises(torso.UnknownNameError) as caught:
        create(truncate={"level": "C2"}).unfreeze(from_level="C3")
    assert str(caught.value) == "Ladder has no level C3" + LEVELS[: LEVELS.index("\n  C3")]


# --- saved and loaded ---------------------------------------------------------------------------------------------------


def test_what_was_unfrozen_is_so_when_loaded_and_can_be_frozen_otherwise(create: Create, tmp_path: Path) -> None:
    backbone = create()
    settle(backbone.model, PIXELS)
    for count, step in enumerate(({"from_level": "C3", "norm": "train"}, {"from_level": "C4"}, {"norm": "train"})):
        fresh = create()
        fresh.unfreeze(**step)
        backbone.unfreeze(**step)
        folder = backbone.save(tmp_path / str(count))
        assert torso.verify(folder).holds
        backbone = torso.load(folder)
        assert backbone.manifest["frozen"] == told(fresh) | {"lost_by_keras": []}
        assert rates(backbone) == rates(fresh)
        assert config(backbone) == config(fresh)
    assert rates(backbone) == RATES
    trains, adapts = expected(backbone, "Ladder_input", "train")
    assert moved_by(backbone.model) == trains | adapts
