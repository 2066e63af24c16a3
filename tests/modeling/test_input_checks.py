"""The first images are looked at: what is no batch of RGB pixels of 0 to 255 is told, and what is passes in silence."""

from __future__ import annotations

import gc
import inspect
import math
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from networks import assert_same_and_meaningful

import torso
from torso.modeling import input_checks as pixels
from torso.modeling.preprocess_layer import preprocessing_from, preprocessing_layer

TORCH = torso.Preprocessing(divide=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
EXPECTED = "; torso expects RGB pixels of 0 to 255 here"


def watched(channels: int = 3, numbers: torso.Preprocessing = TORCH) -> keras.Model:
    """The layer as a backbone has it."""
    plan = {"input_shape": [8, 8, channels]}
    return preprocessing_from(
        {"name": "edge", "plan": plan, "preprocessing": asdict(numbers), "preprocessing_included": False}
    )


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


def caffe(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1] - np.float32([103.939, 116.779, 123.68])


# What is told.

SCALED = {
    "divided": lambda images: images / np.float32(255),
    "multiplied, which ends a little above 1": lambda images: images * np.nextafter(np.float32(1 / 255), np.float32(1)),
    "float16": lambda images: (images / 255).astype("float16"),
    "float64": lambda images: images.astype("float64") / 255,
    "resized afterwards": lambda images: sharpened(images / np.float32(255)),
    "one image": lambda images: images[:1] / np.float32(255),
    "one channel": lambda images: images[..., :1] / np.float32(255),
}


@pytest.mark.parametrize("scale", SCALED.values(), ids=SCALED)
def test_images_scaled_to_0_to_1_are_told(scale: Callable[[np.ndarray], np.ndarray]) -> None:
    images = scale(photos())
    assert said_of(images) == [
        f"{between(images.astype('float32'))}: they look scaled to 0 to 1 already (multiply by 255){EXPECTED}"
    ]


CENTRED = {
    "divided": lambda images: images / np.float32(127.5) - 1,
    "multiplied, which ends a little above 1": lambda images: images * np.float32(2 / 255 + 1e-9) - 1,
    "without black": lambda images: images.clip(60, 255) / np.float32(127.5) - 1,
    "without white": lambda images: images.clip(0, 100) / np.float32(127.5) - 1,
}


@pytest.mark.parametrize("scale", CENTRED.values(), ids=CENTRED)
def test_images_scaled_to_minus_1_to_1_are_told(scale: Callable[[np.ndarray], np.ndarray]) -> None:
    images = scale(photos())
    assert said_of(images) == [
        f"{between(images)}: they look scaled to -1 to 1 already (add 1, multiply by 127.5){EXPECTED}"
    ]


PREPROCESSED = {
    "caffe": caffe,
    "torch": lambda images: np.asarray(preprocessing_layer(TORCH)(images)),
    "each image by itself": lambda images: tf.image.per_image_standardization(images).numpy(),
    "scaled and then resized": lambda images: sharpened(images / np.float32(127.5) - 1, "bicubic"),
    "bytes that have lost their first bit's meaning": lambda images: images.astype("uint8").astype("int8"),
}


@pytest.mark.parametrize("change", PREPROCESSED.values(), ids=PREPROCESSED)
def test_images_that_are_preprocessed_already_are_told(change: Callable[[np.ndarray], np.ndarray]) -> None:
    images = change(photos())
    assert said_of(images) == [f"{between(images)}: they look preprocessed already{EXPECTED}"]


@pytest.mark.parametrize(
    "images", [(photos() * 257).astype("uint16"), photos() * 16, photos() * 100], ids=("16", "12", "HDR")
)
def test_images_of_more_than_8_bits_are_told(images: np.ndarray) -> None:
    assert said_of(images) == [f"{between(images)}: they look like more than 8 bits a channel{EXPECTED}"]


def test_images_that_are_bluer_than_red_are_told() -> None:
    images = photos(8)[..., ::-1]
    difference = float((images[..., 2] - images[..., 0]).mean())
    assert said_of(images) == [
        f"the first 8 images are bluer than red by {difference:.0f} on average: if they were read with OpenCV, they are "
        f"BGR (images[..., ::-1] is RGB); pictures of sea and sky look like that too{EXPECTED}"
    ]


# What is not.

GOOD = {
    "float": photos(),
    "bytes": photos().astype("uint8"),
    "integers": photos().astype("int64"),
    "half": photos().astype("float16"),
    "half of another kind": photos().astype(ml_dtypes.bfloat16),
    "dark bytes": (photos() > 128).astype("uint8"),
    "dark floats": (photos() > 128).astype("float32"),
    "a mask": photos()[..., :1] > 128,
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

FIRST = "\n  fix: the channels stand first: numpy.moveaxis(images, -3, -1)"
SHAPES: dict[str, tuple[tuple[int, ...], int, str]] = {
    "channels first": ((2, 3, 8, 8), 3, "(2, 3, 8, 8)" + FIRST),
    "one image": ((8, 8, 3), 3, "(8, 8, 3)\n  fix: one image is a batch of one: images[None]"),
    "one image, channels first": ((3, 8, 8), 3, "(3, 8, 8)" + FIRST),
    "grey": ((2, 8, 8), 3, "(2, 8, 8)\n  fix: grey images have no axis of channels: numpy.stack([images] * 3, -1)"),
    "grey for grey": ((2, 8, 8), 1, "(2, 8, 8)\n  fix: grey images have no axis of channels: images[..., None]"),
    "one channel": ((2, 8, 8, 1), 3, "(2, 8, 8, 1)\n  fix: the images are grey: numpy.repeat(images, 3, -1)"),
    "four": (
        (2, 8, 8, 4),
        3,
        "(2, 8, 8, 4)\n  fix: leave the fourth channel out, which is how opaque they are: images[..., :3]",
    ),
    "three for four": ((2, 8, 8, 3), 4, "(2, 8, 8, 3)"),
    "three for one": ((2, 8, 8, 3), 1, "(2, 8, 8, 3)"),
    "a video": ((2, 5, 8, 8, 3), 3, "(2, 5, 8, 8, 3)"),
    "one grey image": ((8, 8), 3, "(8, 8)"),
    "features": ((192,), 3, "(192)"),
    "a number": ((), 3, "()"),
}


@pytest.mark.parametrize(("shape", "channels", "said"), SHAPES.values(), ids=SHAPES)
def test_images_of_another_form_are_refused(shape: tuple[int, ...], channels: int, said: str) -> None:
    with pytest.raises(torso.OptionError) as caught:
        watched(channels, torso.Preprocessing(divide=255.0))(np.zeros(shape, "float32"))
    assert str(caught.value) == f"images must be (N, height, width, {channels}), not {said}"


@pytest.mark.parametrize("form", ["channels first", "one image", "grey", "one channel", "four", "a video"])
def test_symbols_of_another_form_are_refused_where_a_model_is_made(form: str) -> None:
    shape, channels, said = SHAPES[form]
    with pytest.raises(torso.OptionError) as caught:
        watched(channels, torso.Preprocessing(divide=255.0))(keras.Input(shape[1:]))
    assert str(caught.value) == f"images must be (N, height, width, {channels}), not {said.replace(str(shape[0]), '?', 1)}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_are_no_numbers_are_refused(value: float, dtype: str) -> None:
    images = photos(4).astype(dtype)
    with np.errstate(over="ignore"):
        images[2, 5, 5, 1] = value
    with pytest.raises(torso.OptionError) as caught:
        watched()(images)
    assert str(caught.value) == (
        "image 2 of 4 has values that are NaN or infinite\n"
        "  fix: look at how it was read; 0 / 0 in a normalisation gives NaN"
    )


@pytest.mark.parametrize("dtype", ["complex64", "U3", "O", "datetime64[s]"])
def test_what_is_no_number_at_all_is_refused(dtype: str) -> None:
    images = np.zeros((2, 8, 8, 3)).astype(dtype)
    with pytest.raises(torso.OptionError) as caught:
        watched()(images)
    assert str(caught.value) == f"pixels must be numbers of 0 to 255, not {images.dtype}"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (list(photos()), "2"),
        (photos().tolist(), "list"),
        ("cat.jpg", "str"),
        (Path("cat.jpg"), type(Path()).__name__),
        (128.0, "float"),
        ([], "list"),
    ],
    ids=("arrays", "numbers", "a path", "another path", "a number", "nothing"),
)
def test_what_is_no_array_is_refused(images: Any, said: str) -> None:
    with pytest.raises(torso.OptionError) as caught:
        watched()(images)
    assert str(caught.value) == (
        f"images must be one array (N, height, width, 3), not {said}\n"
        "  fix: numpy.stack(images), or transform, which takes paths, and pictures of any sizes"
    )


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


