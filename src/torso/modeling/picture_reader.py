"""Read many pictures to the pixels that ``transform`` makes of them: the same bits, in parallel, and every error is kept.

JPEG is decoded by TensorFlow, which takes half the time of Pillow and gives the same bits: for grey and RGB files, with the
exact inverse DCT. Of CMYK it rounds another way: that and all other formats are left to Pillow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from torso.contracts.preprocessing import Transform
from torso.errors import OptionError, TorsoError
from torso.files.pictures import files_of
from torso.modeling.image_transform import decode, read_file, require_moderate, resizer

BATCH: Final = 32  # pictures
_BY_PILLOW: Final = 0  # instead of an EXIF orientation


class Picture(NamedTuple):
    """A picture to be read: its bytes are asked for when its turn comes."""

    name: str  # in errors
    read: Callable[[], bytes]  # a DiskError where that fails


class Pixels(NamedTuple):
    """A batch of pictures in their order."""

    values: np.ndarray  # (N, height, width, channels) of 0 to 255, float32; black where there is an error
    errors: list[TorsoError | None]
    sha256: list[str | None]  # of the file; None where it cannot be read


def read_pictures(
    pictures: Sequence[Picture], recipe: Transform, shape: tuple[int, int, int], *, threads: int | None = None
) -> Iterator[Pixels]:
    """Read pictures in batches of 32, with one row for each, whatever is wrong with it."""
    done, by_pillow = 0, False
    while done < len(pictures):
        found: list[tuple[TorsoError | None, str | None]] = []
        rows = partial(_each, pictures[done:], recipe, shape, by_pillow, found)
        try:
            for batch in dataset_of(rows, recipe, shape, threads).batch(BATCH).prefetch(1):
                values = batch[0].numpy()
                errors, hashes = zip(*found[: len(values)], strict=True)
                del found[: len(values)]
                done += len(values)
                yield Pixels(values, [*errors], [*hashes])
        except tf.errors.InvalidArgumentError:  # a damaged JPEG: Pillow says what is wrong with which
            if by_pillow:
                raise
            by_pillow = True


def training_dataset(
    pictures: Any,
    labels: Any,
    recipe: Transform,
    shape: tuple[int | None, int | None, int],
    batch_size: int,
    shuffle: bool,
    seed: int | None,
    change: Callable[[Any], Any],
) -> tf.data.Dataset:
    """What :meth:`torso.Backbone.dataset` returns; ``change`` is applied to each batch of pixels."""
    height, width, channels = shape
    if height is None or width is None:
        raise OptionError("a batch has one size: give the backbone a size", notes=[("fix", "input_shape=(224, 224, 3)")])
    several = [pictures] if isinstance(pictures, (str, os.PathLike)) else [*pictures]
    paths = [file for path in several for file in files_of(path)]
    names = [_label_of(file, path) for path in several for file in files_of(path)] if labels == "folders" else labels
    if names is not None and len(names) != len(paths):
        raise OptionError(f"there are {len(paths)} pictures and {len(names)} labels")
    classes = sorted({*names}) if names is not None else []
    numbers = [classes.index(name) for name in names] if names is not None else [0] * len(paths)
    random = np.random.default_rng(seed)

    def rows() -> Iterator[Any]:
        for position in random.permutation(len(paths)) if shuffle else range(len(paths)):
            name = repr(paths[position])
            yield *encoded(read_file(paths[position], name), name, recipe, (height, width, channels)), numbers[position]

    dataset = dataset_of(rows, recipe, (height, width, channels))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(paths))).batch(batch_size)
    dataset = dataset.map(lambda pixels, number: (change(pixels), number) if classes else change(pixels)).prefetch(2)
    dataset.class_names = classes
    return dataset


def _label_of(file: str, source: str | os.PathLike[str]) -> str:
    """The first folder in a folder; of a single file or one of a pattern, the folder that it is in."""
    inside = os.path.isdir(source)
    return os.path.relpath(file, source).split(os.sep)[0] if inside else os.path.basename(os.path.dirname(file))


def dataset_of(
    rows: Callable[[], Iterator[Any]], recipe: Transform, shape: tuple[int, int, int], threads: int | None = None
) -> tf.data.Dataset:
    """A dataset of what :func:`encoded` gives, and an integer: pixels and the integer, one by one, in their order."""
    height, width, channels = shape
    resize = resizer(recipe, height, width)

    def pixels(data: Any, decoded: Any, orientation: Any, integer: Any) -> Any:  # Any: tensors
        picture = tf.cond(orientation == _BY_PILLOW, lambda: decoded, lambda: _upright(data, orientation, channels))
        return tf.ensure_shape(resize(picture), shape), integer

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None, None, channels), tf.uint8),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(rows, output_signature=signature)
    options = tf.data.Options()
    if threads:
        options.threading.private_threadpool_size = threads
    return dataset.map(pixels, num_parallel_calls=threads or tf.data.AUTOTUNE, deterministic=True).with_options(options)


def _each(
    pictures: Sequence[Picture],
    recipe: Transform,
    shape: tuple[int, int, int],
    by_pillow: bool,
    found: list[tuple[TorsoError | None, str | None]],
) -> Iterator[Any]:
    """What the dataset decodes, and beside it the error and the hash of each."""
    nothing = b"", np.zeros((1, 1, shape[2]), "uint8"), _BY_PILLOW
    for picture in pictures:
        digest = error = None
        element: Any = nothing
        try:
            data = picture.read()
            digest = hashlib.sha256(data).hexdigest()
            element = encoded(data, picture.name, recipe, shape, by_pillow=by_pillow)
        except TorsoError as failed:
            error = failed
        found.append((error, digest))
        yield *element, 0


def encoded(
    data: bytes, name: str, recipe: Transform, shape: tuple[int, int, int], *, by_pillow: bool = False
) -> tuple[bytes, np.ndarray, int]:
    """A JPEG that TensorFlow is to decode and its EXIF orientation, or the pixels that Pillow decodes."""
    height, width, channels = shape
    if not by_pillow:
        try:
            with Image.open(BytesIO(data), formats=["JPEG"]) as picture:  # reads the header, and checks the size
                exact = picture.mode == "L" or (picture.mode == "RGB" and channels == 3)
                exact = exact and data.endswith(b"\xff\xd9")  # of one that is cut off, Pillow says so by name
                orientation = picture.getexif().get(ExifTags.Base.Orientation, 1) if recipe.exif == "turn" else 1
                sides = picture.size if orientation in range(5, 9) else picture.size[::-1]
        except Exception:  # noqa: BLE001  # decode says what it is
            exact = False
        if exact:
            require_moderate(sides, recipe, height, width)
            return data, np.zeros((1, 1, channels), "uint8"), orientation if orientation in range(1, 9) else 1
    pixels = decode(data, name, channels, recipe)
    require_moderate(pixels.shape, recipe, height, width)
    return b"", pixels, _BY_PILLOW


def _upright(data: Any, orientation: Any, channels: int) -> Any:
    """A JPEG, turned as its EXIF orientation says: where it is 5 or more, rows become columns; then it is mirrored."""

    def if_one_of(orientations: Sequence[int], change: Callable[[Any], Any], picture: Any) -> Any:
        return tf.cond(tf.reduce_any(orientation == [*orientations]), lambda: change(picture), lambda: picture)

    picture = tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE")  # by default it is a faster, coarser one
    picture = if_one_of((5, 6, 7, 8), lambda pixels: tf.transpose(pixels, (1, 0, 2)), picture)
    picture = if_one_of((2, 3, 6, 7), lambda pixels: pixels[:, ::-1], picture)
    return if_one_of((3, 4, 7, 8), lambda pixels: pixels[::-1], picture)
