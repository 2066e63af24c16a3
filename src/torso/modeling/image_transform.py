"""From pictures of any size to pixels of a network's size, by a recipe that is data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from torso.contracts.preprocessing import Transform
from torso.errors import DiskError, IntegrityError, OptionError
from torso.modeling.input_checks import in_its_own_words, look_at, require_form
from torso.planning.plan import InputShape

Picture = Any
"""A path, or an array ``(H, W, C)``."""

FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
"""What files may be; Pillow knows many more, and each is more code for a hostile file to try."""

MOST_PIXELS: Final = 178_956_970
"""The largest picture that is decoded or made, in pixels: beyond it, Pillow suspects an attack, and refuses."""


def transform_images(pictures: Any, recipe: Transform, shape: InputShape) -> np.ndarray:
    """Pixels of 0 to 255 in the size of a network's input: resized, then cropped in the middle.

    Args:
        pictures: A path or several; an array ``(H, W, C)``, a batch ``(N, H, W, C)``, or several arrays of any sizes. A file
            may be JPEG, PNG, GIF, BMP or WebP, of which the first picture is taken; it is read as ``keras.utils.load_img``
            reads it, so that it is not turned as its EXIF says, and that how opaque it is does not count.
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
    with in_its_own_words():
        if tf.is_symbolic_tensor(pictures):
            raise OptionError(
                "transform is Python code, and takes no tensor of a graph",
                notes=[("fix", "tf.numpy_function(backbone.transform, [images], tf.float32)")],
            )
    arrays = [_decoded(one, channels) if _is_path(one) else one for one in _several(pictures, channels)]
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
    if _is_path(pictures):
        return [pictures]
    if _is_array(pictures):
        pictures = np.atleast_1d(np.asarray(pictures))
        if pictures.dtype.kind not in "OU":  # those are several: paths, or arrays of several sizes
            batch = pictures[None] if pictures.ndim == 3 else pictures
            require_form(batch.shape, channels)
            look_at(batch)
            return list(batch)
    elif not isinstance(pictures, Iterable) or isinstance(pictures, (bytes, bytearray)):
        raise OptionError(f"pictures must be paths or arrays, not {type(pictures).__name__}")
    several = list(pictures)
    for position, one in enumerate(several):
        name = f"picture {position} of {len(several)}"
        if _is_path(one):
            continue
        if not _is_array(one):
            raise OptionError(f"{name} must be a path or an array, not {type(one).__name__}")
        several[position] = np.asarray(one)
        require_form(several[position].shape, channels, of=name)
    look_at([np.empty(0) if _is_path(one) else one for one in several])
    return several


def _is_path(picture: Picture) -> bool:
    return isinstance(picture, (str, os.PathLike))


def _is_array(picture: Picture) -> bool:
    """Whether numpy can read it: arrays, tensors, Pillow's pictures."""
    return hasattr(picture, "shape") or hasattr(picture, "__array_interface__")


def _decoded(path: str | os.PathLike[str], channels: int) -> np.ndarray:
    name = repr(os.fspath(path))
    if channels not in (1, 3):
        raise OptionError(
            f"a picture file has 1 or 3 channels, and this network takes {channels}",
            notes=[("fix", "read the files yourself, and give arrays (H, W, C)")],
        )
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero in it
        cause = getattr(error, "strerror", None) or str(error)
        raise DiskError(f"{name} cannot be read", notes=[("cause", cause)]) from error
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            return _bytes_of(picture, "L" if channels == 1 else "RGB").reshape(picture.height, picture.width, channels)
    except (MemoryError, Image.DecompressionBombWarning):  # the latter where warnings are errors: the file is not at fault
        raise
    except Image.DecompressionBombError as error:
        raise OptionError(
            f"{name} is a picture of more than {MOST_PIXELS:,} pixels, and torso decodes none that is larger",
            notes=[("fix", "make it smaller with what made it, if you trust it")],
        ) from error
    except Exception as error:  # whatever a decoder raises over a file that is damaged
        cause = str(error)
        if isinstance(error, UnidentifiedImageError):
            cause = f"it is no {', '.join(FORMATS)}, or the beginning of it is damaged" if data else "it is empty"
        raise IntegrityError(f"{name} is no picture that can be decoded", notes=[("cause", cause)]) from error


def _bytes_of(picture: Image.Image, mode: str) -> np.ndarray:
    """Pixels of 8 bits: of 16, the upper ones; how opaque they are is left out."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    return np.asarray(picture.convert(mode))


def _resized(picture: np.ndarray, recipe: Transform, height: int, width: int) -> np.ndarray:
    """Resize such that the crop is ``recipe.crop`` of a side that fits, and take the middle."""
    if not all(picture.shape):
        raise OptionError(f"a picture of {picture.shape[0]}×{picture.shape[1]} pixels has nothing to show")
    scales = height / recipe.crop / picture.shape[0], width / recipe.crop / picture.shape[1]
    if recipe.fit == "crop":
        scales = max(scales), max(scales)
    size = round(scales[0] * picture.shape[0]), round(scales[1] * picture.shape[1])
    if size[0] * size[1] > MOST_PIXELS:
        raise OptionError(
            f"a picture of {picture.shape[0]}×{picture.shape[1]} pixels would be resized to {size[0]}×{size[1]} before it "
            f"is cropped to {height}×{width}",
            notes=[("fix", "cut out what is to be seen, or write fit: stretch")],
        )
    pixels = picture if picture.dtype == "uint8" else picture.astype("float32")
    resized = tf.image.resize(pixels, size, method=recipe.interpolation, antialias=recipe.antialias)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cropped: np.ndarray = resized.numpy()[top : top + height, left : left + width]
    clipped: np.ndarray = np.clip(cropped, min(0, pixels.min()), max(255, pixels.max()))
    return clipped  # bicubic and Lanczos lead out of the range
