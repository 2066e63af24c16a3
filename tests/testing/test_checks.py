"""The conformance kit finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torso.errors import TorsoError
from torso.plugins.registry import Registry
from torso.testing import CHECKS, ArchitectureTests, Subject, check_architecture, check_channel_adapter, checks, suite

NET = """
import torso

def build(*, input_shape):
    import keras
    from keras import layers

    class Own(layers.Layer):
        def call(self, values, training=False):
            return OWN

    inputs = keras.Input(input_shape, name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    return keras.Model(inputs, OUTPUTS)

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Net", family="None", builder=f"{__name__}:build", input=torso.InputRules(default=(8, 8), any_size=ANY), MORE
    )
"""
CARELESS = {
    "OUTPUTS": 'layers.Dense(3)(Own(name="own")(x))',
    "MORE": """parameters=7, preprocessing=torso.Preprocessing(),
        weights=(torso.Weights(tag="ours", files=(torso.WeightsFile(source="file", address="w.h5"),)),)""",
}
TOLD = 'source="us", preprocessing=torso.Preprocessing(source="us")'
PYRAMID = {
    "OUTPUTS": '{"fine": x, "coarse": layers.Conv2D(8, 3, strides=2, name="down")(x)}',
    "MORE": TOLD + ', levels={"C1": "down"}',
}
FICKLE = {"OUTPUTS": 'layers.Conv2D(4, 1 if input_shape[0] else 3, padding="same", name="end")(x)', "MORE": TOLD}


def net(words: dict[str, str], **more: str) -> str:
    """A plugin with one architecture."""
    text = NET
    for word, code in {"OWN": "values", "ANY": "False", **words, **more}.items():
        text = text.replace(word, code)
    return text


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
def plugin(tmp_path: Path) -> Callable[[str], Registry]:
    """A registry with one plugin, ``acme``."""

    def load(text: str) -> Registry:
        (tmp_path / "acme.py").write_text(text)
        return Registry.load(plugins_dirs=[tmp_path], discover=False)

    return load


def test_every_fault_of_a_careless_plugin_is_reported(plugin: Callable[[str], Registry]) -> None:
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Net", registry=plugin(net(CARELESS)), weights="none")
    failed = dict(line.split(": ", 1) for line in str(caught.value).split("\n") if line.startswith("check_"))
    assert list(failed) == [
        "check_card_says_where_its_figures_come_from",
        "check_published_files_are_hashed_and_fit_their_options",
        "check_parameters_are_those_of_the_card",
        "check_saved_model_loads_where_torso_is_not_installed",
    ]
    assert list(failed.values())[:3] == [
        "acme/Net has no source for: architecture, preprocessing, weights 'ours'",
        "w.h5 has no sha256",
        "the network has 127 parameters, 7 are declared",
    ]


def test_a_network_that_cannot_be_frozen_is_reported(plugin: Callable[[str], Registry]) -> None:
    careless = plugin(net(CARELESS, OWN="2 * values if training else values"))
    with pytest.raises(TorsoError, match=r"'own'.* Own .*train"):
        checks.check_frozen_is_frozen(Subject("acme/Net", careless, weights="none"))


def test_the_suite_has_one_test_for_each_check() -> None:
    assert len([name for name in vars(ArchitectureTests) if name.startswith("test_")]) == len(CHECKS) == 11


@pytest.mark.slow  # the conformance tests of plugins/torso-digits pass by default
def test_a_network_with_several_outputs_passes_whole(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(net(PYRAMID))

    class TestNet(ArchitectureTests):
        architecture = "acme/Net"
        plugins_dirs = (tmp_path,)

    TestNet.setup_class()
    for name in [name for name in vars(ArchitectureTests) if name.startswith("test_")]:
        getattr(TestNet(), name)()


@pytest.mark.slow
def test_a_single_file_that_imports_keras_is_reported(plugin: Callable[[str], Registry]) -> None:
    checks.check_listing_imports_no_keras(Subject("acme/Net", plugin(net(PYRAMID))))
    with pytest.raises(AssertionError, match=r"listing acme/Net imports \['keras', 'tensorflow'\]"):
        checks.check_listing_imports_no_keras(Subject("acme/Net", plugin("import keras\n" + net(PYRAMID))))


def test_a_map_whose_stride_no_rule_knows_is_a_map(plugin: Callable[[str], Registry]) -> None:
    text = net({"OWN": "values[:, ::2, ::2]", "OUTPUTS": 'Own(name="own")(x)', "MORE": TOLD})
    subject = Subject("acme/Net", plugin(text))
    assert [(end.shape, end.stride) for end in subject.backbone.features] == [((4, 4, 4), None)]
    checks.check_network_takes_the_images_that_the_card_allows(subject)


def test_any_exception_fails_its_check_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_one(subject: Subject) -> None:
        raise RuntimeError("of the network\nand more")

    def check_two(subject: Subject) -> None:
        raise AssertionError(subject.architecture)

    monkeypatch.setattr(suite, "CHECKS", (check_one, check_two))
    with pytest.raises(AssertionError) as caught:
        check_architecture("acme/Net")
    assert str(caught.value) == "check_one: RuntimeError: of the network\ncheck_two: acme/Net"


def test_another_network_for_any_size_is_reported(plugin: Callable[[str], Registry]) -> None:
    checks.check_network_for_any_size_is_the_same_one(Subject("acme/Net", plugin(net(FICKLE))))
    subject = Subject("acme/Net", plugin(net(FICKLE, ANY="True")))
    with pytest.raises(AssertionError, match="the network for any size has 'end' where the other has 'end'"):
        checks.check_network_for_any_size_is_the_same_one(subject)


def test_a_sound_channel_adapter_passes(plugin: Callable[[str], Registry]) -> None:
    rules = plugin(RULES)
    for name in ("mean", "repeat", "zero_extra", "acme/first"):
        for have in (1, 3, 4):
            check_channel_adapter(name, registry=rules, have=have)
    check_channel_adapter("acme/first", registry=rules, options={"weight": 0.5})
    check_channel_adapter("map", registry=rules, options={"sources": ["B", "G", "R", "none", "R"]})


@pytest.mark.parametrize(
    ("name", "more", "failed"),
    [
        ("acme/narrow", {}, [f"for {want} channels: channel adapter 'acme/narrow' failed: ValueError: it gave 2 rows of 3 "
                             f"numbers, not {want} rows of 3" for want in (1, 4, 13)]),
        ("acme/moody", {}, ["for 1 channels: it returns ((0.0, 0.0, 0.0),), and then ((1.0, 1.0, 1.0),)"]),
        ("acme/blind", {}, [f"for {want} channels: it reads no channel of the image" for want in (1, 2, 4, 13)]),
        ("map", {"options": {"sources": ["G", "0", "0"]}, "have": 4},
         ["for 3 channels: the weights have no channel 'G': their input has 4"]),
    ],
)  # fmt: skip
def test_a_bad_channel_adapter_is_reported(plugin: Callable[[str], Registry], name: str, more: dict, failed: list) -> None:
    with pytest.raises(AssertionError) as caught:
        check_channel_adapter(name, registry=plugin(RULES), **more)
    found = [line for line in str(caught.value).split("\n") if line.startswith("for ")]
    assert found[: len(failed)] == failed
