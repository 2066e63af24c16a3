from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import torso
from torso.files import hash_of
from torso.planning import summary


@pytest.fixture(scope="module")
def registry() -> torso.Registry:
    return torso.Registry.load(discover=False)


def refused(registry: torso.Registry, architecture: str, **spec: Any) -> str:
    with pytest.raises(torso.TorsoError) as caught:
        torso.plan(architecture, registry=registry, **spec)
    return str(caught.value)


def test_a_plan_says_all_that_will_happen(registry: torso.Registry) -> None:
    plan = torso.plan("mobilenetv2", options={"alpha": 0.35}, truncate={"pop": 3}, registry=registry, name="edge")
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    file = folder + "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    assert plan.report() == {
        "name": "edge",
        "architecture": "keras/MobileNetV2",
        "provider": "built-in",
        "options": {"alpha": 0.35},
        "builder": "torso.builtins.keras_applications.builder:build",
        "arguments": {"constructor": "MobileNetV2", "alpha": 0.35},
        "input_shape": [224, 224, 3],
        "weights": {
            "label": "imagenet", "source": "weight-sources/url", "url": file, "sha256": None, "md5": None, "cached_as": None,
        },
        "truncate": {"name": "truncations/pop", "options": {"count": 3, "unit": "node", "allow_partial": False}},
        "freeze": {"name": "freeze-policies/all", "options": {}},
        "warnings": [f"{file.rpartition('/')[2]} has no published hash: the download cannot be verified"],
    }  # fmt: skip
    assert dict(summary(plan)) == {
        "architecture": "keras/MobileNetV2 (alpha 0.35), from built-in",
        "input": "224×224 pixels, 3 channels",
        "weights": f"imagenet: {file}",
        "cut": "pop 3",
        "freeze": "all",
    }


@pytest.mark.parametrize("name", ["resnet50", "RESNET50", "keras/ResNet50", "Keras/resnet50"])
def test_names_are_found_in_any_case_and_by_provider(registry: torso.Registry, name: str) -> None:
    assert torso.plan(name, registry=registry).architecture.qualified == "keras/ResNet50"


@pytest.mark.parametrize("name", ["vgg16.VGG16", "resnet", "preprocess_input", "imagenet_utils", "applications", ""])
def test_nothing_that_is_not_an_architecture_can_be_named(registry: torso.Registry, name: str) -> None:
    assert refused(registry, name).startswith(("unknown architecture", "architecture must be a name"))


def test_defaults_are_the_first_weights_the_whole_network_and_frozen(registry: torso.Registry) -> None:
    plan = torso.plan("NASNetLarge", registry=registry)
    assert plan.weights.label == "imagenet"
    assert plan.input_shape == (331, 331, 3)
    assert (str(plan.truncate), str(plan.freeze)) == ("none", "all")


def test_an_alpha_without_weights_is_refused_before_anything_is_built(registry: torso.Registry) -> None:
    assert refused(registry, "MobileNetV3Small", options={"alpha": 0.35}) == (
        "alpha 0.35 has no imagenet weights on MobileNetV3Small (at $.options)\n"
        "  did you mean: 0.75\n"
        "  known: 0.75, 1.0\n"
        "  fix: take a known value, or weights: none for random values"
    )
    plan = torso.plan("MobileNetV3Small", options={"alpha": 1}, registry=registry)
    assert repr(plan.arguments["alpha"]) == "1.0"
    assert (
        torso.plan("MobileNetV3Small", options={"alpha": 0.35}, weights="none", registry=registry).arguments["alpha"] == 0.35
    )


def test_a_size_that_was_not_trained_is_warned_of(registry: torso.Registry) -> None:
    plan = torso.plan("MobileNetV2", options={"alpha": 1.4}, input={"size": [96, 96]}, registry=registry)
    assert plan.weights.address is not None
    assert plan.weights.address.endswith("_1.4_224_no_top.h5")
    assert plan.warnings[0] == "no imagenet weights were trained at 96×96 pixels; those for 224×224 are used"


def test_all_errors_are_told_at_once(registry: torso.Registry) -> None:
    text = refused(
        registry, "VGG16", options={"alpha": 1}, weights="imagnet", input={"size": [8, 8]}, truncate={"pip": 1},
        freeze={"all": 3},
    )  # fmt: skip
    assert text == (
        "unknown truncation strategy 'pip' (at $.truncate.pip)\n"
        "  did you mean: 'pop'\n"
        "  known: budget, layer, layers, level, levels, match, none, pop, stride\n"
        "freeze policy 'all' takes no value (at $.freeze.all)\n"
        "architecture 'VGG16' has no option 'alpha' (at $.options.alpha)\n"
        "  known: none\n"
        "VGG16 cannot take images of 8×8 pixels (at $.input.size)\n"
        "  known: 32 pixels or more\n"
        "VGG16 has no weights 'imagnet' (at $.weights)\n"
        "  did you mean: 'imagenet'\n"
        "  known: imagenet, none\n"
        "  fix: a file is named as {file: PATH}"
    )


def test_weights_for_another_number_of_channels_are_refused(registry: torso.Registry) -> None:
    assert refused(registry, "VGG16", input={"channels": 4}) == (
        "the imagenet weights of VGG16 are for 3 channels, not 4 (at $.input.channels)\n"
        "  fix: write channels: 3, or weights: none"
    )
    plan = torso.plan("VGG16", input={"channels": 4}, weights="none", registry=registry)
    assert plan.warnings == ("no weights were trained on 4 channels: the pixels are not preprocessed",)
    assert plan.preprocessing == torso.Preprocessing()


def test_a_missing_weights_file_is_refused(registry: torso.Registry) -> None:
    assert refused(registry, "VGG16", weights={"file": "nowhere.h5"}) == (
        "the weights file 'nowhere.h5' is not there (at $.weights)\n  cause: No such file or directory"
    )


def test_a_folder_is_no_weights_file(registry: torso.Registry, tmp_path: Path) -> None:
    assert refused(registry, "VGG16", weights={"file": tmp_path}) == (
        f"the weights file '{tmp_path}' is a directory or a device, not a file (at $.weights)"
    )


def test_a_weights_file_is_held_against_its_hash(registry: torso.Registry, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"values")
    right = hash_of(path)
    plan = torso.plan("VGG16", weights={"file": path, "sha256": right.upper()}, registry=registry)
    assert plan.warnings == ()
    assert refused(registry, "VGG16", weights={"file": path, "sha256": "0" * 64}) == (
        f"the weights file '{path}' is not the one that was meant (at $.weights)\n"
        f"  sha256 expected: {'0' * 64}\n"
        f"  sha256 found: {right}"
    )
    plan = torso.plan("VGG16", weights={"file": path}, registry=registry)
    assert plan.warnings == (f"{path} is taken on trust: give its sha256 to have it checked",)


def test_a_mapping_that_no_source_answers_to_is_refused(registry: torso.Registry) -> None:
    assert refused(registry, "VGG16", weights={"fiel": "w.h5"}) == (
        "weights of VGG16 must be a tag, none or the mapping of a source (at $.weights)\n"
        "  known: imagenet, none, {file: …}, {resource: …}, {url: …}"
    )


def test_a_channel_adapter_is_not_ignored(registry: torso.Registry) -> None:
    assert refused(registry, "VGG16", input={"adapt": "mean"}) == (
        "unknown channel adapter 'mean' (at $.input.adapt)\n  known: none"
    )
