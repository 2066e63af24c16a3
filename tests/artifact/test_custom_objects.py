"""Layer classes of a plugin are saved, and only what the card of a plugin names is imported to load them."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, settle
from saved import edit

import torso

BLOCKS = """
import keras

@keras.saving.register_keras_serializable("acme")
class Gate(keras.layers.Layer):
    def __init__(self, gain=1.0, **more):
        super().__init__(**more)
        self.gain = gain

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, values):
        return values * self.scale * self.gain

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), GAIN}

@keras.saving.register_keras_serializable("acme")
def twice(values):
    return 2 * values
"""
PLUGIN = """
import torso

def build(*, input_shape):
    import keras
    from acme_blocks import Gate, twice

    @keras.saving.register_keras_serializable("acme")
    class Inner(Gate):
        pass

    images = keras.Input(input_shape, name="images")
    x = keras.layers.Conv2D(4, 3, strides=2, activation=twice, name="stem")(images)
    return keras.Model(images, KIND(gain=3.0, name="gate")(x))

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Net", family="Net", builder=f"{__name__}:build", input=torso.InputRules(default=(16, 16)),
        preprocessing=torso.Preprocessing(), layers=LAYERS,
    )
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., torso.Registry]]:
    """The registry of a plugin with layers in a module of its own."""
    monkeypatch.syspath_prepend(tmp_path / "lib")

    def write(kind: str = "Gate", layers: tuple[str, ...] = ("acme_blocks",), gain: str = '"gain": self.gain') -> Any:
        plugin = PLUGIN.replace("KIND", kind).replace("LAYERS", repr(layers))
        for path, text in ("plug/acme.py", plugin), ("lib/acme_blocks.py", BLOCKS.replace("GAIN", gain)):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        return torso.Registry.load(plugins_dirs=[tmp_path / "plug"], discover=False)

    yield write
    forget()


def forget() -> None:
    """As in a new process."""
    sys.modules.pop("acme_blocks", None)
    for name in [name for name in keras.saving.get_custom_objects() if name.startswith("acme>")]:
        del keras.saving.get_custom_objects()[name]


def test_layers_of_the_modules_of_a_card_are_saved_and_loaded(
    acme: Callable[..., torso.Registry], tmp_path: Path, plain_keras: Callable[..., CompletedProcess[str]]
) -> None:
    registry = acme()
    backbone = torso.create_backbone("Net", weights=None, registry=registry)
    settle(backbone.model, images((16, 16, 3)))
    folder = backbone.save(tmp_path / "edge")
    manifest = torso.load(folder).manifest
    assert manifest["layer_modules"] == ["acme_blocks"]
    assert manifest["custom_objects"] == [
        {"name": name, "module": "acme_blocks", "distribution": None} for name in ("acme>Gate", "acme>twice")
    ]
    code = f"import sys; sys.path[:0] = [{str(tmp_path / 'lib')!r}]; import acme_blocks, keras"
    done = plain_keras(f"{code}; print(keras.models.load_model({str(folder / 'model.keras')!r}).layers[-1].gain)")
    assert done.stdout == "3.0\n"
    expected = np.asarray(backbone.model(images((16, 16, 3))))

    forget()
    # What a file names is not imported.
    (tmp_path / "lib" / "other_blocks.py").write_text("raise SystemExit")
    edit(folder, lambda document: document.update(layer_modules=["other_blocks"]))
    with pytest.raises(torso.PluginError) as caught:
        torso.load(folder)
    assert str(caught.value) == (
        "'Net' needs acme>Gate, acme>twice, which the plugin 'acme' registers\n"
        "  fix: load it as then: --plugins-dir, -p, registry=torso.Registry.load(plugins_dirs=[…]), torso.register"
    )
    loaded = torso.load(folder, registry=registry).model
    assert_same_and_meaningful(loaded(images((16, 16, 3))), expected)
    forget()
    assert torso.attach(loaded, folder, registry=registry).model is loaded
    forget()
    assert torso.verify(folder, registry=registry).holds

    forget()
    (tmp_path / "lib" / "acme_blocks.py").write_text("")
    with pytest.raises(torso.PluginError, match=r"\n  found: plugin 'acme' .*, which registers no such name\n"):
        torso.load(folder, registry=registry)
    (tmp_path / "lib" / "acme_blocks.py").unlink()
    forget()
    with pytest.raises(torso.PluginError, match="importing the layers of 'acme/Net' failed: ModuleNotFoundError"):
        torso.load(folder, registry=registry)


def test_an_installed_plugin_that_is_missing_is_named_with_its_version(
    acme: Callable[..., torso.Registry], tmp_path: Path
) -> None:
    folder = torso.create_backbone("Net", weights=None, registry=acme()).save(tmp_path / "edge")
    forget()

    def install(document: Any) -> None:
        (record,) = (one for one in document["plugins"] if one["name"] == "acme")
        record.update(distribution="torso-acme", version="0.2.0")

    edit(folder, install)
    with pytest.raises(torso.PluginError, match=r"\n  fix: pip install torso-acme==0\.2\.0$"):
        torso.verify(folder)


@pytest.mark.parametrize(
    ("given", "name", "module"),
    [({"layers": ()}, "acme>Gate, acme>twice", "acme_blocks"), ({"kind": "Inner"}, "acme>Inner", "package.module")],
)
def test_a_class_that_no_module_of_the_card_registers_is_refused_when_saved(
    acme: Callable[..., torso.Registry], tmp_path: Path, given: Any, name: str, module: str
) -> None:
    backbone = torso.create_backbone("Net", weights=None, registry=acme(**given))
    with pytest.raises(torso.PluginError) as caught:
        backbone.save(tmp_path / "edge")
    assert str(caught.value) == (
        f"the saved model would not load with plain Keras: it uses {name}\n"
        "  fix: register it with @keras.saving.register_keras_serializable(), at the top level of a module\n"
        f"  and: name that: Architecture(layers=({module!r},)); see docs/plugins.md"
    )
    assert not (tmp_path / "edge").exists()


@pytest.mark.parametrize("kind", ["Gate", "(lambda **given: keras.layers.TimeDistributed(Gate(**given)))"])
@pytest.mark.parametrize(
    ("gain", "cause"),
    [
        ("", "ValueError: it computes something else; let get_config return every argument of __init__"),
        ('"gains": 1', "TypeError: "),
    ],
)
def test_a_class_that_its_configuration_does_not_remake_is_refused_before_a_build(
    acme: Callable[..., torso.Registry], gain: str, cause: str, kind: str
) -> None:
    registry = acme(kind, gain=gain)
    for call in partial(torso.create_backbone, weights=None), torso.read_graph:  # the latter is what torso check does
        with pytest.raises(torso.PluginError) as caught:
            call("Net", registry=registry)
        assert str(caught.value).startswith(f"Gate.from_config(get_config()) of 'gate' of 'acme/Net' failed: {cause}")
