"""What a network expects of its pixels, as numbers.

The Keras layer that does the arithmetic is made in the Keras bridge, from these numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Literal

from torso.contracts.weights import Mix
from torso.specs.options import Option

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
"""The ways of ``tf.image.resize``."""

PREPROCESS = (
    Option(
        name="include",
        type=bool,
        default=False,
        doc="Let the model itself take pixels of 0 to 255: what its weights expect is computed in its first nodes.",
    ),
    Option(
        name="fit",
        type=str,
        default="crop",
        choices=("crop", "stretch"),
        doc="crop keeps the proportions and takes the middle; stretch resizes each side by itself.",
    ),
    Option(
        name="crop",
        type=float,
        default=0.875,
        minimum=0.1,
        maximum=1.0,
        doc="The share of the resized image's side that the crop keeps; 0.875 is 224 of 256.",
    ),
    Option(
        name="interpolation",
        type=str,
        default="bilinear",
        choices=INTERPOLATIONS,
        doc="How pixels are resized: one of the methods of tf.image.resize.",
    ),
    Option(
        name="antialias",
        type=bool,
        default=True,
        doc="Whether every pixel counts where an image is made smaller.",
    ),
)
"""What a spec can say under ``preprocess``."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """From pictures of any size to the input of a network, as data: resized, then cropped.

    Attributes:
        fit: ``"crop"`` resizes such that the shorter side fits, ``"stretch"`` such that both do, whatever becomes of shapes.
        crop: The share of the resized image that the crop in its middle keeps, along a side that fits; 1 for all of it.
        interpolation: Method of ``tf.image.resize``.
        antialias: Whether every pixel counts where an image is made smaller.
    """

    fit: Literal["crop", "stretch"] = "crop"
    crop: float = 0.875
    interpolation: str = "bilinear"
    antialias: bool = True


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From RGB pixels of 0 to 255 to what the weights expect: ``(order(pixels) / divide - mean) / std``.

    A step whose numbers are neutral is not computed at all, so that the result is the same to the last bit as that of
    the code the weights were published with.

    Attributes:
        order: Channel order that the network reads.
        divide: What every pixel is divided by first.
        mean: Subtracted from each channel, in the network's channel order.
        std: What each channel is divided by last.
        built_in: The network's own first layers do the scaling; then the other numbers are neutral.
        source: Where the numbers come from.
    """

    order: Literal["RGB", "BGR"] = "RGB"
    divide: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    built_in: bool = False
    source: str = ""

    def __str__(self) -> str:
        if self.built_in:
            return "0..255, scaled inside the network"
        words = ["0..255" if self.order == "RGB" else f"0..255 as {self.order}"]
        if self.divide != 1.0:
            words.append(f"divided by {self.divide:g}")
        if self.mean:
            words.append("minus " + ", ".join(f"{value:g}" for value in self.mean))
        if self.std:
            words.append("divided by " + ", ".join(f"{value:g}" for value in self.std))
        return ", ".join(words)

    def network_mix(self, mix: Mix) -> Mix:
        """The same mix in the order in which the network reads the channels, of the new images and of the weights."""
        return tuple(row[::-1] for row in mix[::-1]) if self.order == "BGR" else mix

    def adapted(self, mix: Mix) -> Preprocessing:
        """The numbers for images whose channels are mixed from those that the weights expect.

        One number for all channels stays as it is, and so does the order: it turns round however many channels there are.

        Args:
            mix: One row for each channel of the new images, in the order of the user's pixels.
        """
        mix = self.network_mix(mix)
        mean, std = _mixed(self.mean, mix, neutral=0.0), _mixed(self.std, mix, neutral=1.0)
        return replace(self, mean=mean, std=std)

    def without_channels(self) -> Preprocessing:
        """The numbers that hold for weights of another number of channels: those that are one for all channels."""
        mean, std = (numbers[:1] if len(set(numbers)) == 1 else () for numbers in (self.mean, self.std))
        return replace(self, order="RGB", mean=mean, std=std)


def weighted_mean(row: Sequence[float], numbers: Sequence[float], *, neutral: float) -> float:
    """The mean of some channels' numbers, weighted by the size of a row's; ``neutral`` for a row of zeros.

    Where the row takes from equal numbers only, the mean is that number to the last bit; a number that all channels have
    holds for a row of zeros too.
    """
    used = [(abs(weight), number) for weight, number in zip(row, numbers, strict=True) if weight]
    equal = {number for _, number in used} or set(numbers)
    if len(equal) == 1:
        return equal.pop()
    return fsum(weight * number for weight, number in used) / fsum(weight for weight, _ in used) if used else neutral


def _mixed(numbers: tuple[float, ...], mix: Mix, *, neutral: float) -> tuple[float, ...]:
    if len(numbers) < 2:
        return numbers
    return tuple(weighted_mean(row, numbers, neutral=neutral) for row in mix)
