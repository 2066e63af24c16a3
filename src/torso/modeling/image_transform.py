"""Turn pictures of any size into pixels of a network's input size, by a recipe that is data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose as T

from torso.contracts.preprocessing import Transform
from torso.errors import DiskError, IntegrityError, OptionError, TorsoError
from torso.files.pictures import Transformed, files_of
from torso.modeling.input_checks import check_pixels, require_form, unwrapped_errors
from torso.planning.plan import InputShape

# Pillow reads many more formats; each is more code for a damaged file to crash.
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MOST_PIXELS: Final = 178_956_970  # of a picture that is decoded or made: Pillow takes a larger one for an attack
# What makes the stored pixels upright, for the EXIF orientations from 2 on; 1 is upright.
_UPRIGHT: Final = (T.FLIP_LEFT_RIGHT, T.ROTATE_180, T.FLIP_TOP_BOTTOM, T.TRANSPOSE, T.ROTATE_270, T.TRANSVERSE, T.ROTATE_90)


def transform_images(pictures: Any, recipe: Transform, shape: InputShape, *, skip: bool = False) -> Transformed:
    """What :meth:`torso.Backbone.transform` returns; with a height and width of None, each picture keeps its size."""
    with unwrapped_errors():
        if tf.is_symbolic_tensor(pictures):
            fix = "tf.numpy_function(backbone.transform, [images], tf.float32)"
            raise OptionError("transform is Python code, and takes no tensor of a graph", notes=[("fix", fix)])
    height, width, channels = shape
    arrays: list[np.ndarray] = []
    read: list[str | int] = []
    failed: dict[str, TorsoError] = {}
    listed = _listed(pictures, channels, recipe)
    if not listed:
        raise OptionError("there are no pictures to transform")
    for position, one in enumerate(listed):
        try:
            array = _decode(one, channels, recipe) if isinstance(one, str) else one
            if height is not None and width is not None:
                with tf.device("CPU"):  # as in a dataset; a GPU may round differently
                    array = _resize(array, recipe, height, width)
        except (DiskError, IntegrityError, OptionError) as error:
            if not skip or not isinstance(one, str):
                raise
            failed[one] = error
        else:
            arrays.append(array)
            read.append(one if isinstance(one, str) else position)
    sizes = sorted({one.shape[:2] for one in arrays})
    if len(sizes) > 1:
        fact = f"a network for any size takes pictures of one size at a time, not of {', '.join(map(_size, sizes[:4]))}"
        raise OptionError(fact, notes=[("fix", "transform them one by one, or give the backbone a size")])
    empty = np.empty((0, height or 0, width or 0, channels), "float32")
    pixels = np.stack([np.asarray(one, "float32") for one in arrays]) if arrays else empty
    return Transformed(pixels, tuple(read), failed)


def _listed(pictures: Any, channels: int, recipe: Transform) -> Sequence[Any]:
    """The pictures one by one, each the path of a file or a checked array."""
    if _is_array(pictures) and not isinstance(pictures, Image.Image):
        pictures = np.atleast_1d(np.asarray(pictures))
        if pictures.dtype.kind not in "OU":  # those hold several: paths, or arrays of several sizes
            pictures = pictures[None] if pictures.ndim == 3 else pictures
            require_form(pictures, channels)
    several = list(pictures) if isinstance(pictures, Iterable) and not isinstance(pictures, (str, bytes)) else [pictures]
    several = [one for some in several for one in (files_of(some) if _is_path(some) else [some])]
    if channels not in (1, 3) and any(map(_is_path, several)):
        fact = f"a picture file has 1 or 3 channels, and this network takes {channels}"
        raise OptionError(fact, notes=[("fix", "read the files yourself, and give arrays (H, W, C)")])
    for position, one in enumerate(several):
        name = f"picture {position} of {len(several)}"
        if _is_array(one):
            several[position] = np.asarray(_upright(one, recipe, name) if isinstance(one, Image.Image) else one)
            require_form(several[position], channels, name=name)
        elif not _is_path(one):
            raise OptionError(f"{name} must be a path or an array, not {type(one).__name__}")
    # The warning points at the line that calls Backbone.transform: five frames out.
    check_pixels([np.empty(0) if _is_path(one) else one for one in several], stacklevel=5)
    return several


def _is_path(picture: Any) -> bool:
    return isinstance(picture, (str, os.PathLike))


def _is_array(picture: Any) -> bool:
    """Whether it is an array, a tensor or a picture of Pillow's; text of numpy is a path."""
    return (hasattr(picture, "shape") or hasattr(picture, "__array_interface__")) and not _is_path(picture)


