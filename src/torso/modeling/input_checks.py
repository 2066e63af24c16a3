"""Look at the first images that are preprocessed: most mistakes with pixels show in their numbers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from types import FrameType
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from torso.errors import Note, OptionError, PixelWarning
from torso.modeling.keras_private import let_pass

OVERSHOOT: Final = 0.4
"""How far resizing leads out of the range of pixels at sharp edges, as a part of it: bicubic up to 0.28, Lanczos up to 0.4
on a chessboard and to 0.62 on the worst pattern that was found."""

ENOUGH: Final = 8
"""How many images show which channel is red."""

BLUER: Final = 8.0
"""By how much blue may exceed red on average. In ImageNet, red exceeds blue by 20 (means 123.7 and 103.9, which Keras'
``preprocess_input`` subtracts)."""

AT_A_TIME: Final = 16
"""How many batches of a dataset are looked at: so many are computed at the same time, in any order, where TensorFlow
chooses their number."""

_OURS: Final = ("torso", "keras", "tensorflow")
"""The packages between the user's line and the look."""

_REWRITTEN: Final = "__autograph_generated_file"
"""In the name of the file that a function of the user's stands in while TensorFlow traces it."""


class Line(NamedTuple):
    """A line of the user's code.

    Attributes:
        file: Its file.
        number: Which line of it.
        names: What the module's names mean.
    """

    file: str
    number: int
    names: dict[str, Any]


def watch(layer: keras.Model, channels: int) -> keras.Model:
    """Let a layer look at the first images that it is called with; returns the layer.

    Args:
        layer: What preprocesses; its class, its configuration and what it computes stay as they are.
        channels: How many channels it takes.

    The call then raises OptionError for images of another form, or with values that are no numbers, and warns with
    ``torso.PixelWarning`` of what looks scaled or ordered in another way. In a function that ``tf.data`` maps, the images
    come later: there the look is an operation of the dataset, which fails with the same words. It is Python code and runs
    in this process alone; ``dataset.map(tf.function(layer))`` leaves it out, for workers that are other processes. It is
    never a part of another graph, as one that trains, predicts or is saved.
    """
    call, infer = layer.call, layer.compute_output_spec
    one_at_a_time = Lock()
    left = AT_A_TIME

    def look(images: np.ndarray, line: Line, *, alone: bool) -> None:
        nonlocal left
        if not left:
            return
        with one_at_a_time:
            said = look_at(images, line) if left else None
            if said is not None:
                left = 0 if said or alone else left - 1

    def looking(inputs: Any, *args: Any, **kwargs: Any) -> Any:  # Any: arrays and tensors, alone or as a list of one
        with in_its_own_words():
            images = _one(inputs, channels)
            require_form(_shape_of(images), channels)
            if left:
                values = _values_of(images)
                if values is not None:
                    look(values, users_line(), alone=True)
                elif isinstance(images, tf.Tensor) and _is_in_pipeline():
                    images = _looked_at(images, channels, look)
        return call(images, *args, **kwargs)

    def inferring(inputs: Any, *args: Any, **kwargs: Any) -> Any:  # Any: symbols of Keras
        with in_its_own_words():
            require_form(_shape_of(_one(inputs, channels)), channels)
        return infer(inputs, *args, **kwargs)

    layer.call, layer.compute_output_spec = looking, inferring
    layer.input_spec = None  # the form is checked above, in words that help
    return layer


@contextmanager
def in_its_own_words() -> Iterator[None]:
    """Let neither Keras nor TensorFlow tell an error that is raised here in words around torso's."""
    try:
        yield
    except (OptionError, PixelWarning) as error:
        let_pass(error)
        raise


def _one(inputs: Any, channels: int) -> Any:
    """The images, which Keras takes within a list or a dictionary too."""
    found = keras.tree.flatten(inputs)
    if len(found) == 1 and hasattr(found[0], "shape"):
        return found[0]
    several = len(found) > 1 and all(hasattr(one, "shape") for one in found)
    raise OptionError(
        f"images must be one array (N, height, width, {channels}), not {len(found) if several else type(inputs).__name__}",
        notes=[("fix", "numpy.stack(images), or transform, which takes paths, and pictures of any sizes")],
    )


def _shape_of(images: Any) -> tuple[int | None, ...] | None:
    """The sides; None where not even their number is known."""
    return None if getattr(images.shape, "rank", 0) is None else tuple(images.shape)


