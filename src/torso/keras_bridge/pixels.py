"""Look at the first images that are preprocessed: most mistakes with pixels show in their numbers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np

from torso.errors import Note, OptionError, PixelWarning
from torso.keras_bridge.private import let_pass

OVERSHOOT: Final = 64.0
"""How far resizing (bicubic, Lanczos) may lead out of 0 to 255 at sharp edges."""

ENOUGH: Final = 8
"""How many images show which channel is red."""

BLUER: Final = 8.0
"""By how much blue may exceed red on average. In ImageNet, red exceeds blue by 20 (means 123.7 and 103.9, which Keras'
``preprocess_input`` subtracts)."""


def watch(layer: keras.Model, channels: int) -> keras.Model:
    """Let a layer look at the first images that it is called with, outside of a graph; returns the layer.

    Args:
        layer: What preprocesses; its class, its configuration and what it computes stay as they are.
        channels: How many channels it takes.

    The call then raises OptionError for images of another form, or with values that are no numbers, and warns with
    ``torso.PixelWarning`` of what looks scaled or ordered in another way.
    """
    call = layer.call
    seen = False

    def looking(inputs: Any, *args: Any, **kwargs: Any) -> Any:  # Any: arrays and tensors
        nonlocal seen
        try:
            require_form(tuple(inputs.shape), channels)
            images = inputs if seen else _values_of(inputs)
            if images is not None and not seen and images.size:
                look_at(images)
                seen = True
        except (OptionError, PixelWarning) as error:
            let_pass(error)
            raise
        return call(inputs, *args, **kwargs)

    layer.call = looking
    layer.input_spec = keras.layers.InputSpec()  # the form is checked above, in words that help
    return layer


def _values_of(inputs: Any) -> np.ndarray | None:
    """The values of an array or of a tensor; None within a graph, where there are none yet."""
    if isinstance(inputs, np.ndarray):
        return inputs
    values: np.ndarray | None = inputs.numpy() if hasattr(inputs, "numpy") else None
    return values


def require_form(shape: tuple[int | None, ...], channels: int, *, of: str = "") -> None:
    """Refuse what is no batch of images with channels last.

    Args:
        shape: What there is.
        channels: How many there must be.
        of: Which picture it is, where it is one of several and no batch.

    Raises:
        OptionError: What it should be, and how to make it so.
    """
    axes = ("height", "width", str(channels)) if of else ("N", "height", "width", str(channels))
    if len(shape) == len(axes) and shape[-1] in (channels, None):
        return
    said = ", ".join("?" if side is None else str(side) for side in shape)
    raise OptionError(f"{of or 'images'} must be ({', '.join(axes)}), not ({said})", notes=_fix(shape, channels, len(axes)))


def _fix(shape: tuple[int | None, ...], channels: int, axes: int) -> list[Note]:
    """What makes images of this shape what they should be, if that can be told."""
    if len(shape) in (3, 4) and shape[-3] == channels != shape[-1]:
        return [("fix", "the channels stand first: numpy.moveaxis(images, -3, -1)")]
    if len(shape) == 3 < axes and shape[-1] == channels:
        return [("fix", "one image is a batch of one: images[None]")]
    if len(shape) == axes - 1:
        grey = "images[..., None]" if channels == 1 else f"numpy.stack([images] * {channels}, -1)"
        return [("fix", f"grey images have no axis of channels: {grey}")]
    if len(shape) == axes and shape[-1] == 1:
        return [("fix", f"the images are grey: numpy.repeat(images, {channels}, -1)")]
    if len(shape) == axes and (shape[-1], channels) == (4, 3):
        return [("fix", "leave the fourth channel out, which is how opaque they are: images[..., :3]")]
    return []


def look_at(images: Sequence[np.ndarray] | np.ndarray) -> None:
    """Warn of what pixels should not look like, and refuse what is no number.

    Args:
        images: RGB pixels of 0 to 255, each ``(H, W, C)``; the sizes may differ.

    Raises:
        OptionError: Some values are NaN or infinite, or no real numbers at all.
    """
    least, most = np.inf, -np.inf
    red_over_blue: list[float] = []
    for position, image in enumerate(images):
        if image.dtype.kind not in "uifb" and image.dtype.name != "bfloat16":
            raise OptionError(f"pixels must be numbers of 0 to 255, not {image.dtype}")
        if not image.size:
            continue
        with np.errstate(over="ignore"):  # what no float32 holds is infinite then
            values = image.astype("float32")
        if not np.isfinite(values).all():
            raise OptionError(
                f"image {position} of {len(images)} has values that are NaN or infinite",
                notes=[("fix", "look at how it was read; 0 / 0 in a normalisation gives NaN")],
            )
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        if image.shape[-1] == 3:
            red_over_blue.append(float(values[..., 0].mean() - values[..., 2].mean()))
    between = least >= 0 and 0 < most <= 1
    if between and not any((image % 1).any() for image in images):
        return  # 0 and 1 are pixels of a dark image
    said = _scale(least, most) or _order(np.array(red_over_blue))
    if said:
        warnings.warn(f"{said}; torso expects RGB pixels of 0 to 255 here", PixelWarning, stacklevel=_depth_of_the_user())


def _depth_of_the_user() -> int:
    """How many calls above the caller of this the line stands that is neither torso's nor of what torso stands on."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("torso", "keras", "tensorflow"):
        depth, frame = depth + 1, frame.f_back
    return depth


def _scale(least: float, most: float) -> str | None:
    """What the range of the values says of how they were scaled."""
    between = f"the first images lie between {least:g} and {most:g}"
    if least >= 0 and 0 < most <= 1:
        return f"{between}: they look scaled to 0 to 1 already (multiply by 255)"
    if -1 <= least < 0 and most <= 1:
        return f"{between}: they look scaled to -1 to 1 already (add 1, multiply by 127.5)"
    if least < -OVERSHOOT or (least < -1 and most < 4):
        return f"{between}: they look preprocessed already"
    if most > 255 + 2 * OVERSHOOT:
        return f"{between}: they look like more than 8 bits a channel"
    return None


def _order(red_over_blue: np.ndarray) -> str | None:
    """Whether colours look turned round: in pictures of the world, red exceeds blue on average."""
    count = len(red_over_blue)
    if count < ENOUGH:
        return None
    mean = float(red_over_blue.mean())
    if mean > -BLUER or mean > -2 * float(red_over_blue.std()) / count**0.5:
        return None
    return (
        f"the first {count} images are bluer than red by {-mean:.0f} on average: if they were read with OpenCV, they "
        "are BGR (images[..., ::-1] is RGB); pictures of sea and sky look like that too"
    )
