"""Turn pictures of any size into pixels of a network's input size, by a recipe that is data."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from io import BytesIO
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
# The kernels of ScaleAndTranslate, which tf.image.resize too has for these methods.
_KERNELS: Final = {
    "bilinear": "triangle",
    "bicubic": "keyscubic",
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
    "gaussian": "gaussian",
    "mitchellcubic": "mitchellcubic",
}
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
            array = decode(read_file(one, repr(one)), repr(one), channels, recipe) if isinstance(one, str) else one
            if height is not None and width is not None:
                with tf.device("CPU"):  # as in a dataset; a GPU may round differently
                    array = resized(array, recipe, height, width)
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


def read_file(path: str | bytes, name: str) -> bytes:
    """The bytes of a file, called ``name`` in errors; a DiskError, and for a pipe or device too, which might never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise DiskError(f"{name} is no regular file")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        if isinstance(error, DiskError):
            raise
        raise DiskError(f"{name} cannot be read", notes=[("cause", error.strerror or str(error))]) from error


def decode(data: bytes, name: str, channels: int, recipe: Transform) -> np.ndarray:
    """The upright pixels of a picture file, ``(H, W, channels)`` uint8; an IntegrityError, or of too many an OptionError."""
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


def resized(picture: np.ndarray, recipe: Transform, height: int, width: int) -> np.ndarray:
    require_moderate(picture.shape, recipe, height, width)
    pixels = picture if picture.dtype == "uint8" else picture.astype("float32")
    return np.asarray(resizer(recipe, height, width)(pixels))


def require_moderate(shape: Sequence[int], recipe: Transform, height: int, width: int) -> None:
    """Refuse an empty picture, and one that would be resized to more than MOST_PIXELS before it is cropped."""
    if not all(shape):
        raise OptionError(f"a picture of {_size(shape)} pixels is empty")
    if recipe.interpolation not in _KERNELS and _crops(recipe):
        size = _sizes(recipe, height, width, *shape[:2])[height * shape[1] < width * shape[0]]
        if size[0] * size[1] > MOST_PIXELS:
            fact = f"a picture of {_size(shape)} pixels would be resized to {_size(size)} before it is cropped"
            raise OptionError(fact, notes=[("fix", "cut out the part to look at, or write fit: stretch")])


@cache
def resizer(recipe: Transform, height: int, width: int) -> Callable[[Any], Any]:
    """The traced function from a picture ``(H, W, C)``, uint8 or float32, to ``(height, width, C)``, float32."""
    method, antialias = recipe.interpolation, recipe.antialias

    @partial(tf.function, autograph=False, reduce_retracing=True)
    def resize(picture: Any) -> Any:  # Any: a tensor, as everything here
        rows, columns = tf.unstack(tf.shape(picture, tf.int64))[:2]
        if not _crops(recipe):  # as image_dataset_from_directory
            if recipe.fit == "crop":  # crop_to_aspect_ratio=True: the largest part that has the network's proportions
                part_rows = tf.minimum(rows, tf.maximum(columns * height // width, 1))
                part_columns = tf.minimum(columns, tf.maximum(rows * width // height, 1))
                top, left = (rows - part_rows) // 2, (columns - part_columns) // 2
                picture = picture[top : top + part_rows, left : left + part_columns]
            return tf.cast(tf.image.resize(picture, (height, width), method, antialias=antialias), tf.float32)
        by_height, by_width = _sizes(recipe, height, width, rows, columns)
        size = tf.where(height * columns >= width * rows, tf.stack(by_height), tf.stack(by_width))
        corner = tf.round((tf.cast(size, tf.float64) - [height, width]) / 2)
        if method not in _KERNELS:
            whole = tf.image.resize(picture, tf.cast(size, tf.int32), method)
            top, left = tf.unstack(tf.cast(corner, tf.int64))
            return tf.cast(whole[top : top + height, left : left + width], tf.float32)
        (pixels,) = tf.unstack(
            tf.raw_ops.ScaleAndTranslate(  # of what is resized, the crop alone is computed
                images=picture[None],
                size=[height, width],
                scale=tf.cast(size, tf.float32) / tf.cast([rows, columns], tf.float32),
                translation=tf.cast(-corner, tf.float32),
                kernel_type=_KERNELS[method],
                antialias=antialias,
            ),
            num=1,
        )
        if picture.dtype == tf.uint8:
            return tf.clip_by_value(pixels, 0, 255)  # bicubic and Lanczos overshoot
        return tf.clip_by_value(pixels, tf.minimum(0.0, tf.reduce_min(picture)), tf.maximum(255.0, tf.reduce_max(picture)))

    return resize  # type: ignore[no-any-return]


def _crops(recipe: Transform) -> bool:
    return recipe.fit == "crop" and recipe.crop < 1


def _sizes(recipe: Transform, height: int, width: int, rows: Any, columns: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """To which sizes a picture is resized before it is cropped, by its height and by its width, as torchvision's Resize.

    That side decides which must grow more, or shrink less.
    """
    tall, wide = round(height / recipe.crop), round(width / recipe.crop)
    return (tall, tall * columns // rows), (wide * rows // columns, wide)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]}×{shape[1]}"
