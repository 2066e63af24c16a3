"""A plugin author: one file with a network and layers of its own, the checks of torso.testing, and a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from refusals import fix_of

import torso
from torso.testing import check_architecture

PLUGIN = """
import torso


def build(*, input_shape, width):
    import keras

    images = keras.Input(input_shape, name="images")
    x = keras.layers.Conv2D(width, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    return keras.Model(images, keras.layers.Conv2D(2 * width, 3, strides=2, padding="same", name="body")(x))


@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="eyenet", family="Eye", builder=f"{__name__}:build", preprocessing=torso.Preprocessing(divide=255.0),
        input=torso.InputRules(default=(64, 64), minimum=8), options=(torso.Option(name="width", type=int, default=8),),
    )
"""


def test_one_file_from_the_first_mistake_to_a_saved_backbone(here: Path, shell: Callable[..., str]) -> None:
    (here / "plugins-here").mkdir()
    file = here / "plugins-here/acme.py"
    file.write_text(PLUGIN.replace("@torso.hookimpl\n", ""))
    shell("list --plugins-dir plugins-here")
    assert "its function 'torso_architectures' is not marked with @torso.hookimpl" in shell(
        "plugins --plugins-dir plugins-here"
    )
    file.write_text(PLUGIN)
    assert "eyenet  Eye" in shell("list --plugins-dir plugins-here --provider acme")
    assert "stem" in shell("show --plugins-dir plugins-here eyenet")
    (here / "eyes.yaml").write_text(
        "version: 1\nbackbones:\n"
        "  eye: {architecture: eyenet, weights: none, options: {width: 4}, truncate: {layer: stem}}\n"
    )
    assert shell("check --plugins-dir plugins-here eyes.yaml").startswith("eyes.yaml: ok")
    assert "no plugin" in (wrong := shell("check eyes.yaml", code=2)) or "unknown architecture 'eyenet'" in wrong
    shell("build --plugins-dir plugins-here eyes.yaml -o saved")
    assert torso.load("saved/eye").features[0].shape == (32, 32, 4)
    assert fix_of(shell("list -p plugins-here/acme.py", code=2)) == "--plugins-dir plugins-here"


@pytest.mark.slow
def test_the_checks_of_torso_testing_on_that_file(here: Path) -> None:
    file = here / "acme.py"
    file.write_text(PLUGIN)
    with pytest.raises(AssertionError, match="eyenet has no source for: architecture, preprocessing"):
        check_architecture("eyenet", registry=torso.Registry.load(plugins_dirs=here))
    file.write_text(PLUGIN.replace("divide=255.0)", 'divide=255.0, source="our training code"), source="our paper"'))
    check_architecture("eyenet", registry=torso.Registry.load(plugins_dirs=here))


LAYER = """
import keras


@keras.saving.register_keras_serializable("acme")
class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **more):
        super().__init__(**more)
        self.factor = factor

    def call(self, values):
        return values * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""


def test_a_file_with_layers_of_its_own_beside_it(here: Path, shell: Callable[..., str]) -> None:
    (here / "plugins-here").mkdir()
    (here / "plugins-here/_journey_blocks.py").write_text(LAYER)
    body = """
    from _journey_blocks import Scale

    images = keras.Input(input_shape, name="images")
    return keras.Model(images, Scale(2.0, name="scale")(keras.layers.Conv2D(width, 3, name="stem")(images)))
"""
    head, tail = PLUGIN.split("\n    images")[0], PLUGIN.split("\n\n\n@torso")[1]
    card = tail.replace('name="eyenet",', 'name="eyenet", layers=("_journey_blocks",),')
    (here / "plugins-here/acme.py").write_text(f"{head}{body}\n\n@torso{card}")
    (here / "eyes.yaml").write_text("version: 1\nbackbones:\n  eye: {architecture: eyenet, weights: none}\n")
    shell("build --plugins-dir plugins-here eyes.yaml -o saved")
    shell("verify --plugins-dir plugins-here saved")
    pixels = keras.random.uniform((1, 64, 64, 3), 0, 255)
    backbone = torso.load("saved/eye", registry=torso.Registry.load(plugins_dirs="plugins-here"))
    assert backbone.features[0].node == "scale"
    inner = backbone.model.get_layer("stem").output
    stem = keras.Model(backbone.model.input, inner)(backbone.preprocess(pixels))
    assert (keras.ops.convert_to_numpy(backbone(pixels)) == 2 * keras.ops.convert_to_numpy(stem)).all()


def test_layers_of_ones_own_in_a_notebook(here: Path) -> None:
    @keras.saving.register_keras_serializable("journey")
    class Scale(keras.layers.Layer):
        def __init__(self, factor: float = 1.0, **more: object) -> None:
            super().__init__(**more)
            self.factor = factor

        def call(self, values: object) -> object:
            return values * self.factor

        def get_config(self) -> dict[str, object]:
            return {**super().get_config(), "factor": self.factor}

    @torso.architecture(name="mine", preprocessing=torso.Preprocessing(divide=255.0))
    def build(*, input_shape: tuple[int, int, int]) -> keras.Model:
        images = keras.Input(input_shape, name="images")
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(images)
        return keras.Model(images, Scale(2.0, name="scale")(x))

    backbone = torso.create_backbone("mine", weights=None, input_shape=(64, 64, 3))
    assert backbone.features[0].node == "scale"
    with pytest.raises(torso.TorsoError) as refused:
        backbone.save("saved/mine")
    assert "name that: Architecture(layers=('package.module',)); see docs/plugins.md" in str(refused.value)
