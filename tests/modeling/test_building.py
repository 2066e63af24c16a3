"""What happens between the plan and the trunk, with plugins of every temper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images

import torso
from torso.api import build
from torso.plugins import BUILTINS, Plugins
from torso.plugins.registry import Registry

Run = Callable[..., Any]

PLUGIN = """
import torso

def build(*, input_shape, depth=2):
    import keras
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    for index in range(depth):
        x = keras.layers.Conv2D(2, 3, padding="same", name=f"conv{{index}}")(x)
    return {returned}

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Tiny", family="Tiny", builder=f"{{__name__}}:build", input=torso.InputRules(default=(8, 8), minimum=4),
        preprocessing=torso.Preprocessing(), options=(torso.Option(name="depth", type=int, default=2),),
    )

{more}
"""


@pytest.fixture
def register(tmp_path: Path) -> Run:
    """A registry with ``Tiny``, from a plugin file that has some lines of its own."""

    def register(more: str = "", returned: str = "keras.Model(inputs, x)") -> Registry:
        (tmp_path / "acme.py").write_text(PLUGIN.format(more=more, returned=returned))
        registry = Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))
        assert not registry.plugins.absent, registry.plugins.absent[0].reason
        return registry

    return register


@pytest.fixture
def run(register: Run) -> Run:
    """Plan and build ``Tiny``."""

    def run(more: str = "", returned: str = "keras.Model(inputs, x)", **spec: Any) -> Any:
        registry = register(more, returned)
        return build(torso.plan("Tiny", registry=registry, **{"weights": "none", **spec}), registry)

    return run


def failure(run: Run, *args: Any, **spec: Any) -> str:
    with pytest.raises(torso.PluginError) as caught:
        run(*args, **spec)
    first, *notes = str(caught.value).split("\n")
    return "\n".join([first, *(note for note in notes if "plugin: " not in note and "see: " not in note)])


def test_a_plugin_file_is_built_with_the_options_of_the_spec_and_cut(run: Run) -> None:
    trunk = run(options={"depth": 3})
    assert [node.name for node in trunk.graph] == ["image", "conv0", "conv1", "conv2"]
    assert trunk.manifest["dropped"] == {"nodes": 0, "parameters": 0}
    trunk = run(truncate={"pop": 1})
    assert trunk.manifest["dropped"] == {"nodes": 1, "parameters": 3 * 3 * 2 * 2 + 2}
    assert trunk.model.count_params() == 3 * 3 * 3 * 2 + 2


def test_the_steps_and_the_finished_backbone_are_told(register: Run, capsys: pytest.CaptureFixture[str]) -> None:
    observer = "@torso.hookimpl\ndef torso_backbone_built(backbone):\n    print(backbone.name, backbone.model.trainable)"
    registry = register(observer)
    steps: list[str] = []
    build(torso.plan("Tiny", weights="none", name="edge", registry=registry), registry, progress=steps.append)
    assert steps == ["building Tiny", "cutting at conv1", "freezing"]
    assert capsys.readouterr().out == "edge False\n"


ONE_INPUT = "\n  fix: let it return a keras.Model with one input, of its input_shape"
BLAMED = {
    "1 / 0": "the builder of 'acme/Tiny' failed: ZeroDivisionError: division by zero",
    "exit('no more')": "the builder of 'acme/Tiny' failed: SystemExit: no more",
    "x": f"the builder of 'acme/Tiny' returned KerasTensor, no model{ONE_INPUT}",
    "keras.Model(a := keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1)(a))": (
        f"the builder of 'acme/Tiny' returned a model with the inputs [(None, None, 3)], not [(8, 8, 3)]{ONE_INPUT}"
    ),
    "[y := keras.Input((8, 8, 3)), keras.Model([inputs, y], keras.layers.Add()([x, x]) + y[..., :2])][1]": (
        f"the builder of 'acme/Tiny' returned a model with the inputs [(8, 8, 3), (8, 8, 3)], not [(8, 8, 3)]{ONE_INPUT}"
    ),
}


@pytest.mark.parametrize("returned", BLAMED)
def test_a_builder_that_fails_or_returns_something_else_is_named(run: Run, returned: str) -> None:
    assert failure(run, returned=returned) == BLAMED[returned]


def test_a_network_may_be_cut_at_its_own_end_that_is_no_map(run: Run) -> None:
    returned = "keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name='mean')(x))"
    assert run(returned=returned, truncate={"layer": "mean"}).features[0].shape == (2,)


SPLIT = "keras.Model(inputs, keras.layers.Conv2D(2, 1, name='end')(keras.ops.split(x, [1], axis=-1)[1]))"


def test_a_cut_at_a_node_with_several_outputs_is_refused(run: Run) -> None:
    with pytest.raises(torso.CutError) as caught:
        run(returned=SPLIT, truncate={"layer": "split"})
    assert str(caught.value) == (
        "'split' of Tiny has 2 outputs, and a backbone ends at one (argument truncate.layer)\n"
        "  fix: end at a node that reads one of them, or write truncate: none to keep what the network gives"
    )


def test_the_whole_network_ends_at_the_output_that_it_ends_at(run: Run) -> None:
    trunk = run(returned="keras.Model(inputs, keras.ops.split(x, [1], axis=-1)[1] * 2.0)")
    full = trunk.model.get_layer("conv1").output
    pixels = images((8, 8, 3))
    expected = keras.Model(trunk.model.input, full)(pixels).numpy()[..., 1:] * 2.0
    assert_same_and_meaningful(trunk.model(pixels), expected)


SHARED = "keras.Model(inputs, (same := keras.layers.Conv2D(2, 1, name='same'))(same(x)))"


def test_a_cut_at_one_call_of_a_shared_layer_saves_and_loads(register: Run, tmp_path: Path) -> None:
    spec: dict[str, Any] = {"weights": "none", "truncate": {"layer": "same:0"}, "registry": register(returned=SHARED)}
    backbone = torso.create_backbone("Tiny", **spec)
    assert [node.name for node in backbone.graph] == ["image", "conv0", "conv1", "same"]
    assert backbone.manifest["dropped"] == {"nodes": 1, "parameters": 0}
    assert torso.load(backbone.save(tmp_path / "saved")).features[0].node == "same"


def test_a_custom_layer_cannot_be_saved_as_what_plain_keras_loads(register: Run, tmp_path: Path) -> None:
    own = "(type('Own', (keras.layers.Layer,), {'call': lambda self, values: values * 2.0}))()(x)"
    backbone = torso.create_backbone("Tiny", weights="none", registry=register(returned=f"keras.Model(inputs, {own})"))
    with pytest.raises(torso.PluginError) as caught:
        backbone.save(tmp_path / "saved")
    assert str(caught.value) == (
        "the saved model would not load with plain Keras: it uses Own\n  fix: build the network of Keras' own layers and ops"
    )
    assert not (tmp_path / "saved").exists()


def test_a_builder_loads_no_weights_by_itself(run: Run) -> None:
    trunk = run(returned="[m := keras.Model(inputs, x), m.load_weights('nowhere.weights.h5')][0]")
    assert trunk.manifest["weights_file"] is None


NO_CUT = """that is no cut of Tiny
  fix: return a node name, or a dict {output name: node name}"""
STRATEGY = """
@torso.hookimpl
def torso_truncations():
    yield torso.Truncation(name="mine", doc="", select=lambda graph, options: {0})
