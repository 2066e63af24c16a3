"""What is no batch of images is refused, and numbers that are no RGB pixels of 0 to 255 are warned of once."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_same_and_meaningful

import torso
from torso.modeling.preprocess_layer import preprocessing_from, preprocessing_layer

TORCH = torso.Preprocessing(divide=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
EXPECTED = "; torso expects RGB pixels of 0 to 255 here"


def watched(channels: int = 3, numbers: torso.Preprocessing = TORCH) -> keras.Model:
    """The layer as a backbone has it."""
    return preprocessing_from(numbers, channels, "edge", included=False)


def photos(count: int = 2, seed: int = 0) -> np.ndarray:
    """Noise of the whole range, a little redder than blue, as photographs are."""
    noise = np.random.default_rng(seed).uniform(20, 230, (count, 8, 8, 3))
    noise[:, 0, 0], noise[:, 0, 1] = 0, 255
    return (noise + np.array([15, 0, -15])).clip(0, 255).astype("float32")


def sharpened(images: np.ndarray, method: str = "lanczos5") -> np.ndarray:
    """Edges of full contrast, resized such that they overshoot."""
    board = np.indices((8, 8)).sum(0)[None, ..., None] % 4 < 2
    resized: np.ndarray = tf.image.resize(np.where(board, images.max(), images.min()) + 0 * images, (20, 20), method).numpy()
    assert resized.min() < images.min()
    assert resized.max() > images.max()
    return resized


def between(images: np.ndarray) -> str:
    return f"the first images lie between {float(images.min()):g} and {float(images.max()):g}"


def said_of(images: Any, layer: keras.Model | None = None) -> list[str]:
    """What is said of images; their values are what they would be without the look."""
    layer = layer or watched(np.shape(images)[-1], torso.Preprocessing(divide=2.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = layer(images)
    np.testing.assert_array_equal(values, keras.models.clone_model(layer)(images))
    assert all(warning.category is torso.PixelWarning for warning in caught)
    return [str(warning.message) for warning in caught]


# What is told.

OVER_255 = "they look scaled to 0 to 1 already (multiply by 255)"
CENTRED = "they look scaled to -1 to 1 already (add 1, multiply by 127.5)"
PREPROCESSED = "they look preprocessed already"
DEEP = "they look like more than 8 bits a channel"
SCALED: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "divided": (OVER_255, lambda images: images / np.float32(255)),
    "multiplied": (OVER_255, lambda images: images * np.nextafter(np.float32(1 / 255), np.float32(1))),  # a little above 1
    "float16": (OVER_255, lambda images: (images / 255).astype("float16")),
    "float64": (OVER_255, lambda images: images.astype("float64") / 255),
    "resized afterwards": (OVER_255, lambda images: sharpened(images / np.float32(255))),
    "one image": (OVER_255, lambda images: images[:1] / np.float32(255)),
    "one channel": (OVER_255, lambda images: images[..., :1] / np.float32(255)),
    "centred": (CENTRED, lambda images: images / np.float32(127.5) - 1),
    "multiplied and centred": (CENTRED, lambda images: images * np.float32(2 / 255 + 1e-9) - 1),
    "centred, without black": (CENTRED, lambda images: images.clip(60, 255) / np.float32(127.5) - 1),
    "centred, without white": (CENTRED, lambda images: images.clip(0, 100) / np.float32(127.5) - 1),
    "caffe": (PREPROCESSED, lambda images: images[..., ::-1] - np.float32([103.939, 116.779, 123.68])),
    "torch": (PREPROCESSED, lambda images: np.asarray(preprocessing_layer(TORCH)(images))),
    "each image by itself": (PREPROCESSED, lambda images: tf.image.per_image_standardization(images).numpy()),
    "centred and then resized": (PREPROCESSED, lambda images: sharpened(images / np.float32(127.5) - 1, "bicubic")),
    "bytes read as signed": (PREPROCESSED, lambda images: images.astype("uint8").astype("int8")),
    "16 bits": (DEEP, lambda images: (images * 257).astype("uint16")),
    "12 bits": (DEEP, lambda images: images * 16),
    "HDR": (DEEP, lambda images: images * 100),
}


@pytest.mark.parametrize(("said", "scale"), SCALED.values(), ids=SCALED)
def test_images_of_another_scale_are_warned_of(said: str, scale: Callable[[np.ndarray], np.ndarray]) -> None:
    images = scale(photos())
    assert said_of(images) == [f"{between(images.astype('float32'))}: {said}{EXPECTED}"]


def test_images_that_are_bluer_than_red_are_told() -> None:
    images = photos(8)[..., ::-1]
    difference = float((images[..., 2] - images[..., 0]).mean())
    assert said_of(images) == [
        f"the first 8 images are bluer than red by {difference:.0f} on average: images read with OpenCV are BGR "
        f"(images[..., ::-1] is RGB); pictures of sea and sky look like that too{EXPECTED}"
    ]


# What is not.

GOOD = {
    "float": photos(),
    "bytes": photos().astype("uint8"),
    "integers": photos().astype("int64"),
    "half": photos().astype("float16"),
    "half of another kind": photos().astype(ml_dtypes.bfloat16),
    "a mask of bytes": np.where(photos() > 128, 255, 0).astype("uint8"),
    "a few levels": photos() // 64,
    "one black image": np.zeros((1, 8, 8, 3), "float32"),
    "one white image": np.full((1, 8, 8, 3), 255, "uint8"),
    "without black": photos().clip(100, 255),
    "overshoot of Lanczos": sharpened(photos()),
    "overshoot in dark images": sharpened(photos() * np.float32(0.04)),
    "blue, but few": photos(7)[..., ::-1],
    "blue, by little": photos(8).mean(-1, keepdims=True) + np.float32([0, 0, 7]),
    "blue, but some are red": photos(8).mean(-1, keepdims=True) // 2
    + np.float32([[0, 0, 60]] * 5 + [[60, 0, 0]] * 3)[:, None, None],
    "many, and red": photos(16),
    "grey, of many": photos(16)[..., :1],
    "thirteen channels": np.concatenate([photos(8)] * 4 + [photos(8)[..., :1]], -1)[..., ::-1],
    "no image": photos()[:0],
    "images of no size": photos()[:, :0],
}


@pytest.mark.parametrize("images", GOOD.values(), ids=GOOD)
def test_nothing_is_said_of_pixels(images: np.ndarray) -> None:
    assert said_of(images) == []


# What is refused.

FIRST = "\n  fix: the channels come first: numpy.moveaxis(images, -3, -1)"
SHAPES: dict[str, tuple[tuple[int, ...], int, str]] = {
    "channels first": ((2, 3, 8, 8), 3, "(2, 3, 8, 8)" + FIRST),
    "one image": ((8, 8, 3), 3, "(8, 8, 3)\n  fix: one image is a batch of one: images[None]"),
    "one image, channels first": ((3, 8, 8), 3, "(3, 8, 8)" + FIRST),
    "grey": ((2, 8, 8), 3, "(2, 8, 8)\n  fix: grey images have no channel axis: numpy.stack([images] * 3, -1)"),
    "grey for grey": ((2, 8, 8), 1, "(2, 8, 8)\n  fix: grey images have no channel axis: images[..., None]"),
    "one channel": ((2, 8, 8, 1), 3, "(2, 8, 8, 1)\n  fix: the images are grey: numpy.repeat(images, 3, -1)"),
    "four": ((2, 8, 8, 4), 3, "(2, 8, 8, 4)\n  fix: drop the fourth channel, the opacity: images[..., :3]"),
    "three for four": ((2, 8, 8, 3), 4, "(2, 8, 8, 3)"),
    "three for one": ((2, 8, 8, 3), 1, "(2, 8, 8, 3)"),
    "a video": ((2, 5, 8, 8, 3), 3, "(2, 5, 8, 8, 3)"),
    "a number": ((), 3, "()"),
}


@pytest.mark.parametrize(("shape", "channels", "said"), SHAPES.values(), ids=SHAPES)
def test_images_of_another_form_are_refused(shape: tuple[int, ...], channels: int, said: str) -> None:
    is_known = shape and shape[0] != channels  # of a symbol, the first axis is open
    symbol = [(keras.Input(shape[1:]), said.replace(str(shape[0]), "None", 1))] if is_known else []
    for images, found in (np.zeros(shape, "float32"), said), *symbol:
        with pytest.raises(torso.OptionError) as caught:
            watched(channels, torso.Preprocessing(divide=255.0))(images)
        assert str(caught.value) == f"images must be (N, height, width, {channels}), not {found}"


def with_value(value: float, dtype: str) -> np.ndarray:
    images = photos(4).astype(dtype)
    images[2, 5, 5, 1] = value
    return images


NAN = "image 2 of 4 has values that are NaN or infinite\n  fix: look at how it was read; 0 / 0 in a normalisation gives NaN"
REFUSED: list[tuple[Any, str]] = [
    *((with_value(value, dtype), NAN) for value, dtype in ((np.nan, "float32"), (-np.inf, "float64"), (1e300, "float64"))),
    *((np.zeros((2, 8, 8, 3)).astype(dtype), f"pixels must be numbers of 0 to 255, not {name}") for dtype, name in (
        ("complex64", "complex64"), ("U3", "str96"), ("O", "object"), ("datetime64[s]", "datetime64[s]"))),
    *((images, f"images must be one array (N, height, width, 3), not a {type(images).__name__}\n"
       "  fix: numpy.stack(images); or transform, which takes paths, and pictures of any size")
      for images in (list(photos()), "cat.jpg", 128.0, [])),
]  # fmt: skip


@pytest.mark.parametrize(("images", "said"), REFUSED, ids=lambda given: type(given).__name__)
def test_what_is_no_array_of_numbers_is_refused(images: Any, said: str) -> None:
    with pytest.raises(torso.OptionError) as caught:
        watched()(images)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "wrap",
    [lambda images: [images], lambda images: {"pixels": images}, tf.constant, tf.Variable, keras.Variable, keras.ops.array],
    ids=("list", "dictionary", "tensor", "variable", "variable of Keras", "array of Keras"),
)
def test_images_are_looked_at_in_whatever_they_come(wrap: Callable[[np.ndarray], Any]) -> None:
    with pytest.warns(torso.PixelWarning, match="scaled to 0 to 1 already"):
        values = watched()(wrap(photos() / np.float32(255)))
    np.testing.assert_array_equal(values, preprocessing_layer(TORCH)(photos() / np.float32(255)))
    damaged = photos()
    damaged[0, 0, 0, 0] = np.nan
    with pytest.raises(torso.OptionError, match="image 0 of 2 has values that are NaN"):
        watched()(wrap(damaged))


# How often, and where.


@pytest.mark.parametrize("first", ["one black image", "one white image", "no image", "images of no size"])
def test_a_layer_warns_once_and_of_the_first_images_that_show_something(first: str) -> None:
    layer, scaled = watched(), photos() / np.float32(255)
    assert said_of(GOOD[first], layer) == []
    for _ in range(2):
        with pytest.raises(torso.OptionError, match="NaN or infinite"):
            layer(np.full((1, 8, 8, 3), np.nan))
    assert len(said_of(scaled, layer)) == 1
    assert said_of(scaled, layer) == []
    other = watched()
    assert said_of(photos(), other) == []
    assert said_of(scaled, other) == []


def test_nothing_is_lost_where_warnings_are_errors() -> None:
    layer = watched()
    scaled = photos() / np.float32(255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # not one of them gets through
            with pytest.raises(torso.PixelWarning) as caught:
                layer(scaled)
            assert str(caught.value) == f"{between(scaled)}: {OVER_255}{EXPECTED}"
    assert len(said_of(scaled, layer)) == 1


def test_a_warning_points_at_the_line_that_calls_the_layer() -> None:
    layer, scaled = watched(), photos() / np.float32(255)
    with pytest.warns(torso.PixelWarning) as caught:
        layer(scaled)
    (warning,) = caught
    assert (warning.filename, linecache.getline(__file__, warning.lineno).strip()) == (__file__, "layer(scaled)")


# Within graphs.


def batches(images: np.ndarray, size: int = 2) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(images).batch(size)


WAYS: dict[str, Callable[[keras.Model, np.ndarray], tf.data.Dataset]] = {
    "the layer itself": lambda layer, images: batches(images).map(layer),
    "image by image": lambda layer, images: tf.data.Dataset.from_tensor_slices(images).map(
        lambda image: layer(image[None])[0]
    ),
    "as float64": lambda layer, images: batches(images).map(lambda pixels: layer(tf.cast(pixels, tf.float64))),
    "in a layer of Keras": lambda layer, images: batches(images).map(
        keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Identity()])
    ),
    "in a function": lambda layer, images: batches(images).map(tf.function(layer)),
    "of unknown sides": lambda layer, images: tf.data.Dataset.from_generator(
        lambda: iter([images]), output_signature=tf.TensorSpec((None, None, None, None), images.dtype)
    ).map(layer),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dataset_has_the_bits_of_the_plain_layer(way: Callable[[keras.Model, np.ndarray], tf.data.Dataset]) -> None:
    images, layer = photos(6), watched()
    plain = preprocessing_layer(TORCH)
    for one, other in zip(way(layer, images), way(plain, images), strict=True):
        assert_same_and_meaningful(one, other)
    graphs = [*way(layer, images / np.float32(255))]  # there are no numbers to warn of: pytest fails on a warning
    assert graphs


def test_images_of_another_form_are_refused_where_they_are_mapped_or_traced() -> None:
    one_image, text = tf.data.Dataset.from_tensor_slices(photos()), tf.data.Dataset.from_tensors([[[["a", "b", "c"]]]])
    unknown = batches(photos()).map(lambda pixels: tf.py_function(lambda given: given, [pixels], tf.float32))
    batch = "images must be (N, height, width, 3)"
    for act, fact in (
        (lambda: one_image.map(watched()), f"{batch}, not (8, 8, 3)\n  fix: one image is a batch of one: images[None]"),
        (lambda: one_image.map(lambda image: watched()(image)), f"{batch}, not (8, 8, 3)\n"),
        (lambda: text.map(watched()), "pixels must be numbers of 0 to 255, not string"),
        (
            lambda: unknown.map(watched()),
            f"{batch}, not of unknown shape\n  fix: images.set_shape((None, None, None, 3)), once they are a batch",
        ),
        (lambda: tf.function(watched())(photos()[..., 0]), f"{batch}, not (2, 8, 8)\n"),
        (lambda: watched().predict(photos()[..., :1], verbose=0), f"{batch}, not (2, 8, 8, 1)\n"),
    ):
        with pytest.raises(torso.OptionError) as caught:
            act()
        assert str(caught.value).startswith(fact)


def test_grey_images_whose_channels_were_not_known_before_are_refused_when_they_come() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[2,8,8,1\] is not compatible with expected shape"):
        list(WAYS["of unknown sides"](watched(), photos()[..., :1]))  # 1 - 3 numbers makes 3 channels, in silence


def test_a_model_with_the_layer_is_exported_and_copied_without_the_checks(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), watched(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(photos()), model(photos()), rtol=1e-4)
    copy = keras.models.clone_model(watched())
    assert copy.call.__func__ is type(copy).call
    assert np.isnan(np.asarray(copy(np.full((1, 8, 8, 3), np.nan, "float32")))).all()