# How often.


def test_a_layer_warns_once() -> None:
    layer = watched()
    assert len(said_of(photos() / np.float32(255), layer)) == 1
    assert said_of(photos() / np.float32(255), layer) == []
    assert len(said_of(photos() / np.float32(255), watched())) == 1


def test_the_first_images_alone_are_looked_at() -> None:
    layer = watched()
    assert said_of(photos(), layer) == []
    assert said_of(photos() / np.float32(255), layer) == []


@pytest.mark.parametrize("first", ["one black image", "one white image", "no image", "images of no size"])
def test_images_that_show_nothing_are_not_the_first(first: str) -> None:
    layer = watched()
    assert said_of(GOOD[first], layer) == []
    assert len(said_of(photos() / np.float32(255), layer)) == 1


def test_nothing_is_lost_where_warnings_are_errors() -> None:
    layer = watched()
    scaled = photos() / np.float32(255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # not one of them gets through
            with pytest.raises(torso.PixelWarning) as caught:
                layer(scaled)
            assert str(caught.value) == f"{between(scaled)}: they look scaled to 0 to 1 already (multiply by 255){EXPECTED}"
    assert len(said_of(scaled, layer)) == 1


def test_images_that_are_refused_are_not_the_first() -> None:
    layer = watched()
    for _ in range(2):
        with pytest.raises(torso.OptionError, match="NaN or infinite"):
            layer(np.full((1, 8, 8, 3), np.nan))
    assert len(said_of(photos() / np.float32(255), layer)) == 1


def test_threads_that_come_first_together_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    others = threading.Event()

    def slowly(images: np.ndarray, line: Any) -> str:
        looks.append(len(images))
        others.wait(0.3)  # time for all the others to come
        return ""

    monkeypatch.setattr(pixels, "look_at", slowly)
    layer, given = watched(), photos()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(layer(given))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert looks == [2]
    assert len(results) == 6
    for result in results:
        np.testing.assert_array_equal(result, preprocessing_layer(TORCH)(given))


# Where a warning points.


def here() -> int:
    """The line that this is called on."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def places(caught: Iterable[warnings.WarningMessage]) -> list[tuple[str, int]]:
    return sorted((warning.filename, warning.lineno) for warning in caught)


def test_a_warning_points_at_the_line_that_calls_the_layer() -> None:
    layer, scaled = watched(), photos() / np.float32(255)
    with pytest.warns(torso.PixelWarning) as caught:
        layer(scaled)
    assert places(caught) == [(__file__, here() - 1)]


def test_a_warning_points_at_the_line_that_calls_a_model_with_the_layer_in_it() -> None:
    model, scaled = keras.Sequential([watched(), keras.layers.Flatten()]), photos() / np.float32(255)
    with pytest.warns(torso.PixelWarning) as caught:
        model(scaled)
    assert places(caught) == [(__file__, here() - 1)]


def test_a_warning_of_a_dataset_points_at_the_line_that_maps_it() -> None:
    layers, scaled = (watched(), watched(), watched()), batches(photos() / np.float32(255))

    def mapped(images: Any) -> Any:
        return layers[1](images)

    datasets = [scaled.map(lambda images: layers[0](images))]
    datasets += [scaled.map(mapped)]
    datasets += [scaled.map(layers[2])]
    last = here() - 1
    with pytest.warns(torso.PixelWarning) as caught:  # where it happens, which is not where it comes from
        [list(dataset) for dataset in datasets]
    assert places(caught) == [(__file__, last - 2), (__file__, last - 1), (__file__, last)]


def test_a_warning_that_a_line_gave_already_is_left_to_the_filters() -> None:
    scaled = photos() / np.float32(255)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # once for each line
        for layer in watched(), watched():
            layer(scaled)
    assert len(caught) == 1


# Within a dataset.


def batches(images: np.ndarray, size: int = 2) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(images).batch(size)


Mapped = Callable[[keras.Model, np.ndarray], tf.data.Dataset]

WAYS: dict[str, Mapped] = {
    "the layer itself": lambda layer, images: batches(images).map(layer),
    "with labels": lambda layer, images: tf.data.Dataset.zip(batches(images), tf.data.Dataset.range(9))
    .map(lambda pixels, label: (layer(pixels), label))
    .map(lambda pixels, label: pixels),
    "in parallel": lambda layer, images: batches(images).map(layer, num_parallel_calls=16),
    "as TensorFlow likes": lambda layer, images: batches(images)
    .map(lambda pixels: layer(pixels), num_parallel_calls=tf.data.AUTOTUNE)
    .prefetch(tf.data.AUTOTUNE),
    "in any order": lambda layer, images: batches(images).map(layer, num_parallel_calls=4, deterministic=False),
    "flat_map": lambda layer, images: batches(images).flat_map(
        lambda pixels: tf.data.Dataset.from_tensors(layer(pixels))
    ),
    "within flat_map": lambda layer, images: batches(images).flat_map(
        lambda pixels: tf.data.Dataset.from_tensors(pixels).map(layer)
    ),
    "interleave": lambda layer, images: batches(images).interleave(
        lambda pixels: tf.data.Dataset.from_tensors(pixels).map(layer), num_parallel_calls=2
    ),
    "scan": lambda layer, images: batches(images).scan(0, lambda state, pixels: (state, layer(pixels))),
    "windows": lambda layer, images: tf.data.Dataset.from_tensor_slices(images)
    .window(2)
    .flat_map(lambda window: window.batch(2).map(layer)),
    "image by image": lambda layer, images: tf.data.Dataset.from_tensor_slices(images).map(
        lambda image: layer(image[None])[0]
    ),
    "as float64": lambda layer, images: batches(images).map(lambda pixels: layer(tf.cast(pixels, tf.float64))),
    "in a layer of Keras": lambda layer, images: batches(images).map(
        keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Identity()])
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dataset_fails_over_values_that_are_no_numbers(way: Mapped) -> None:
    images = photos(6)
    images[0, 3, 3, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        list(way(watched(), images))
    assert (
        " has values that are NaN or infinite\n  fix: look at how it was read; 0 / 0 in a normalisation gives NaN\n"
        in str(caught.value)
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dataset_of_scaled_images_warns_once(way: Mapped) -> None:
    dataset = way(watched(), photos(6) / np.float32(255))
    with pytest.warns(torso.PixelWarning) as caught:
        list(dataset.repeat(2))
    (warning,) = caught
    assert str(warning.message).endswith(f": they look scaled to 0 to 1 already (multiply by 255){EXPECTED}")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dataset_has_the_bits_that_it_has_without_the_look(way: Mapped) -> None:
    images, layer = photos(6), watched()
    dataset = way(layer, images)
    plain = way(keras.models.clone_model(layer), images)
    for one, other in zip(sorted_(dataset), sorted_(plain), strict=True):
        assert_same_and_meaningful(one, other)
    assert dataset.element_spec == plain.element_spec


def sorted_(dataset: tf.data.Dataset) -> list[np.ndarray]:
    """The batches, those of one that keeps no order too."""
    return sorted((batch.numpy() for batch in dataset), key=lambda batch: float(batch.sum()))


def test_one_image_of_a_dataset_is_refused_where_it_is_mapped() -> None:
    images, layer = tf.data.Dataset.from_tensor_slices(photos()), watched()
    for way in layer, lambda image: layer(image):
        with pytest.raises(torso.OptionError) as caught:
            images.map(way)
        assert str(caught.value) == (
            "images must be (N, height, width, 3), not (8, 8, 3)\n  fix: one image is a batch of one: images[None]"
        )


def test_images_whose_axes_are_not_known_are_refused_where_they_are_mapped() -> None:
    images = batches(photos()).map(lambda pixels: tf.py_function(lambda given: given, [pixels], tf.float32))
    with pytest.raises(torso.OptionError) as caught:
        images.map(watched())
    assert str(caught.value) == (
        "images must be (N, height, width, 3), and it is not known how many axes these have\n"
        "  fix: images.set_shape((None, None, None, 3)), once they are a batch"
    )


def unknown(images: np.ndarray) -> tf.data.Dataset:
    """A dataset that does not know how many channels it has."""
    return tf.data.Dataset.from_generator(
        lambda: iter([images]), output_signature=tf.TensorSpec((None, None, None, None), images.dtype)
    )


def test_channels_that_are_not_known_before_are_counted_when_they_come() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        list(unknown(photos()[..., :1]).map(watched()))  # 1 - 3 numbers makes 3 channels, in silence
    assert (
        "images must be (N, height, width, 3), not (2, 8, 8, 1)\n  fix: the images are grey: numpy.repeat(images, 3, -1)\n"
    ) in str(caught.value)
    (values,) = unknown(photos()).map(watched())
    assert_same_and_meaningful(values, preprocessing_layer(TORCH)(photos()))


def test_a_dataset_fails_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tf.errors.UnknownError) as caught:
            list(batches(photos() / np.float32(255)).map(watched()))
    assert f": they look scaled to 0 to 1 already (multiply by 255){EXPECTED}\n" in str(caught.value)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each look is at."""
    found: list[int] = []
    look_at = pixels.look_at

    def counting(images: np.ndarray, line: Any = None) -> str | None:
        found.append(len(images))
        return look_at(images, line)

    monkeypatch.setattr(pixels, "look_at", counting)
    return found


def test_the_first_batches_of_a_dataset_are_looked_at_and_no_more(looks: list[int]) -> None:
    dataset = batches(np.concatenate([photos(2, seed) for seed in range(40)])).map(watched())
    assert len(list(dataset)) == 40
    assert looks == [2] * pixels.AT_A_TIME
    list(dataset)
    assert looks == [2] * pixels.AT_A_TIME


def test_a_dataset_that_was_warned_of_is_not_looked_at_again(looks: list[int]) -> None:
    with pytest.warns(torso.PixelWarning):
        list(batches(photos(40) / np.float32(255)).map(watched()))
    assert looks == [2]


def test_black_batches_of_a_dataset_are_not_the_first() -> None:
    black = np.zeros((2 * 4 * pixels.AT_A_TIME, 8, 8, 3), "float32")  # more than are computed at the same time
    with pytest.warns(torso.PixelWarning, match="scaled to 0 to 1"):
        list(batches(np.concatenate([black, photos() / np.float32(255)])).map(watched()))


def kinds(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What looks within graphs, of whatever is traced."""
    found: list[str] = []
    make = tf.numpy_function

    def noting(function: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(tf.compat.v1.get_default_graph().name)
        return make(function, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(pixels.tf, "numpy_function", noting)
        call()
    return found


def head(layer: keras.Model) -> keras.Model:
    """A network that takes pixels, of this layer and one that learns."""
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return model


def in_a_loop_of_the_users(layer: keras.Model) -> None:
    @tf.function
    def step(images: Any) -> Any:
        total = tf.constant(0.0)
        for one in tf.data.Dataset.from_tensor_slices(images).batch(2).map(layer):
            total += tf.reduce_sum(one)
        return total

    step(photos())


def called_like_a_dataset(layer: keras.Model) -> None:
    @tf.function
    def Dataset_map_(images: Any) -> Any:
        return layer(images)

    assert Dataset_map_.get_concrete_function(photos()).graph.name.startswith("Dataset_")


def in_an_old_graph(layer: keras.Model) -> None:
    with tf.Graph().as_default():
        tf.compat.v1.data.make_one_shot_iterator(batches(photos()).map(layer)).get_next()


ELSEWHERE: dict[str, Callable[[keras.Model], Any]] = {
    "fit": lambda layer: head(layer).fit(photos(), np.zeros((2, 1)), verbose=0),
    "fit of a dataset": lambda layer: head(layer).fit(
        tf.data.Dataset.zip(batches(photos()), batches(np.zeros((2, 1)))), shuffle=False, verbose=0
    ),
    "predict": lambda layer: head(layer).predict(photos(), verbose=0),
    "predict of the layer": lambda layer: layer.predict(photos(), verbose=0),
    "function": lambda layer: tf.function(layer)(photos()),
    "compiled function": lambda layer: tf.function(layer, jit_compile=True)(photos()),
    "function within a dataset": lambda layer: list(batches(photos()).map(tf.function(layer))),
    "dataset within a function": in_a_loop_of_the_users,
    "function called like a dataset": called_like_a_dataset,
    "graph of TensorFlow 1": in_an_old_graph,
    "branch within a dataset": lambda layer: list(
        batches(photos()).map(lambda images: tf.cond(images[0, 0, 0, 0] > 0, lambda: layer(images), lambda: images))
    ),
}


@pytest.mark.parametrize("wrap", [tf.Variable, keras.Variable], ids=("TensorFlow", "Keras"))
def test_a_variable_has_no_values_within_a_graph(wrap: Callable[[np.ndarray], Any]) -> None:
    layer, variable = watched(), wrap(photos())
    assert_same_and_meaningful(tf.function(lambda: layer(variable))(), tf.function(preprocessing_layer(TORCH))(photos()))


def test_a_dataset_of_pictures_of_several_sizes_is_left_to_keras() -> None:
    pictures = tf.ragged.stack([photos(1)[0], photos(1)[0, :5]])
    layer = watched(numbers=torso.Preprocessing(divide=255.0))
    (values,) = tf.data.Dataset.from_tensors(pictures).map(layer)
    for one, picture in zip(values, pictures, strict=True):
        np.testing.assert_array_equal(one.to_tensor(), picture.to_tensor() / np.float32(255))


@pytest.mark.parametrize("use", ELSEWHERE.values(), ids=ELSEWHERE)
def test_no_look_becomes_part_of_another_graph(use: Callable[[keras.Model], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds(lambda: use(watched()), monkeypatch) == []
    (name,) = kinds(lambda: list(batches(photos()).map(watched())), monkeypatch)  # or nothing would be known
    assert name.startswith("Dataset_map_")


def test_a_model_that_was_used_in_a_dataset_is_exported_without_the_look(tmp_path: Path) -> None:
    model = head(watched())
    list(batches(photos()).map(model))
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    graph = served.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {"RealDiv", "Sub", "MatMul"} <= {node.op for node in nodes}
    assert not [node.name for node in nodes if "PyFunc" in node.op]
    np.testing.assert_allclose(served.serve(photos()), model(photos()), rtol=1e-4)


def test_a_dataset_with_a_look_is_saved_half_way_and_goes_on(tmp_path: Path) -> None:
    dataset = batches(photos(6)).map(watched())
    iterator = iter(dataset)
    next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "half"))  # refused where an operation has state
    again = iter(dataset)
    tf.train.Checkpoint(iterator=again).read(path).assert_consumed()
    assert_same_and_meaningful(next(again), preprocessing_layer(TORCH)(photos(6)[2:4]))


def test_nothing_of_a_layer_is_kept_by_the_datasets_that_it_was_in() -> None:
    layer = watched()
    list(batches(photos()).map(layer))
    dead = weakref.ref(layer)
    del layer
    gc.collect()
    assert dead() is None


def test_a_layer_that_has_seen_its_first_images_is_mapped_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = watched()
    layer(photos())
    assert kinds(lambda: list(batches(photos()).map(layer)), monkeypatch) == []


@pytest.mark.parametrize("copied", [keras.models.clone_model], ids=("clone",))
def test_a_copy_of_the_layer_is_plain_keras(copied: Callable[[keras.Model], keras.Model]) -> None:
    copy = copied(watched())
    assert copy.call.__func__ is type(copy).call
    assert math.isnan(np.asarray(copy(np.full((1, 8, 8, 3), np.nan, "float32"))).max())