"""


@pytest.mark.parametrize(
    ("selected", "fact"),
    [
        *((given, f"returned {given}, and {NO_CUT}") for given in ("'conv7'", "None", "{}", "{'a': 'conv1', 'b': 'conv1'}")),
        ("1 / 0", "failed: ZeroDivisionError: division by zero (argument truncate)"),
    ],
)
def test_a_strategy_that_fails_is_blamed(run: Run, selected: str, fact: str) -> None:
    assert failure(run, STRATEGY.replace("{0}", selected), truncate="mine") == f"truncation strategy 'acme/mine' {fact}"


def test_a_strategy_of_a_plugin_chooses_the_cut(run: Run) -> None:
    assert run(STRATEGY.replace("{0}", "graph.clean[1].name"), truncate="acme/mine").graph.end.name == "conv0"


POLICY = """
@torso.hookimpl
def torso_freeze_policies():
    yield torso.FreezePolicy(name="mine", doc="", select=lambda graph, options: {0})
"""


@pytest.mark.parametrize(
    ("selected", "fact"),
    [
        ("['conv0']", "freeze policy 'acme/mine' returned list, not a FreezePlan"),
        (
            "torso.FreezePlan(weights=frozenset({'conv9'}))",
            "freeze policy 'acme/mine' selected 'conv9', which is not in the truncated model (argument freeze)\n"
            "  did you mean: 'conv1', 'conv0'",
        ),
        ("graph.nodes[9]", "freeze policy 'acme/mine' failed: IndexError: tuple index out of range (argument freeze)"),
    ],
)
def test_a_policy_that_fails_is_blamed(run: Run, selected: str, fact: str) -> None:
    assert failure(run, POLICY.replace("{0}", selected), freeze="mine") == fact


BEFORE = """
@torso.hookimpl
def torso_before_freeze(model, plan):
    import keras
    return {0}
