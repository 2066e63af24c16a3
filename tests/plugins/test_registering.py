"""Plugins of one process: a decorated builder, a module, an object with hooks."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

import torso
from torso.artifact.lock import Lock
from torso.cli.architecture_text import architecture_as_json
from torso.plugins import discovery
from torso.plugins.registry import Registry
from torso.testing import check_architecture

PIXELS = torso.Preprocessing(divide=255.0, source="us")


@keras.saving.register_keras_serializable("torso_test")
class Plus(keras.layers.Layer):  # type: ignore[misc]
    def call(self, values: Any) -> Any:
        return values + 1.0


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORSO_DISABLE_PLUGIN_AUTOLOAD", "1")
    yield
    discovery.registered.clear()


def mine(*, input_shape: Any, filters: int = 4) -> Any:
    given = keras.Input(input_shape, name="images")
    return keras.Model(given, Plus(name="plus")(keras.layers.Conv2D(filters, 3, strides=2, name="conv")(given)))


def eyes(name: str = "eyes", cut: str = "half") -> Any:
    module: Any = ModuleType(name)
    truncation = torso.Truncation(name=cut, doc="", select=lambda graph, options: graph.ends[0])
    module.torso_truncations = torso.hookimpl(lambda: [truncation])
    return module


def test_a_decorated_builder_is_an_architecture_of_this_process(tmp_path: Path) -> None:
    words: dict[str, Any] = {"preprocessing": PIXELS, "input": torso.InputRules(default=(16, 16)), "source": "us"}
    assert torso.architecture(name="mine", **words)(mine) is mine
    backbone = torso.create_backbone("mine", weights=None)
    assert backbone.manifest["plan"]["architecture"] == "mine/mine"
    assert backbone.manifest["plan"]["builder"] == f"{__name__}:mine"
    shown = architecture_as_json(Registry.load().architectures.resolve("mine"))
    assert json.loads(json.dumps(shown))["builder"] == f"{__name__}:mine"
    np.testing.assert_array_equal(backbone.preprocess(np.full((1, 16, 16, 3), 255.0)), np.ones((1, 16, 16, 3)))
    # What it was made with cannot be had elsewhere, and manifest and lock say so.
    (record,) = (one for one in backbone.manifest["plugins"] if one["name"] == "mine")
    assert (record["origin"], record["version"]) == ("registered", "cannot be reproduced elsewhere")
    assert Lock.of(tmp_path, [backbone.record]).entries["mine"]["plugins"]["mine"] == "cannot be reproduced elsewhere"
    assert torso.load(backbone.save(tmp_path / "saved")).manifest["custom_objects"][0]["name"] == "torso_test>Plus"
    # The cell of a notebook is run again.
    torso.architecture(name="mine", **words, arguments={"filters": 6})(mine)
    assert torso.create_backbone("mine", weights=None).features[0].channels == 6
    assert torso.plan("mine", weights=None, input_shape=(32, 32, 3)).input_shape == (32, 32, 3)


@pytest.mark.slow
def test_the_kit_checks_an_architecture_of_this_process() -> None:
    torso.architecture(name="mine", preprocessing=PIXELS, input=torso.InputRules(default=(16, 16)), source="us")(mine)
    check_architecture("mine/mine", registry=Registry.load())


def test_a_module_or_an_object_with_hooks_is_registered() -> None:
    class Thirds:
        torso_truncations = staticmethod(eyes(cut="third").torso_truncations)

    torso.register(eyes("package.eyes"))
    torso.register(Thirds())
    names = [one.qualified for one in Registry.load(discover=False).truncations if one.plugin.origin != "built-in"]
    assert sorted(names) == ["Thirds/third", "eyes/half"]
    blocked = Registry.load(plugins=["no:eyes"], discover=False).plugins.absent
    assert [str(one) for one in blocked] == ["plugin 'eyes' (this process)"]


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (ModuleType("empty"), "plugin 'empty' (this process) cannot be used: nothing in it is marked with @torso.hookimpl"),
        (eyes("keras"), "plugin 'keras' (this process) cannot be used: its name 'keras' is that of a built-in plugin"),
        (eyes(cut="a/b"), "plugin 'eyes' (this process) cannot be used: a name that its hook 'torso_truncations' yields is "
                          "'a/b'; a name is text without '/' and spaces"),
    ],
)  # fmt: skip
def test_a_plugin_at_fault_is_refused_and_not_registered(plugin: object, reason: str) -> None:
    with pytest.raises(torso.PluginError) as caught:
        torso.register(plugin)
    assert str(caught.value) == reason
    assert not discovery.registered


def test_a_registry_takes_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eyes", eyes())
    (info,) = (one for one in Registry.load(plugins=[sys.modules["eyes"]]).plugins if one.origin != "built-in")
    assert (info.name, info.origin, info.status) == ("eyes", "-p", "loaded")
