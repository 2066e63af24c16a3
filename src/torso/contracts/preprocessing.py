"""What a network expects of its pixels, as numbers; ``modeling`` makes the Keras layer from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, Literal

from torso.contracts.weights import Mix
from torso.errors import OptionError
from torso.specs.options import Checked, Option, Options
from torso.specs.yaml_nodes import MappingNode

# The methods of tf.image.resize
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")

_include = "Preprocessing is part of the model, which takes pixels of 0 to 255."
_fit = "crop keeps the proportions and takes the middle; stretch resizes each side on its own, and keeps everything."
PREPROCESS = (  # the options under ``preprocess``
    Option(name="include", type=bool, default=False, doc=_include),
    Option(name="fit", type=str, default="crop", choices=("crop", "stretch"), doc=_fit),
    Option(name="crop", type=float, default=None, minimum=0.1, maximum=1.0, doc="Share of the side to keep; none: 0.875."),
    Option(name="interpolation", type=str, default="bilinear", choices=INTERPOLATIONS, doc="Method of tf.image.resize."),
    Option(name="antialias", type=bool, default=None, doc="Every pixel counts in shrinking; none: if fit is crop."),
    Option(name="exif", type=str, default="turn", choices=("turn", "ignore"), doc="turn: photos upright, as EXIF says."),
)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How pictures of any size become the input of a network: the options under ``preprocess``."""

    fit: Literal["crop", "stretch"] = "crop"  # "crop": the shorter side fits, and the middle is kept
    crop: float = 0.875  # the share of the resized image's side that is kept; 1.0 for "stretch"
    interpolation: str = "bilinear"  # method of tf.image.resize
    antialias: bool = True
    exif: Literal["turn", "ignore"] = "turn"

    @classmethod
    def of(cls, options: Options, node: MappingNode | None) -> Transform:
        """The recipe of checked options; an OptionError where ``crop`` is given for a fit that crops nothing."""
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None and key != "include"}
        if given["fit"] == "stretch" and "crop" in given:
            place = next((key.place for key, _ in node or () if key.text == "crop"), None)
            raise OptionError("fit: stretch crops nothing", place=place, notes=[("fix", "leave crop out, or write none")])
        return cls(**{"crop": 1.0, "antialias": False, **given} if given["fit"] == "stretch" else given)


@dataclass(frozen=True, kw_only=True)
class Preprocessing(Checked):
    """From RGB pixels of 0 to 255 to what the weights expect: ``(order(pixels) / divide - mean) / std``.

    A step whose numbers are neutral is left out, so the result equals that of the published code to the last bit.

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
        """A mix in the user's channel order, turned into the network's order of the images' and the weights' channels."""
        return tuple(row[::-1] for row in mix[::-1]) if self.order == "BGR" else mix

    def adapted(self, mix: Mix) -> Preprocessing:
        """The numbers for images whose channels are mixed from those of the weights; rows in the user's channel order."""
        mix = self.network_mix(mix)
        mean, std = _mixed(self.mean, mix, neutral=0.0), _mixed(self.std, mix, neutral=1.0)
        return replace(self, mean=mean, std=std)

    def without_channels(self) -> Preprocessing:
        """The numbers that hold for any number of channels: those that are the same for all of them."""
        mean, std = (numbers[:1] if len(set(numbers)) == 1 else () for numbers in (self.mean, self.std))
        return replace(self, order="RGB", mean=mean, std=std)


def weighted_mean(row: Sequence[float], numbers: Sequence[float], *, neutral: float) -> float:
    """The mean of the channels' numbers, weighted by the size of a row's; ``neutral`` for a row of zeros."""
    used = [(abs(weight), number) for weight, number in zip(row, numbers, strict=True) if weight]
    equal = {number for _, number in used} or set(numbers)
    if len(equal) == 1:
        return equal.pop()  # exact, without rounding; what all channels have in common holds for a row of zeros too
    return fsum(weight * number for weight, number in used) / fsum(weight for weight, _ in used) if used else neutral


def _mixed(numbers: tuple[float, ...], mix: Mix, *, neutral: float) -> tuple[float, ...]:
    if len(numbers) < 2:  # one number serves all channels
        return numbers
    return tuple(weighted_mean(row, numbers, neutral=neutral) for row in mix)
