"""The widths of a MobileNet that can be planned, held against the installed Keras, and how others are refused."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import pytest
from graphs import ARCHITECTURES, registry
from refusals import refusal

import torso
from torso.builtins.mobilenet_alpha import torso_build_arguments
from torso.errors import OptionError

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


def alpha_of(name: str, weights: str = "imagenet", **options: Any) -> Any:
    return torso.plan(name, weights=weights, options=options, registry=registry()).arguments["alpha"]


refused = partial(refusal, alpha_of, kind=OptionError)


def keras_accepts(name: str, weights: str | None, first_layer: type[Exception], **options: Any) -> bool:
    try:
        getattr(keras.applications, name)(include_top=False, weights=weights, input_shape=(224, 224, 3), **options)
    except first_layer:
        return True
    except ValueError:
        return False
    raise AssertionError("a network without layers")


@pytest.mark.parametrize(("name", "options"), GRID)
def test_a_plan_takes_what_keras_accepts(name, options, first_layer):
    accepts = keras_accepts(name, "imagenet", first_layer, **options)
    with nullcontext() if accepts else pytest.raises(OptionError, match=f"{name} has no imagenet weights for alpha"):
        assert alpha_of(name, **options) == options["alpha"]
    assert keras_accepts(name, None, first_layer, **options)
    assert alpha_of(name, "none", **options) == options["alpha"]  # every width


def test_an_option_without_weights_is_refused_with_those_that_have_some():
    assert refused("MobileNetV2", alpha=0.6) == (
        "MobileNetV2 has no imagenet weights for alpha 0.6 (argument options)\n"
        "  known: alpha 0.35, alpha 0.5, alpha 0.75, alpha 1.0, alpha 1.3, alpha 1.4\n"
        "  fix: take known values, or weights: none"
    )
    assert refused("MobileNetV3Large", alpha=0.75, minimalistic=True) == (
        "MobileNetV3Large has no imagenet weights for alpha 0.75 and minimalistic True (argument options)\n"
        "  known: alpha 0.75 and minimalistic False, alpha 1.0 and minimalistic False, alpha 1.0 and minimalistic True\n"
        "  fix: take known values, or weights: none"
    )


@pytest.mark.parametrize("weights", ["imagenet", "none"])
@pytest.mark.parametrize("alpha", [0, -1.0])
def test_a_width_of_nothing_is_refused(alpha, weights):
    # keras.applications.MobileNetV2(alpha=-1.0, weights=None) is a network of eight channels
    trained = "0.35, 0.5, 0.75, 1.0, 1.3, 1.4" if weights == "imagenet" else "any number above 0"
    assert (
        refused("MobileNetV2", weights, alpha=alpha)
        == f"alpha cannot be {float(alpha)} (argument options)\n  known: {trained}"
    )
    assert refused("MobileNetV2", weights, alpha=10**9).endswith("\n  known: 16 or less")


def test_a_whole_number_is_a_float_and_the_alpha_of_another_builder_is_its_own():
    assert repr(alpha_of("MobileNetV3Small", alpha=1)) == "1.0"  # as Keras names the file
    torso_build_arguments(replace(ARCHITECTURES["MobileNetV2"], builder="acme.nets:mobilenet"), {"alpha": 0.0}, "none")


def test_least_width_of_mobilenet_is_the_least_that_keras_builds():
    # The first layer has int(32 * alpha) filters; MobileNetV2 and V3 round up to eight.
    least = ARCHITECTURES["MobileNet"].options[0].minimum
    with keras.StatelessScope(initialize_variables=False):
        assert keras.applications.MobileNet(alpha=least, include_top=False, weights=None).count_params()
        with pytest.raises(ValueError, match=r"strictly positive value\. Received filters=0"):
            keras.applications.MobileNet(alpha=least - 0.001, include_top=False, weights=None)
    keras.backend.clear_session(free_memory=False)
