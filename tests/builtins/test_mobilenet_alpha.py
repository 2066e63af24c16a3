"""The widths that the hook lets through, held against the installed Keras, and the words it refuses others with."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import keras
import pytest

from torso.builtins.keras_applications import torso_architectures
from torso.builtins.mobilenet_alpha import torso_build_arguments
from torso.errors import OptionError, TorsoError

ARCHITECTURES = {architecture.name: architecture for architecture in torso_architectures()}
FIX = "fix: take a known value, or weights: none for random values"
OTHERS = {
    "MobileNet": [{"depth_multiplier": 1}, {"depth_multiplier": 2}],
    "MobileNetV2": [{}],
    "MobileNetV3Small": [{"minimalistic": False}, {"minimalistic": True}],
    "MobileNetV3Large": [{"minimalistic": False}, {"minimalistic": True}],
}
GRID = [
    (name, {"alpha": alpha, **others})
    for name in OTHERS
    for others in OTHERS[name]
    for alpha in (0.2, 0.25, 0.35, 0.5, 0.6, 0.75, 1.0, 1.3, 1.4, 2.0)
]


def ask(name: str, weights: str = "imagenet", size: tuple[int, int] = (224, 224), **options: Any) -> Any:
    values = {option.name: option.default for option in ARCHITECTURES[name].options} | options
    return torso_build_arguments(ARCHITECTURES[name], values, weights, (*size, 3))


class FirstLayer(Exception):
    """Keras accepted the arguments and is about to call its first layer."""


@pytest.fixture
def up_to_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise FirstLayer

    monkeypatch.setattr(keras.Layer, "__call__", stop)


def keras_accepts(name: str, weights: str | None, size: tuple[int, int] = (224, 224), **options: Any) -> bool:
    try:
        getattr(keras.applications, name)(include_top=False, weights=weights, input_shape=(*size, 3), **options)
    except FirstLayer:
        return True
    except ValueError:
        return False
    raise AssertionError("a network without layers")


# What is legal


@pytest.mark.parametrize(("name", "options"), GRID)
def test_hook_accepts_what_keras_accepts(name, options, up_to_first_layer):
    accepts = keras_accepts(name, "imagenet", **options)
    with nullcontext() if accepts else pytest.raises(TorsoError):
        assert ask(name, "imagenet", **options) == {"alpha": options["alpha"]}
    assert keras_accepts(name, None, **options)
    for weights in ("none", "file"):  # every width
        assert ask(name, weights, **options) == {"alpha": options["alpha"]}


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
@pytest.mark.parametrize("size", [(96, 96), (200, 200), (224, 160)])
@pytest.mark.parametrize("name", OTHERS)
def test_hook_accepts_sizes_that_were_not_trained_as_keras_does(name, size, up_to_first_layer):
    assert keras_accepts(name, "imagenet", size)
    assert ask(name, size=size) == {"alpha": 1.0}


def test_hook_gives_a_whole_number_as_the_float_that_keras_names_its_file_after():
    given = ask("MobileNetV3Small", alpha=1)["alpha"]
    assert (given, type(given)) == (1.0, float)


def test_hook_leaves_other_architectures_alone():
    assert all(ask(name) is None for name in set(ARCHITECTURES) - set(OTHERS))
    stranger = replace(ARCHITECTURES["MobileNetV2"], builder="acme.nets:mobilenet")
    assert torso_build_arguments(stranger, {"alpha": 0.0}, "imagenet", (224, 224, 3)) is None


# What is refused, and in which words


def untrained(what: str, *notes: str) -> str:
    return "\n  ".join([what.replace("~", "has no imagenet weights on"), *notes, FIX])


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("MobileNetV3Small", {"alpha": 0.35},
         untrained("alpha 0.35 ~ MobileNetV3Small", "did you mean: 0.75", "known: 0.75, 1.0")),
        ("MobileNetV2", {"alpha": 0.6},
         untrained("alpha 0.6 ~ MobileNetV2", "did you mean: 0.5", "known: 0.35, 0.5, 0.75, 1.0, 1.3, 1.4")),
        ("MobileNet", {"alpha": 0.35},
         untrained("alpha 0.35 ~ MobileNet", "did you mean: 0.25", "known: 0.25, 0.5, 0.75, 1.0")),
        ("MobileNetV3Large", {"alpha": 0.75, "minimalistic": True},
         untrained("alpha 0.75 ~ MobileNetV3Large with minimalistic: true", "did you mean: 1.0", "known: 1.0")),
        ("MobileNet", {"depth_multiplier": 2}, untrained("depth_multiplier 2 ~ MobileNet", "known: 1")),
        ("MobileNet", {"alpha": 2, "depth_multiplier": 2},
         untrained("alpha 2 ~ MobileNet", "did you mean: 1.0", "known: 0.25, 0.5, 0.75, 1.0") + "\n"
         + untrained("depth_multiplier 2 ~ MobileNet", "known: 1")),
    ],
)  # fmt: skip
def test_hook_says_which_value_has_no_weights_and_which_have(name, options, text):
    with pytest.raises(TorsoError) as refused:
        ask(name, **options)
    assert str(refused.value) == text
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("weights", ["imagenet", "none", "file"])
@pytest.mark.parametrize("alpha", [0, 0.0, -1.0, float("nan")])
def test_hook_refuses_a_width_of_nothing(alpha, weights):
    # keras.applications.MobileNetV2(alpha=-1.0, weights=None) is a network of eight channels
    with pytest.raises(OptionError) as refused:
        ask("MobileNetV2", weights, alpha=alpha)
    assert str(refused.value) == f"alpha cannot be {alpha}\n  known: any number above 0"


def test_least_width_of_mobilenet_is_the_least_that_keras_builds():
    # The first layer has int(32 * alpha) filters; MobileNetV2 and V3 round up to eight.
    least = ARCHITECTURES["MobileNet"].options[0].minimum
    with keras.StatelessScope(initialize_variables=False):
        assert keras.applications.MobileNet(alpha=least, include_top=False, weights=None).count_params()
        with pytest.raises(ValueError, match=r"strictly positive value\. Received filters=0"):
            keras.applications.MobileNet(alpha=least - 0.001, include_top=False, weights=None)
    keras.backend.clear_session(free_memory=False)
