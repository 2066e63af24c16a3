"""DigitNet for torso: a small residual network that reads handwritten digits, with weights, a cut and a freeze policy.

Only hooks and frozen values: torso imports this module to list what there is, without Keras.
"""

from __future__ import annotations

from collections.abc import Iterable

import torso
from torso_digits.stages import freeze_stages, select_stage

FILTERS = (16, 24, 32)
"""Channels of each stage at width 1."""

SHA256 = {
    0.5: "79809d16afa4ad3f3b50bc0299eee7a94896c0c358e1a94b0f7e404fbff10199",
    1.0: "3a49d3c85ada43d5ee0a82f7b918134fbbcc6e980ddcd75f0c14882d74473ce6",
}
"""Of the weights file of each width."""

_doc = "Multiplies the number of channels in every stage."
WIDTH = torso.Option(name="width", type=float, default=1.0, minimum=0.25, maximum=4.0, doc=_doc)


def _weights_file(width: float) -> torso.WeightsFile:
    address = f"torso_digits:weights/digits-{width}.weights.h5"
    return torso.WeightsFile(source="resource", address=address, sha256=SHA256[width], when={"width": width})


DIGITNET = torso.Architecture(
    name="DigitNet",
    family="Digits",
    builder="torso_digits.network:build",
    options=(WIDTH,),
    weights=(
        torso.Weights(
            tag="uci",
            files=tuple(map(_weights_file, SHA256)),
            classes=10,
            top1=100.0,
            source="torso-digits; top-1 measured on 449 held-out images by the writers of the training images; "
            "97.33 trained without the last 450 images and measured on those",
        ),
    ),
    input=torso.InputRules(default=(8, 8), minimum=4, divisor=4, channels=(1,), weights_channels=1),
    preprocessing=torso.Preprocessing(divide=255.0, source="torso_digits.train"),
    parameters=50_224,
    license=torso.License(code="Apache-2.0", weights="Apache-2.0", data="CC-BY-4.0"),
    source="torso-digits; data: E. Alpaydin and C. Kaynak, UCI, doi:10.24432/C50P49",
)


@torso.hookimpl
def torso_architectures() -> Iterable[torso.Architecture]:
    """Offer DigitNet."""
    yield DIGITNET


@torso.hookimpl
def torso_build_arguments(architecture: torso.Architecture, options: torso.Options) -> torso.Options | None:
    """Turn the width of a DigitNet into channels; torso refuses a width without weights where weights are asked for."""
    if architecture != DIGITNET:
        return None
    width = options["width"]
    assert isinstance(width, float)
    return {"filters": filters_at(width)}


@torso.hookimpl
def torso_truncations() -> Iterable[torso.Truncation]:
    """Offer a cut after a stage."""
    yield torso.Truncation(
        name="stage",
        doc="End after the last block of one stage.",
        select=select_stage,
        options=(torso.Option(name="number", type=int, minimum=1, doc="The last stage kept; the first is 1."),),
        positional="number",
    )


@torso.hookimpl
def torso_freeze_policies() -> Iterable[torso.FreezePolicy]:
    """Offer to freeze the first stages only."""
    yield torso.FreezePolicy(
        name="stages",
        doc="The stem and the first stages do not train, the rest does; dropout is off.",
        select=freeze_stages,
        options=(torso.Option(name="count", type=int, minimum=1, doc="How many stages do not train."),),
        positional="count",
    )


def filters_at(width: float) -> tuple[int, ...]:
    """Channels of each stage at that width."""
    return tuple(round(width * filters) for filters in FILTERS)