def _values_of(images: Any) -> np.ndarray | None:
    """The values of an array or of a tensor; None within a graph, where there are none yet."""
    if isinstance(images, np.ndarray):
        return images
    values: np.ndarray | None = images.numpy() if tf.executing_eagerly() and hasattr(images, "numpy") else None
    return values


def _is_in_pipeline() -> bool:
    """Whether what is traced are functions of ``tf.data`` alone, which belong to no model and to no step of training.

    One that stands in a function of the user's is part of that, and so is a function of the user's in one of these: it may
    be used elsewhere too. It is what TensorFlow calls them that tells; were that another name, nothing would be looked at.
    """
    with tf.init_scope():
        if not tf.executing_eagerly():
            return False
    graph = tf.compat.v1.get_default_graph()
    while getattr(graph, "outer_graph", None) is not None:
        if not graph.name.startswith("Dataset_"):
            return False
        graph = graph.outer_graph
    return any(_module(frame).startswith("tensorflow.python.data.") for frame in _calls())  # whatever users' are called


def _looked_at(images: tf.Tensor, channels: int, look: Callable[..., None]) -> tf.Tensor:
    """The same values, once they were looked at.

    The look gives their shape, which they then take: what depends on nothing that it gives could be left out. It is said
    to have no state, so that datasets with it can be saved half way and be optimised like any other.
    """
    line = users_line()

    def shape_of(values: np.ndarray) -> np.ndarray:
        require_form(values.shape, channels)
        look(values, line, alone=False)
        return np.array(values.shape, "int64")

    same = tf.reshape(images, tf.numpy_function(shape_of, [images], tf.int64, stateful=False))
    same.set_shape(images.shape)
    return same


def require_form(shape: tuple[int | None, ...] | None, channels: int, *, of: str = "") -> None:
    """Refuse what is no batch of images with channels last.

    Args:
        shape: What there is; None where not even the number of axes is known.
        channels: How many there must be.
        of: Which picture it is, where it is one of several and no batch.

    Raises:
        OptionError: What it should be, and how to make it so.
    """
    axes = ("height", "width", str(channels)) if of else ("N", "height", "width", str(channels))
    if shape is None:
        raise OptionError(
            f"images must be ({', '.join(axes)}), and it is not known how many axes these have",
            notes=[("fix", f"images.set_shape((None, None, None, {channels})), once they are a batch")],
        )
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


def look_at(images: Sequence[np.ndarray] | np.ndarray, line: Line | None = None) -> str | None:
    """Warn of what pixels should not look like, and refuse what is no number.

    Args:
        images: RGB pixels of 0 to 255, each ``(H, W, C)``; the sizes may differ.
        line: Where a warning points; the user's line that led here, by default.

    Returns:
        What was said of them, which may be nothing; None where they have one value alone, as black images, and show nothing.

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
    if not least < most:
        return None
    if (least, most) == (0, 1) and not any((image % 1).any() for image in images):
        return ""  # pixels of a dark image
    said = _scale(least, most) or _order(np.array(red_over_blue)) or ""
    if said:
        file, number, names = line or users_line()
        warnings.warn_explicit(
            f"{said}; torso expects RGB pixels of 0 to 255 here", PixelWarning, file, number,
            module=names.get("__name__"), registry=names.setdefault("__warningregistry__", {}),
        )  # fmt: skip
    return said


def users_line() -> Line:
    """The line that led here and is neither torso's nor of what torso stands on; the outermost where there is none."""
    for frame in _calls():
        if _module(frame).partition(".")[0] not in _OURS and _REWRITTEN not in frame.f_code.co_filename:
            break
    return Line(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)


def _calls() -> Iterator[FrameType]:
    """What is being called, from the caller outwards."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _scale(least: float, most: float) -> str | None:
    """What the range of the values says of how they were scaled."""
    between = f"the first images lie between {least:g} and {most:g}"
    if least >= -OVERSHOOT and most <= 1 + OVERSHOOT:
        return f"{between}: they look scaled to 0 to 1 already (multiply by 255)"
    if least >= -1 - OVERSHOOT and most <= 1 + OVERSHOOT:
        return f"{between}: they look scaled to -1 to 1 already (add 1, multiply by 127.5)"
    if most < -2.5 * least:  # the worst overshoot has 2.6
        return f"{between}: they look preprocessed already"
    if most > 255 * (1 + 2 * OVERSHOOT):
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
