"""What a network expects of its pixels, as numbers.

The Keras layer that does the arithmetic is made in the Keras bridge, from these numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
