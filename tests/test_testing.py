"""The conformance kit finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from torso.plugins import BUILTINS, Plugins
from torso.registry import Registry
from torso.testing import CHECKS, ArchitectureTests, check_architecture

CARELESS = """
import torso

def build(*, input_shape):
    import keras

    class Noise(keras.layers.Layer):
        def call(self, values, training=False):
            return values + keras.random.normal((8, 8, 4)) if training else values

    inputs = keras.Input(input_shape, name="image")
    x = Noise(name="noise")(keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs))
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
    (tmp_path / "acme.py").write_text(CARELESS)
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
        "check_frozen_is_frozen",
        "check_saved_model_loads_where_torso_is_not_installed",
    ]
    assert failed[1].endswith(
        "acme/Careless does not say: source of the card, source of the preprocessing, source of the weights 'ours'"
    )
    assert failed[2].endswith("w.h5 has no sha256")
    assert failed[3].endswith("the network has 127 parameters, its card says 7")
    assert failed[4].endswith("level C1 is declared to be 'conv', and that has stride 1, not 2")
    assert failed[5].endswith("training mode changes the features")


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
