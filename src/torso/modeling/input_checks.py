"""Check the shape of images, and the numbers of the first ones: most mistakes with pixels show in their range."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from torso.errors import OptionError, PixelWarning
from torso.modeling.keras_private import let_pass

# How far resizing leaves the range of pixels at sharp edges, as a part of it: on a chessboard, bicubic by up to 0.28 and
# Lanczos by up to 0.4; on the worst pattern found, Lanczos by 0.62.
OVERSHOOT: Final = 0.4
# How many images show the order of the channels, and by how much blue may exceed red in their mean: in ImageNet, red exceeds
# blue by 20 (means 123.7 and 103.9, which Keras' preprocess_input subtracts).
ENOUGH: Final = 8
BLUER: Final = 8.0

# From check_pixels out to the line that calls the layer: there are one frame of AutoGraph and five of Keras 3.15 between.
# In a model around the layer there are more, and the warning points into Keras.
_CALLER_OF_LAYER: Final = 10


def with_input_checks(layer: keras.Model, channels: int) -> keras.Model:
    """Let a preprocessing layer check its images; returns the layer, whose class, configuration and values do not change.

    The shape is checked at every call, and the numbers in the first eager batch. Within a graph (``tf.data``, ``fit``,
    ``tf.function``) there are no numbers yet. Raises OptionError; warns with ``torso.PixelWarning``.
    """
    call, infer = layer.call, layer.compute_output_spec
    judged = False

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # AutoGraph would wrap the errors
    def check(inputs: Any) -> Any:  # Any: an array, tensor or symbol, alone or as a list or dictionary of one
        nonlocal judged
        with unwrapped_errors():
            found = keras.tree.flatten(inputs)  # Keras takes the images within a list or a dictionary too
            if len(found) != 1 or not hasattr(found[0], "shape"):
                fact = f"images must be one array (N, height, width, {channels}), not a {type(inputs).__name__}"
                fix = "numpy.stack(images); or transform, which takes paths, and pictures of any size"
                raise OptionError(fact, notes=[("fix", fix)])
            images = found[0]
            require_form(images, channels)
            if not judged and not isinstance(images, keras.KerasTensor) and tf.executing_eagerly():
                judged = check_pixels(keras.ops.convert_to_numpy(images), stacklevel=_CALLER_OF_LAYER)
        if isinstance(images, tf.Tensor) and images.shape[-1] is None:
            return tf.ensure_shape(images, (None, None, None, channels))  # else a grey one is broadcast in silence
        return images

    layer.call = lambda inputs, *args, **kwargs: call(check(inputs), *args, **kwargs)
    layer.compute_output_spec = lambda inputs, *args, **kwargs: infer(check(inputs), *args, **kwargs)
    layer.input_spec = None  # Keras' own check comes first otherwise, and names no fix
    return layer


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    """Keep Keras and TensorFlow from wrapping the errors raised here in text of their own."""
    try:
        yield
    except (OptionError, PixelWarning) as error:
        let_pass(error)
        raise


def require_form(images: Any, channels: int, *, name: str = "") -> None:
    """Refuse what is not a batch of images, channels last, of real numbers; with a name, what is not one image."""
    dtype = getattr(images.dtype, "name", str(images.dtype))  # of numpy, of TensorFlow, and a word of Keras
    if not dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
        raise OptionError(f"pixels must be numbers of 0 to 255, not {dtype}")
    axes = 3 if name else 4
    shape = None if getattr(images.shape, "rank", 0) is None else tuple(images.shape)  # a graph may not know the axes
    if shape is None or len(shape) != axes or shape[-1] not in (channels, None):
        expected = f"({'' if name else 'N, '}height, width, {channels})"
        found = "of unknown shape" if shape is None else shape
        batched = f"images.set_shape((None, None, None, {channels})), once they are a batch"
        fix = batched if shape is None else _fix(shape, channels, axes)
        raise OptionError(f"{name or 'images'} must be {expected}, not {found}", notes=[("fix", fix)] if fix else [])


def _fix(shape: tuple[int | None, ...], channels: int, axes: int) -> str | None:
    """What turns images of this shape into what they should be, where the shape tells."""
    if len(shape) in (3, 4) and shape[-3] == channels != shape[-1]:
        return "the channels come first: numpy.moveaxis(images, -3, -1)"
    if len(shape) == 3 < axes and shape[-1] == channels:
        return "one image is a batch of one: images[None]"
    if len(shape) == axes - 1:
        grey = "images[..., None]" if channels == 1 else f"numpy.stack([images] * {channels}, -1)"
        return f"grey images have no channel axis: {grey}"
    if len(shape) == axes and shape[-1] == 1:
        return f"the images are grey: numpy.repeat(images, {channels}, -1)"
    if len(shape) == axes and (shape[-1], channels) == (4, 3):
        return "drop the fourth channel, the opacity: images[..., :3]"
    return None


def check_pixels(images: Sequence[np.ndarray] | np.ndarray, *, stacklevel: int) -> bool:
    """Warn of numbers that RGB pixels of 0 to 255 should not have, and refuse NaN; False where all values are equal."""
    least, most = np.inf, -np.inf
    red_over_blue: list[float] = []
    for position, image in enumerate(images):
        if not image.size:
            continue
        with np.errstate(over="ignore"):  # a float64 may be beyond float32, and is infinite then
            values = image.astype("float32")
        if not np.isfinite(values).all():
            fact = f"image {position} of {len(images)} has values that are NaN or infinite"
            raise OptionError(fact, notes=[("fix", "look at how it was read; 0 / 0 in a normalisation gives NaN")])
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        if image.shape[-1] == 3:
            red_over_blue.append(float(values[..., 0].mean() - values[..., 2].mean()))
    if not least < most:
        return False
    if problem := _scale(least, most) or _order(np.array(red_over_blue)):
        warnings.warn(f"{problem}; torso expects RGB pixels of 0 to 255 here", PixelWarning, stacklevel=stacklevel)
    return True


def _scale(least: float, most: float) -> str | None:
    """What is wrong with the range of the values."""
    between = f"the first images lie between {least:g} and {most:g}"
    if least >= -OVERSHOOT and most <= 1 + OVERSHOOT:
        return f"{between}: they look scaled to 0 to 1 already (multiply by 255)"
    if least >= -1 - OVERSHOOT and most <= 1 + OVERSHOOT:
        return f"{between}: they look scaled to -1 to 1 already (add 1, multiply by 127.5)"
    if most < -2.5 * least:  # the worst overshoot found has 2.6
        return f"{between}: they look preprocessed already"
    if most > 255 * (1 + 2 * OVERSHOOT):
        return f"{between}: they look like more than 8 bits a channel"
    return None


def _order(red_over_blue: np.ndarray) -> str | None:
    """Whether red and blue look swapped."""
    if (count := len(red_over_blue)) < ENOUGH:
        return None
    mean = float(red_over_blue.mean())
    if mean > -max(BLUER, 2 * float(red_over_blue.std()) / count**0.5):  # two standard errors
        return None
    return (
        f"the first {count} images are bluer than red by {-mean:.0f} on average: images read with OpenCV are BGR "
        "(images[..., ::-1] is RGB); pictures of sea and sky look like that too"
    )
