"""From pictures of any size to pixels of a network's size, by a recipe that is data."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from torso.errors import DiskError, IntegrityError, OptionError
from torso.keras_bridge.pixels import look_at, require_form
from torso.planning.plan import InputShape
from torso.preprocessing import Transform

Picture = Any
"""A path, or an array ``(H, W, C)``."""

MOST_PIXELS: Final = 178_956_970
"""The largest picture that is decoded or made, in pixels: where Pillow suspects an attack too."""


def transform_images(pictures: Any, recipe: Transform, shape: InputShape) -> np.ndarray:
    """Pixels of 0 to 255 in the size of a network's input: resized, then cropped in the middle.

    Args:
        pictures: A path or several; an array ``(H, W, C)``, a batch ``(N, H, W, C)``, or several arrays of any sizes. A file
            may be JPEG, PNG, GIF (its first picture) or BMP; TensorFlow decodes it, does not turn it as its EXIF says, and
            leaves out how opaque it is.
        recipe: How.
        shape: Height, width and channels of the network's input; None and None leave each picture in its size.

    Returns:
        ``(N, height, width, channels)``, float32.

    Raises:
        DiskError: A file cannot be read.
        IntegrityError: A file is no picture.
        OptionError: An array is not of that form, a picture is too large, or those of several sizes are to keep them.
    """
    channels = shape[2]
    arrays = [
        _decoded(one, channels) if isinstance(one, (str, os.PathLike)) else one for one in _several(pictures, channels)
    ]
    if not arrays:
        raise OptionError("there are no pictures to transform")
    if shape[0] is not None and shape[1] is not None:
        arrays = [_resized(one, recipe, shape[0], shape[1]) for one in arrays]
    sizes = sorted({one.shape[:2] for one in arrays})
    if len(sizes) > 1:
        said = ", ".join(f"{height}×{width}" for height, width in sizes[:4])
        raise OptionError(
            f"a network for any size takes pictures of one size at a time, not of {said}",
            notes=[("fix", "transform them one by one, or give the backbone a size")],
        )
    return np.stack([np.asarray(one, "float32") for one in arrays])


def _several(pictures: Any, channels: int) -> Sequence[Picture]:
    """The pictures one by one; arrays are looked at, all together where they are one batch."""
    if isinstance(pictures, (str, os.PathLike)):
        return [pictures]
    is_array = hasattr(pictures, "shape") or hasattr(pictures, "__array_interface__")
    if not is_array and not isinstance(pictures, Iterable):
        raise OptionError(f"pictures must be paths or arrays, not {type(pictures).__name__}")
    if is_array:
        batch = np.asarray(pictures)
        batch = batch[None] if batch.ndim == 3 else batch
        require_form(batch.shape, channels)
        look_at(batch)
        return list(batch)
    several = [one if isinstance(one, (str, os.PathLike)) else np.asarray(one) for one in pictures]
    for position, one in enumerate(several):
        if isinstance(one, np.ndarray):
            require_form(one.shape, channels, of=f"picture {position} of {len(several)}")
    look_at([one if isinstance(one, np.ndarray) else np.empty(0) for one in several])
    return several


def _decoded(path: str | os.PathLike[str], channels: int) -> np.ndarray:
    if channels not in (1, 3):
        raise OptionError(
            f"a picture file has 1 or 3 channels, and this network takes {channels}",
            notes=[("fix", "read the files yourself, and give arrays (H, W, C)")],
        )
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DiskError(f"{os.fspath(path)!r} cannot be read", notes=[("cause", error.strerror or str(error))]) from error
    try:
        _require_moderate(os.fspath(path), *_sides_in(data))
        grey = channels == 1 and data.startswith((b"GIF", b"BM", b"RIFF"))  # of which TensorFlow makes colours only
        pixels = tf.io.decode_image(data, channels=3 if grey else channels, expand_animations=False)
        decoded: np.ndarray = (tf.image.rgb_to_grayscale(pixels) if grey else pixels).numpy()
    except tf.errors.InvalidArgumentError as error:
        cause = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", str(error.message).split("\n")[0])
        raise IntegrityError(f"{os.fspath(path)!r} is no picture that can be decoded", notes=[("cause", cause)]) from error
    return decoded


def _sides_in(data: bytes) -> tuple[int, int]:
    """Height and width as the head of a file tells them, where a small file can hold a large picture; 0 and 0 otherwise."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    if data.startswith(b"GIF") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return height, width
    if data.startswith(b"\xff\xd8"):
        height, width, _ = tf.io.extract_jpeg_shape(data).numpy().tolist()
        return height, width
    return 0, 0


def _require_moderate(what: str, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise OptionError(
            f"{what!r} has {height}×{width} pixels, and torso decodes {MOST_PIXELS:,} at most",
            notes=[("fix", "make it smaller with what made it, if you trust it")],
        )


def _resized(picture: np.ndarray, recipe: Transform, height: int, width: int) -> np.ndarray:
    """Resize such that the crop is ``recipe.crop`` of a side that fits, and take the middle."""
    if not all(picture.shape):
        raise OptionError(f"a picture of {picture.shape[0]}×{picture.shape[1]} pixels has nothing to show")
    scales = height / recipe.crop / picture.shape[0], width / recipe.crop / picture.shape[1]
    if recipe.fit == "crop":
        scales = max(scales), max(scales)
    size = max(height, round(scales[0] * picture.shape[0])), max(width, round(scales[1] * picture.shape[1]))
    if size[0] * size[1] > MOST_PIXELS:
        raise OptionError(
            f"a picture of {picture.shape[0]}×{picture.shape[1]} pixels would be resized to {size[0]}×{size[1]} before it is "
            f"cropped to {height}×{width}",
            notes=[("fix", "cut out what is to be seen, or write fit: stretch")],
        )
    pixels = picture if picture.dtype == "uint8" else picture.astype("float32")
    resized = tf.image.resize(pixels, size, method=recipe.interpolation, antialias=recipe.antialias)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cropped: np.ndarray = resized.numpy()[top : top + height, left : left + width]
    return np.clip(cropped, min(0, pixels.min()), max(255, pixels.max()))  # bicubic and Lanczos lead out of the range
