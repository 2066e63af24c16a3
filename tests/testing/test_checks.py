"""The conformance kit finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from torso.plugins import BUILTINS, Plugins
from torso.plugins.registry import Registry
from torso.testing import CHECKS, ArchitectureTests, check_architecture, check_channel_adapter

CARELESS = """
import torso

def build(*, input_shape):
    import keras

    class Own(keras.layers.Layer):
        def call(self, values, training=False):
            return OWN

    inputs = keras.Input(input_shape, name="image")
    x = Own(name="own")(keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x))

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Careless", family="None", builder=f"{__name__}:build", input=torso.InputRules(default=(8, 8)),
        preprocessing=torso.Preprocessing(), parameters=7, levels={"C1": "conv"},
        weights=(torso.Weights(tag="ours", files=(torso.WeightsFile(source="file", address="w.h5"),)),),
    )
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "acme.py").write_text(CARELESS.replace("OWN", "values"))
    return Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))


def test_the_kit_reports_all_that_is_wrong_with_a_careless_plugin(registry: Registry) -> None:
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Careless", registry=registry, weights="none")
    failed = [line for line in str(caught.value).split("\n") if line.startswith("check_")]
    assert [line.split(":")[0] for line in failed] == [
        "check_listing_imports_no_keras",  # a fresh process does not know the folder of the file
        "check_card_says_where_its_figures_come_from",
        "check_published_files_are_hashed_and_fit_their_options",
        "check_parameters_are_those_of_the_card",
        "check_declared_levels_are_in_the_network",
        "check_saved_model_loads_where_torso_is_not_installed",
    ]
    assert failed[1].endswith(
        "acme/Careless does not say: source of the card, source of the preprocessing, source of the weights 'ours'"
    )
    assert failed[2].endswith("w.h5 has no sha256")
    assert failed[3].endswith("the network has 127 parameters, its card says 7")
    assert failed[4].endswith("level C1 is declared to be 'conv', and that has stride 1, not 2")


@pytest.mark.parametrize(
    "own", ["values + keras.random.normal((8, 8, 4)) if training else values", "2 * values if training else values"]
)
def test_the_kit_reports_a_network_that_cannot_be_frozen(tmp_path: Path, own: str) -> None:
    (tmp_path / "acme.py").write_text(CARELESS.replace("OWN", own))
    registry = Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Careless", registry=registry, weights="none")
    (failed,) = [line for line in str(caught.value).split("\n") if line.startswith("check_frozen_is_frozen")]
    assert "'own' is a Own that computes otherwise in training, trainable or not" in failed


def test_the_suite_has_one_test_for_each_check() -> None:
    tests = {name for name in dir(ArchitectureTests) if name.startswith("test_")}
    assert tests == {check.__name__.replace("check_", "test_", 1) for check in CHECKS}


PYRAMID = """
import torso

def build(*, input_shape):
    import keras

    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    return keras.Model(inputs, {"fine": x, "coarse": keras.layers.Conv2D(8, 3, strides=2, name="down")(x)})

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Pyramid", family="None", builder=f"{__name__}:build", input=torso.InputRules(default=(8, 8)),
        preprocessing=torso.Preprocessing(source="us"), source="us", levels={"C1": "down"},
    )
"""


def test_a_network_with_several_outputs_passes_but_for_being_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(PYRAMID)
    registry = Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Pyramid", registry=registry)
    failed = [line.split(":")[0] for line in str(caught.value).split("\n") if line.startswith("check_")]
    assert failed == ["check_listing_imports_no_keras"]  # a fresh process does not know the folder of the file


FICKLE = """
import torso

def build(*, input_shape):
    import keras

    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1 if input_shape[0] else 3, padding="same", name="end")(x))

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Fickle", family="None", builder=f"{__name__}:build", source="us",
        preprocessing=torso.Preprocessing(source="us"), input=torso.InputRules(default=(8, 8), any_size=ALLOWED),
    )
"""


@pytest.mark.parametrize("allowed", [True, False])
def test_the_kit_reports_a_network_that_is_another_one_for_any_size_where_the_card_allows_that(
    tmp_path: Path, allowed: bool
) -> None:
    (tmp_path / "acme.py").write_text(FICKLE.replace("ALLOWED", str(allowed)))
    registry = Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Fickle", registry=registry)
    failed = [line for line in str(caught.value).split("\n") if line.startswith("check_network")]
    told = (
        "check_network_for_any_size_is_the_same_one: any_size: the network for any size has 3 nodes, the one for a size 3; "
        "the first that differs is 'end'"
    )
    assert failed == ([told] if allowed else [])


RULES = """
import itertools, torso

count = itertools.count()
sound = torso.Option(name="weight", type=float, default=1.0)

@torso.hookimpl
def torso_channel_adapters():
    first = lambda have, want, options: [[options["weight"]] + [0] * (have - 1)] * want
    yield torso.ChannelAdapter(name="first", doc="The first.", options=(sound,), positional="weight", mix=first)
    yield torso.ChannelAdapter(name="narrow", doc="Too few.", mix=lambda have, want, options: [[1.0] * have] * 2)
    yield torso.ChannelAdapter(name="moody", doc="Other.", mix=lambda have, want, options: [[next(count)] * have] * want)
    yield torso.ChannelAdapter(name="blind", doc="Nothing.", mix=lambda have, want, options: [[0] * have] * want)
"""


@pytest.fixture
def rules(tmp_path: Path) -> Registry:
    (tmp_path / "acme.py").write_text(RULES)
    return Registry(Plugins.load(plugins_dirs=[tmp_path], discover=False, builtins=BUILTINS))


def test_the_kit_passes_a_sound_channel_adapter(rules: Registry) -> None:
    for name in ("mean", "repeat", "zero_extra", "acme/first"):
        for have in (1, 3, 4):
            check_channel_adapter(name, registry=rules, have=have)
    check_channel_adapter("acme/first", registry=rules, options={"weight": 0.5})
    check_channel_adapter("map", registry=rules, options={"sources": ["B", "G", "R", "none", "R"]})


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("narrow", ["for 1 channels: channel adapter 'acme/narrow' gave 2 rows of 3 numbers, not 1 rows of 3",
                    "for 4 channels: channel adapter 'acme/narrow' gave 2 rows of 3 numbers, not 4 rows of 3",
                    "for 13 channels: channel adapter 'acme/narrow' gave 2 rows of 3 numbers, not 13 rows of 3"]),
        ("moody", ["for 1 channels: it answers ((0.0, 0.0, 0.0),), and then ((1.0, 1.0, 1.0),)"]),
        ("blind", [f"for {want} channels: it reads nothing of an image" for want in (1, 2, 4, 13)]),
    ],
)  # fmt: skip
def test_the_kit_reports_a_channel_adapter_that_is_none(rules: Registry, name: str, failed: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        check_channel_adapter(f"acme/{name}", registry=rules)
    told = [line for line in str(caught.value).split("\n") if line.startswith("for ")]
    assert told[: len(failed)] == failed
    with pytest.raises(AssertionError, match="for 3 channels: the weights have no channel 'G'"):
        check_channel_adapter("map", registry=rules, options={"sources": ["G", "0", "0"]}, have=4)