def _decode(path: str, channels: int, recipe: Transform) -> np.ndarray:
    name = repr(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DiskError(f"{name} cannot be read", notes=[("cause", error.strerror or str(error))]) from error
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:  # of several frames, the first
            pixels = _pixels(_upright(picture, recipe, name), "L" if channels == 1 else "RGB")
            return pixels.reshape(*pixels.shape[:2], channels)
    except (MemoryError, IntegrityError):
        raise
    except Image.DecompressionBombError as error:  # of more than MOST_PIXELS
        notes = [("cause", str(error)), ("fix", "shrink the picture first")]
        raise OptionError(f"{name} is too large a picture to be decoded", notes=notes) from error
    except Exception as error:  # decoders raise all kinds of errors over damaged files
        cause = str(error)
        if isinstance(error, UnidentifiedImageError):
            cause = f"it is no {', '.join(FORMATS)}, or its beginning is damaged" if data else "it is empty"
        raise IntegrityError(f"{name} is no picture that can be decoded", notes=[("cause", cause)]) from error


def _upright(picture: Image.Image, recipe: Transform, name: str) -> Image.Image:
    """The picture, turned as its EXIF says. ImageOps.exif_transpose would fail where any other tag is odd."""
    picture.load()  # what is wrong with the pixels is another error
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1) if recipe.exif == "turn" else 1
    except Exception as error:
        notes = [("cause", str(error)), ("fix", "preprocess: {exif: ignore} takes the pixels as they are stored")]
        raise IntegrityError(f"{name} has EXIF data that cannot be read", notes=notes) from error
    return picture.transpose(_UPRIGHT[int(orientation) - 2]) if orientation in range(2, 9) else picture


def _pixels(picture: Image.Image, mode: str) -> np.ndarray:
    """Pixels of 8 bits; of 16 bits, the upper eight. As in keras.utils.load_img, opacity is ignored."""
    if picture.mode.startswith("I;16"):  # Pillow would clip them to 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype("uint8"))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    return np.asarray(picture.convert(mode))


def _resize(picture: np.ndarray, recipe: Transform, height: int, width: int) -> np.ndarray:
    if not all(picture.shape):
        raise OptionError(f"a picture of {_size(picture.shape)} pixels is empty")
    pixels = picture if picture.dtype == "uint8" else picture.astype("float32")
    rows, columns = pixels.shape[:2]
    resize: Any = partial(tf.image.resize, method=recipe.interpolation, antialias=recipe.antialias)
    if recipe.fit == "stretch" or recipe.crop == 1.0:  # as image_dataset_from_directory
        if recipe.fit == "crop":  # crop_to_aspect_ratio=True: the largest part that has the network's proportions
            part = min(rows, max(1, columns * height // width)), min(columns, max(1, rows * width // height))
            pixels = _middle(pixels, *part, int)
        return np.asarray(resize(pixels, (height, width)))
    # As torchvision's Resize and CenterCrop: the side decides that must grow more, or shrink less.
    by_height = height * columns >= width * rows
    side = round((height if by_height else width) / recipe.crop)
    size = (side, side * columns // rows) if by_height else (side * rows // columns, side)
    if size[0] * size[1] > MOST_PIXELS:
        fact = f"a picture of {_size(picture.shape)} pixels would be resized to {_size(size)} before it is cropped"
        raise OptionError(fact, notes=[("fix", "cut out the part to look at, or write fit: stretch")])
    cropped = _middle(np.asarray(resize(pixels, size)), height, width, round)
    return cropped.clip(min(0, pixels.min()), max(255, pixels.max()))  # bicubic and Lanczos overshoot


def _middle(pixels: np.ndarray, height: int, width: int, whole: Callable[[float], int]) -> np.ndarray:
    top, left = whole((pixels.shape[0] - height) / 2), whole((pixels.shape[1] - width) / 2)
    return pixels[top : top + height, left : left + width]


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]}×{shape[1]}"
