"""Read many pictures to the pixels that ``transform`` makes of them: the same bits, in parallel, and every error is kept.

JPEG is decoded by TensorFlow, which takes half the time of Pillow and gives the same bits: for grey and RGB files, with the
exact inverse DCT. Of CMYK it rounds another way: that and all other formats are left to Pillow.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from io import BytesIO
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from torso.contracts.preprocessing import Transform
from torso.errors import OptionError, TorsoError
from torso.files.pictures import files_of
from torso.modeling.image_transform import decode, read_file, require_moderate, resized, resizer

BATCH: Final = 32  # pictures
_AT_ONCE: Final = 10  # pictures that TensorFlow decodes, on as many threads as it has: tf.map_fn's own number


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
    pictures: Iterable[Picture],
    recipe: Transform,
    shape: tuple[int, int, int],
    *,
    batch: int = BATCH,
    threads: int | None = None,
) -> Iterator[Pixels]:
    """Read pictures in batches, with one row for each, whatever is wrong with it; the next batch while one is used."""
    left, waiting = iter(pictures), deque[Future[Pixels]]()
    with ThreadPoolExecutor(1) as ahead:
        while group := [*islice(left, batch)]:
            waiting.append(ahead.submit(_read, group, recipe, shape, threads or _AT_ONCE))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(pictures: Sequence[Picture], recipe: Transform, shape: tuple[int, int, int], threads: int) -> Pixels:
    values = np.zeros((len(pictures), *shape), "float32")
    errors: list[TorsoError | None] = [None] * len(pictures)
    hashes: list[str | None] = [None] * len(pictures)
    jpegs: dict[int, tuple[bytes, int]] = {}  # by position: what TensorFlow decodes, all at once

    def by_pillow(position: int, data: bytes) -> None:
        values[position] = resized(decode(data, pictures[position].name, shape[2], recipe), recipe, *shape[:2])

    for position, picture in enumerate(pictures):
        with _kept(errors, position):
            data = picture.read()
            hashes[position] = hashlib.sha256(data).hexdigest()
            if orientation := _orientation_of_exact(data, recipe, shape):
                jpegs[position] = data, orientation
            else:
                by_pillow(position, data)
    if jpegs:
        try:
            with tf.device("CPU"):
                values[[*jpegs]] = _decoder(recipe, shape, threads)(*map(tf.constant, zip(*jpegs.values(), strict=True)))
        except tf.errors.InvalidArgumentError:  # one is damaged: Pillow says which, and what is wrong with it
            for position, (data, _) in jpegs.items():
                with _kept(errors, position):
                    by_pillow(position, data)
    return Pixels(values, errors, hashes)


@contextmanager
def _kept(errors: list[TorsoError | None], position: int) -> Iterator[None]:
    """Keep an error of torso in its row."""
    try:
        yield
    except TorsoError as error:
        errors[position] = error


@cache
def _decoder(recipe: Transform, shape: tuple[int, int, int], threads: int) -> Callable[[Any, Any], Any]:
    """The traced function from JPEGs and their EXIF orientations to pixels ``(N, height, width, channels)``."""
    resize = resizer(recipe, *shape[:2])

    def pixels(jpeg: Any) -> Any:  # Any: tensors
        data, orientation = jpeg
        return tf.ensure_shape(resize(_upright(data, orientation, shape[2])), shape)

    def decode_all(*jpegs: Any) -> Any:
        return tf.map_fn(pixels, jpegs, fn_output_signature=tf.float32, parallel_iterations=threads)

    signature = tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.int32)
    return tf.function(decode_all, signature, autograph=False)  # type: ignore[no-any-return]


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
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise OptionError(f"batch_size must be a number of pictures from 1 on, not {batch_size!r}")
    several = [pictures] if isinstance(pictures, (str, os.PathLike)) else [*pictures]
    if wrong := [one for one in several if not isinstance(one, (str, os.PathLike))]:
        raise OptionError(f"pictures must be paths, not {type(wrong[0]).__name__}")
    found = [(file, path) for path in several for file in files_of(path)]
    paths = [file for file, _ in found]
    if isinstance(labels, str):
        if labels != "folders":
            raise OptionError(f"labels must be 'folders', one for each picture, or None, not {labels!r}")
        labels = [_label_of(file, path) for file, path in found]
    names = np.zeros(len(paths)) if labels is None else np.asarray(labels)
    if len(names) != len(paths):
        raise OptionError(f"there are {len(paths)} pictures and {len(names)} labels")
    classes, numbers = np.unique(names, return_inverse=True)
    random = np.random.default_rng(seed)

    def batches() -> Iterator[Any]:
        order = random.permutation(len(paths)) if shuffle else np.arange(len(paths))
        ordered = iter(numbers[order])
        listed = (Picture(repr(paths[row]), partial(read_file, paths[row], repr(paths[row]))) for row in order)
        for batch in read_pictures(listed, recipe, (height, width, channels), batch=batch_size):
            for error in filter(None, batch.errors):
                raise error
            yield batch.values, [*islice(ordered, len(batch.values))]

    signature = tf.TensorSpec((None, height, width, channels), tf.float32), tf.TensorSpec((None,), tf.int64)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-len(paths) // batch_size)))
    dataset = dataset.map(lambda pixels, number: change(pixels) if labels is None else (change(pixels), number)).prefetch(2)
    dataset.class_names = [] if labels is None else classes.tolist()
    return dataset


def _label_of(file: str, source: str | os.PathLike[str]) -> str:
    """The first folder in a folder; of a single file or one of a pattern, the folder that it is in."""
    inside = os.path.isdir(source)
    *folders, _ = (os.path.relpath(file, source) if inside else os.path.abspath(file)).split(os.sep)
    if not folders:
        raise OptionError(
            f"{file!r} is in no folder that could be its label", notes=[("fix", "labels=None, or one for each")]
        )
    return folders[0] if inside else folders[-1]


def _orientation_of_exact(data: bytes, recipe: Transform, shape: tuple[int, int, int]) -> int:
    """The EXIF orientation of a JPEG that TensorFlow decodes to the same bits as Pillow, 1 if it has none; or else 0."""
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as picture:  # reads the header, and checks the size
            exact = picture.mode == "L" or (picture.mode == "RGB" and shape[2] == 3)
            if not exact or not data.endswith(b"\xff\xd9"):  # of one that is cut off, Pillow says so
                return 0
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1) if recipe.exif == "turn" else 1
            sides = picture.size if orientation in range(5, 9) else picture.size[::-1]
    except Exception:  # noqa: BLE001  # decode says what it is
        return 0
    require_moderate(sides, recipe, *shape[:2])
    return orientation if orientation in range(1, 9) else 1


def _upright(data: Any, orientation: Any, channels: int) -> Any:
    """A JPEG, turned as its EXIF orientation says: where it is 5 or more, rows become columns; then it is mirrored."""

    def if_one_of(orientations: Sequence[int], change: Callable[[Any], Any], picture: Any) -> Any:
        return tf.cond(tf.reduce_any(orientation == [*orientations]), lambda: change(picture), lambda: picture)

    picture = tf.io.decode_jpeg(data, channels, dct_method="INTEGER_ACCURATE")  # by default it is a faster, coarser one
    picture = if_one_of((5, 6, 7, 8), lambda pixels: tf.transpose(pixels, (1, 0, 2)), picture)
    picture = if_one_of((2, 3, 6, 7), lambda pixels: pixels[:, ::-1], picture)
    return if_one_of((3, 4, 7, 8), lambda pixels: pixels[::-1], picture)