"""


def test_before_freeze_comes_between_the_cut_and_the_freeze(run: Run) -> None:
    grown = "keras.Model(model.input, keras.layers.Conv2D(5, 1)(model.output))"
    for _ in range(2):  # the name of what the plugin adds does not drift either
        trunk = run(BEFORE.replace("{0}", grown), truncate={"pop": 1})
        assert [node.name for node in trunk.graph] == ["image", "conv0", "conv2d"]
        assert [layer.name for layer in trunk.model.layers] == ["image", "conv0", "conv2d"]
        assert trunk.model.trainable_weights == []
        assert trunk.features[0].channels == 5


NESTED = """keras.Model(
        inputs,
        [a := keras.Input((8, 8, 2)), keras.Model(a, keras.layers.Add(name="add")([
            keras.layers.Conv2D(4, 1)(a), keras.layers.Conv2D(4, 3, padding="same")(a)
        ]), name="inner")][1](x),
    )"""


def test_names_stay_where_the_calls_that_they_were_counted_behind_are_gone(run: Run) -> None:
    spec: dict[str, Any] = {"truncate": {"layer": {"name": "inner/conv2d_1", "allow_partial": True}}}
    names = ["image", "conv0", "conv1", "inner/conv2d_1"]
    trunk = run(returned=NESTED, **spec)
    assert [node.name for node in trunk.graph] == names
    assert trunk.model.get_layer("inner").layers[-1].name == "conv2d_1"
    grown = BEFORE.replace("{0}", "keras.Model(model.input, keras.layers.ReLU(name='end')(model.output))")
    trunk = run(grown, returned=NESTED, **spec)
    assert [node.name for node in trunk.graph] == [*names, "end"]
    assert trunk.model.get_layer("inner").layers[-1].name == "conv2d_1"


def test_a_level_stays_where_it_was_when_a_plugin_adds_to_the_trunk(run: Run) -> None:
    down = "keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2, padding='same', name='down')(x))"
    grown = "keras.Model(model.input, keras.layers.Conv2D(5, 1, name='more')(model.output))"
    trunk = run(BEFORE.replace("{0}", grown), returned=down)
    assert trunk.graph.end.name == "more"
    assert dict(trunk.graph.levels) == {"C1": "down"}


def test_before_freeze_may_leave_the_model_or_return_another_and_nothing_else(run: Run) -> None:
    assert [node.name for node in run(BEFORE.replace("{0}", "None")).graph] == ["image", "conv0", "conv1"]
    assert failure(run, BEFORE.replace("{0}", "model.output")) == (
        "torso_before_freeze returned KerasTensor, not a keras.Model or None"
    )


def test_channels_first_is_refused(run: Run) -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(torso.OptionError) as caught:
            run()
    finally:
        keras.config.set_image_data_format("channels_last")
    assert str(caught.value) == (
        "Keras is set to channels_first, and torso builds for images (N, H, W, C)\n"
        "  fix: call keras.config.set_image_data_format('channels_last')"
    )


def test_a_graph_is_read_off_a_model_without_values(register: Run, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def graph_of(returned: str) -> torso.Graph:
        return torso.read_graph("Tiny", registry=register(returned=returned))

    graph = graph_of("[m := keras.Model(inputs, x), print(m.weights[0]._value is not None)][0]")
    assert capsys.readouterr().out.startswith("False\n")
    assert [node.name for node in graph] == ["image", "conv0", "conv1"]
    assert graph.nodes[1].parameters == 3 * 3 * 3 * 2 + 2
    assigned = "[m := keras.Model(inputs, x), m.weights[0].assign(m.weights[0].numpy() * 2)][0]"
    assert graph_of(assigned).nodes == run(returned=assigned).graph.nodes
    with pytest.raises(torso.PluginError, match="the builder of 'acme/Tiny' failed: ZeroDivisionError: division by zero"):
        graph_of("1 / 0")


def test_a_level_that_is_declared_by_a_counted_name_holds_with_default_options_only(tmp_path: Path) -> None:
    returned = "keras.Model(inputs, keras.layers.ReLU()(keras.layers.Conv2D(4, 3, strides=2, padding='same')(x)))"
    text = PLUGIN.format(more="", returned=returned).replace("options=(", 'levels={"C1": "conv2d"}, options=(')
    (tmp_path / "acme.py").write_text(text)
    registry = torso.Registry.load(plugins_dirs=[tmp_path], discover=False)
    assert dict(torso.read_graph("Tiny", registry=registry).levels) == {"C1": "conv2d"}
    assert dict(torso.read_graph("Tiny", options={"depth": 3}, registry=registry).levels) == {"C1": "re_lu"}


def test_a_plugin_may_turn_a_trunk_into_one_with_several_outputs(run: Run) -> None:
    more = """
@torso.hookimpl
def torso_before_freeze(model):
    import keras
    return keras.Model(model.input, {"deep": model.output, "wide": model.get_layer("conv0").output})
"""
    trunk = run(more=more)
    assert [(feature.name, feature.node) for feature in trunk.features] == [("deep", "conv1"), ("wide", "conv0")]
    assert list(trunk.model(np.zeros((1, 8, 8, 3)))) == ["deep", "wide"]
    assert not trunk.model.trainable_weights
