"""Pictures of any size become pixels of one size, as the recipe says; files that are no pictures are refused."""

from __future__ import annotations

import io
import linecache
import struct
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies
from networks import assert_same_and_meaningful
from PIL import Image, ImageOps
from saved import TINY

import torso
from torso.contracts.preprocessing import INTERPOLATIONS, Transform
from torso.modeling import image_transform


def transform_images(pictures: Any, recipe: Transform, shape: tuple[int | None, int | None, int]) -> np.ndarray:
    return image_transform.transform_images(pictures, recipe, shape).pixels


SQUARE = (28, 28, 3)
CROP = Transform()
STRETCH = Transform(fit="stretch", crop=1.0, antialias=False)
WHOLE = Transform(crop=1.0)
NEAREST = Transform(interpolation="nearest", antialias=False)


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """Three gradients, which survive JPEG."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / (height + width)], -1).astype(
        "uint8"
    )


def one(pictures: Any, recipe: Transform = CROP, shape: tuple[int | None, int | None, int] = SQUARE) -> np.ndarray:
    (pixels,) = transform_images(pictures, recipe, shape)
    return pixels


def failure(pictures: Any, shape: tuple[int | None, int | None, int] = SQUARE, recipe: Transform = CROP) -> str:
    with pytest.raises(torso.TorsoError) as caught:
        transform_images(pictures, recipe, shape)
    return f"{type(caught.value).__name__}: {caught.value}"


# The recipe.


def recipe_of(**preprocess: Any) -> Transform:
    """The recipe of what a spec says under ``preprocess``."""
    return torso.plan("MobileNetV2", preprocess=preprocess).transform


SIZES = [(40, 60), (41, 67), (300, 33), (28, 28), (3, 4), (1, 1), (1, 50), (99, 98)]
IMAGES = [noise(*size, 3, seed=seed) for seed, size in enumerate(SIZES)]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("crop", [False, True], ids=["stretch", "crop_to_aspect_ratio"])
def test_the_pixels_are_those_of_image_dataset_from_directory(crop: bool, interpolation: str, tmp_path: Path) -> None:
    if crop and interpolation in ("gaussian", "mitchellcubic"):
        return  # Keras refuses them
    paths = [written(tmp_path, "png", image, name=str(number)) for number, image in enumerate(IMAGES)]
    paths.append(written(tmp_path, "jpg", picture(50, 90), name="photo"))  # which Pillow decodes a little differently
    pictures = [*paths[:-1], tf.io.decode_image(tf.io.read_file(str(paths[-1])), channels=3)]
    keys = {"fit": "crop", "crop": 1.0, "antialias": False} if crop else {"fit": "stretch"}
    recipe = recipe_of(**keys, interpolation=interpolation)
    for size in (28, 28), (20, 30):
        options = {"image_size": size, "batch_size": None, "labels": None, "shuffle": False, "verbose": False}
        read = keras.utils.image_dataset_from_directory(
            tmp_path, **options, interpolation=interpolation, crop_to_aspect_ratio=crop
        )
        found = transform_images(pictures, recipe, (*size, 3))
        assert_same_and_meaningful(found, np.stack([np.asarray(image, "float32") for image in read]))
        assert np.abs(transform_images(paths, recipe, (*size, 3)) - found).max() < 5
        assert interpolation != "bicubic" or found.max() > 255  # as there


def test_the_pixels_are_those_of_flow_from_directory(tmp_path: Path) -> None:
    for image in IMAGES[1:]:  # in the first, some points are as near to two pixels, and Pillow takes the other
        path = written(tmp_path, "jpg", image)
        for interpolation, antialias, bound in ("nearest", False, 0), ("bilinear", True, 1):
            read = keras.utils.load_img(path, target_size=(28, 28), interpolation=interpolation)
            recipe = recipe_of(fit="stretch", interpolation=interpolation, antialias=antialias, exif="ignore")
            assert np.abs(one(path, recipe) - np.asarray(read)).max() <= bound


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_pixels_are_those_of_torchvision(interpolation: str) -> None:
    """Of its Resize(32) and CenterCrop(28): these lines. Bicubic overshoots at sharp edges, which Pillow cuts off twice."""
    for image in IMAGES if interpolation == "bilinear" else [picture(*size) for size in SIZES]:
        height, width = (int(32 * side / min(image.shape[:2])) for side in image.shape[:2])
        resized = Image.fromarray(image).resize((width, height), Image.Resampling[interpolation.upper()])
        top, left = round((height - 28) / 2), round((width - 28) / 2)
        expected = np.asarray(resized.crop((left, top, left + 28, top + 28)), "float32")
        assert np.abs(one(image, recipe_of(interpolation=interpolation)) - expected).max() <= 1.1


def test_a_target_that_is_not_square_is_filled() -> None:
    for size, shape, between in (((60, 90), (20, 30), (40, 60)), ((60, 40), (30, 20), (60, 40))):
        image = noise(*size, 3)
        resized = keras.layers.Resizing(*between, antialias=True)(image[None].astype("float32"))
        expected = np.asarray(keras.layers.CenterCrop(*shape)(resized))[0]
        assert_same_and_meaningful(one(image, Transform(crop=0.5), (*shape, 3)), expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("antialias", [True, False])
def test_every_interpolation_is_that_of_tensorflow_within_the_range_of_pixels(interpolation: str, antialias: bool) -> None:
    board = np.where((np.indices((40, 60)).sum(0) // 5 % 2)[..., None], 255, np.uint8([0, 60, 90])).astype("uint8")
    recipe = Transform(interpolation=interpolation, antialias=antialias)
    pixels = one(board, recipe)
    plain = tf.image.resize(board, (32, 48), interpolation, antialias=antialias).numpy().astype("float32")[2:30, 10:38]
    assert_same_and_meaningful(pixels, plain.clip(0, 255))
    if "lanczos" in interpolation:
        assert plain.min() < 0  # or nothing would have been held
        assert plain.max() > 255


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64"])
def test_pixels_of_any_type_give_the_same_and_beyond_bytes_are_kept(dtype: str) -> None:
    image = noise(40, 60, 3)
    assert_same_and_meaningful(one(image.astype(dtype)), one(image))
    np.testing.assert_array_equal(one(image[:28, :28].astype(dtype), WHOLE), image[:28, :28])  # left as it is
    if dtype != "uint8":
        below = one(image.astype(dtype) - 20, NEAREST)
        assert -20 <= below.min() < -10
        assert_same_and_meaningful(below + 20, one(image, NEAREST))


@given(
    height=strategies.integers(1, 70),
    width=strategies.integers(1, 70),
    target=strategies.tuples(strategies.integers(1, 40), strategies.integers(1, 40)),
    fit=strategies.sampled_from(["crop", "stretch"]),
    crop=strategies.floats(0.1, 1.0),
    interpolation=strategies.sampled_from(INTERPOLATIONS),
    antialias=strategies.booleans(),
    channels=strategies.sampled_from([1, 3, 5]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_picture_and_every_recipe_give_the_size_and_stay_in_the_range(
    height: int, width: int, target: tuple[int, int], channels: int, **recipe: Any
) -> None:
    for image in noise(height, width, channels), np.full((height, width, channels), 200, "uint8"):
        before = image.copy()
        pixels = transform_images(image, Transform(**recipe), (*target, channels))
        assert pixels.shape == (1, *target, channels)
        assert pixels.dtype == "float32"
        if recipe["fit"] == "crop" and recipe["crop"] < 1:
            assert 0 <= pixels.min() <= pixels.max() <= 255
        if recipe["interpolation"] in ("nearest", "bilinear", "area", "gaussian"):
            assert image.min() - 0.01 <= pixels.min() <= pixels.max() <= image.max() + 0.01
        np.testing.assert_array_equal(image, before)
    np.testing.assert_allclose(pixels, 200, atol=0.01)  # one colour stays what it is


# What it takes.


def test_one_picture_is_a_batch_of_one_and_several_of_any_size_are_one_batch(tmp_path: Path) -> None:
    path = written(tmp_path, "png", picture())
    for alone in path, str(path), picture(), Image.fromarray(picture()), tf.constant(picture()):
        assert_same_and_meaningful(one(alone), one(picture()[None]))
    pictures = [noise(40, 60, 3), path, noise(33, 29, 3, dtype="float32"), str(path)]
    pixels = transform_images(pictures, CROP, SQUARE)
    for position, image in enumerate([noise(40, 60, 3), picture(), noise(33, 29, 3), picture()]):
        assert_same_and_meaningful(pixels[position], one(image))


WRAPPED: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "batch": np.stack,
    "tensor": lambda images: tf.stack(images),
    "list of tensors": lambda images: [tf.constant(image) for image in images],
    "array of arrays": lambda images: objects(images),
    "Pillow's": lambda images: [Image.fromarray(image) for image in images],
    "list of paths": list,
    "generator of paths": iter,
    "paths as text": lambda paths: [str(path) for path in paths],
    "array of text": lambda paths: np.array([str(path) for path in paths]),
    "array of paths": lambda paths: objects(paths),
}


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize("way", WRAPPED)
def test_pictures_and_paths_come_in_many_forms(way: str, tmp_path: Path) -> None:
    images: list[Any] = [noise(40, 60, 3, seed=seed) for seed in range(3)]
    expected = np.stack([one(image) for image in images])
    if "path" in way or "text" in way:
        images = [written(tmp_path, "png", image, name=str(seed)) for seed, image in enumerate(images)]
    assert_same_and_meaningful(transform_images(WRAPPED[way](images), CROP, SQUARE), expected)


@pytest.mark.parametrize("recipe", [CROP, WHOLE, NEAREST])
def test_transform_is_never_in_place(recipe: Transform) -> None:
    for shape, dtype, count in product((SQUARE, (None, None, 3)), ("uint8", "float32"), (1, 2)):
        images = noise(count, 28, 28, 3, dtype=dtype)
        before = images.copy()
        images.flags.writeable = False
        pixels = transform_images(images, recipe, shape)
        assert not np.shares_memory(pixels, images)
        pixels += 1
        np.testing.assert_array_equal(images, before)


def test_pictures_for_a_network_of_any_size_keep_theirs() -> None:
    images = noise(2, 40, 61, 3)
    np.testing.assert_array_equal(transform_images(images, CROP, (None, None, 3)), images)
    assert failure([noise(4, 5, 3), noise(4, 6, 3), noise(4, 5, 3)], (None, None, 3)) == (
        "OptionError: a network for any size takes pictures of one size at a time, not of 4×5, 4×6\n"
        "  fix: transform them one by one, or give the backbone a size"
    )


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ([], "there are no pictures to transform"),
        (np.zeros((0, 8, 8, 3)), "there are no pictures to transform"),
        (b"\xff\xd8\xff", "picture 0 of 1 must be a path or an array, not bytes"),
        ([picture(), None], "picture 1 of 2 must be a path or an array, not NoneType"),
        (
            [picture(), picture()[..., 0]],
            "picture 1 of 2 must be (height, width, 3), not (40, 60)\n"
            "  fix: grey images have no channel axis: numpy.stack([images] * 3, -1)",
        ),
        ([picture()[None]], "picture 0 of 1 must be (height, width, 3), not (1, 40, 60, 3)"),
        (picture()[..., 0], "images must be (N, height, width, 3), not (40, 60)"),
        (np.zeros((2, 0, 9, 3)), "a picture of 0×9 pixels is empty"),
        ([np.full((4, 4, 3), "a")], "pixels must be numbers of 0 to 255, not str32"),
        (
            [picture(), picture() * np.nan],
            "image 1 of 2 has values that are NaN or infinite\n"
            "  fix: look at how it was read; 0 / 0 in a normalisation gives NaN",
        ),
        ([picture().astype("complex64")], "pixels must be numbers of 0 to 255, not complex64"),
    ],
)
def test_what_is_no_picture_is_refused(pictures: Any, said: str) -> None:
    assert failure(pictures) == f"OptionError: {said}"


def test_a_tensor_of_a_graph_is_refused_with_the_way_to_do_it() -> None:
    def mapped(image: Any) -> Any:
        return transform_images(image, CROP, SQUARE)

    with pytest.raises(torso.OptionError) as caught:
        tf.data.Dataset.from_tensors(picture()).map(mapped)
    assert str(caught.value) == (
        "transform is Python code, and takes no tensor of a graph\n"
        "  fix: tf.numpy_function(backbone.transform, [images], tf.float32)"
    )
    (pixels,) = tf.data.Dataset.from_tensors(picture()).map(
        lambda image: tf.numpy_function(lambda given: transform_images(given, CROP, SQUARE), [image], tf.float32)
    )
    assert_same_and_meaningful(pixels[0], one(picture()))


def test_a_resize_that_no_memory_holds_is_refused() -> None:
    assert one(np.zeros((1, 60_000, 3), "uint8"), CROP, (224, 224, 3)).shape == (224, 224, 3)  # the crop alone is computed
    assert failure(np.zeros((1, 60_000, 3), "uint8"), (224, 224, 3), NEAREST) == (
        "OptionError: a picture of 1×60000 pixels would be resized to 256×15360000 before it is cropped\n"
        "  fix: cut out the part to look at, or write fit: stretch"
    )
    assert one(np.zeros((1, 60_000, 3), "uint8"), STRETCH, (224, 224, 3)).shape == (224, 224, 3)


def test_pictures_that_look_scaled_are_warned_of_at_each_call_of_a_backbone() -> None:
    registry = torso.Registry.load(plugins_dirs=[TINY], discover=False)
    backbone = torso.create_backbone("TinyNet", weights="none", registry=registry)
    scaled = picture() / np.float32(255)
    for pictures in scaled, scaled[None], [scaled]:
        with pytest.warns(torso.PixelWarning) as caught:
            backbone.transform(pictures)
        (warning,) = caught
        assert (warning.filename, linecache.getline(__file__, warning.lineno).strip()) == (
            __file__,
            "backbone.transform(pictures)",
        )
        assert str(warning.message) == (
            f"the first images lie between 0 and {scaled.max():g}: they look scaled to 0 to 1 already (multiply by 255); "
            "torso expects RGB pixels of 0 to 255 here"
        )


# Files.


def written(folder: Path, kind: str, image: Any, *, name: str = "picture", **options: Any) -> Path:
    path = folder / f"{name}.{kind}"
    if isinstance(image, bytes):
        path.write_bytes(image)
        return path
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def decoded(path: Path, channels: int = 3) -> np.ndarray:
    """A file as it is, neither resized nor cropped."""
    return one(path, CROP, (None, None, channels))


def png(rows: bytes, width: int, height: int, *, depth: int = 8) -> bytes:
    """A PNG by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


GREY = picture()[..., 2]
OPAQUE = np.dstack([picture(), noise(40, 60)])
PALETTE = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE, colors=200)

DEEP = (picture().astype(">u2") * 257 + 1).astype(">u2")
DEEP_PNG = png(b"".join(b"\0" + row.tobytes() for row in DEEP), 60, 40, depth=16)
RGB = np.asarray(PALETTE.convert("RGB"))
GREYS = np.stack([GREY] * 3, -1)
EXACT: dict[str, tuple[str, Any, np.ndarray, dict[str, Any]]] = {
    "PNG": ("png", picture(), picture(), {}),
    "PNG, grey": ("png", GREY, GREYS, {}),
    "PNG with alpha": ("png", OPAQUE, picture(), {}),
    "PNG, grey with alpha": ("png", Image.fromarray(np.dstack([GREY, noise(40, 60)]), "LA"), GREYS, {}),
    "PNG of 16 bits": ("png", Image.fromarray(GREY.astype("uint16") * 256 + 255 - GREY), GREYS, {}),
    "PNG with a palette": ("png", PALETTE, RGB, {}),
    "PNG with a palette, partly clear": ("png", PALETTE, RGB, {"transparency": 3}),
    "PNG with a palette, clear by degrees": ("png", PALETTE, RGB, {"transparency": bytes(range(200))}),
    "PNG of one bit": ("png", Image.fromarray(GREY > 99), np.stack([(GREY > 99) * np.uint8(255)] * 3, -1), {}),
    "PNG of 16 bits a channel": ("png", DEEP_PNG, DEEP >> 8, {}),
    "BMP with alpha": ("bmp", OPAQUE, picture(), {}),
}


@pytest.mark.parametrize(("kind", "image", "expected", "options"), EXACT.values(), ids=EXACT)
def test_files_are_decoded_to_the_bit(kind: str, image: Any, expected: np.ndarray, options: Any, tmp_path: Path) -> None:
    assert_same_and_meaningful(decoded(written(tmp_path, kind, image, **options)), expected.astype("float32"))


def test_the_first_picture_of_a_file_that_moves_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(noise(40, 60), 7 * step, 0)).convert("P") for step in range(9)]
    first, every = (
        decoded(written(tmp_path, "gif", frames[0], save_all=True, append_images=more)) for more in ([], frames[1:])
    )
    assert_same_and_meaningful(every, first)


def picture_bytes(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, kind)
    return file.getvalue()


UNKNOWN = "it is no JPEG, PNG, GIF, BMP, WEBP, or its beginning is damaged"
WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty"),
    "text": (b"hello, I am a picture", UNKNOWN),
    "a begun JPEG": (b"\xff\xd8\xff\xe0", UNKNOWN),
    "a begun PNG": (b"\x89PNG\r\n\x1a\n\0\0", UNKNOWN),
    "a begun WebP": (b"RIFF\x24\0\0\0WEBPVP8L", "could not create decoder object"),
    # Pillow reads these.
    **{kind: (picture_bytes(kind), UNKNOWN) for kind in ("tiff", "ppm", "ico", "tga")},
}


@pytest.mark.parametrize(("data", "cause"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_picture_is_told_with_its_name(data: bytes, cause: str, tmp_path: Path) -> None:
    path = written(tmp_path, "jpg", data)
    expected = f"IntegrityError: {str(path)!r} is no picture that can be decoded\n  cause: {cause}"
    assert failure(path) == expected
    assert failure([written(tmp_path, "png", picture()), path], (28, 28, 1)).splitlines()[0] == expected.splitlines()[0]


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "bmp", "webp"])
def test_a_file_that_was_cut_short_is_told(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, noise(40, 60, 3))
    assert decoded(path).shape == (40, 60, 3)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.9)])
    assert failure(path).startswith(f"IntegrityError: {str(path)!r} is no picture that can be decoded\n  cause: ")


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, "png", png(b"", 30_000, 20_000))
    said = failure(path).splitlines()
    assert (said[0], said[-1]) == (
        f"OptionError: {str(path)!r} is too large a picture to be decoded",
        "  fix: shrink the picture first",
    )


def exif(orientation: int = 6) -> bytes:
    """EXIF data: a tag of a wrong type, which ImageOps.exif_transpose cannot write again, and the orientation."""
    entries = struct.pack(">HHIfHHIHHI", 0x010F, 11, 1, 1.0, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries


@pytest.mark.parametrize("orientation", range(10))
def test_a_photo_is_made_upright_as_its_exif_says(orientation: int, tmp_path: Path) -> None:
    tagged = Image.fromarray(picture())
    tagged.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(tagged))
    assert np.array_equal(upright, picture()) == (orientation in (0, 1, 9))
    assert orientation != 6 or np.array_equal(upright, np.rot90(picture(), -1))
    path = written(tmp_path, "png", picture(), exif=exif(orientation))
    jpeg = written(tmp_path, "jpg", picture(), exif=exif(orientation), quality=95)
    grey = written(tmp_path, "webp", GREY, exif=exif(orientation), lossless=True)
    with Image.open(path) as opened:
        for given in path, opened, [opened]:
            assert_same_and_meaningful(one(given, recipe_of(), (None, None, 3)), upright.astype("float32"))
    assert np.abs(decoded(jpeg) - upright).mean() < 3
    assert decoded(grey, 1).shape == (*upright.shape[:2], 1)
    np.testing.assert_array_equal(one(path, recipe_of(exif="ignore"), (None, None, 3)), picture())


def test_exif_data_that_cannot_be_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = written(tmp_path, "png", picture(), exif=b"Exif\0\0" + b"MN" + exif()[8:])
    for picked, name in (path, repr(str(path))), (Image.open(path), "picture 0 of 1"):
        first, cause, fix = failure(picked).splitlines()
        assert first == f"IntegrityError: {name} has EXIF data that cannot be read"
        assert cause.startswith("  cause: not a TIFF file")
        assert fix == "  fix: preprocess: {exif: ignore} takes the pixels as they are stored"
    assert_same_and_meaningful(one(path, Transform(exif="ignore")), one(picture()))


AS_KERAS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "JPEG": ("jpg", picture(), {}),
    "JPEG, progressive": ("jpg", picture(), {"progressive": True}),
    "JPEG, CMYK": ("jpg", Image.fromarray(picture()).convert("CMYK"), {}),
    "JPEG, grey": ("jpg", GREY, {}),
    "JPEG, rotated by EXIF": ("jpg", picture(), {"exif": exif()}),
    "WebP": ("webp", picture(), {}),
    "WebP with alpha": ("webp", OPAQUE, {}),
    "WebP without loss": ("webp", picture(), {"lossless": True}),
    "WebP without loss, with alpha": ("webp", OPAQUE, {"lossless": True, "exact": True}),
    **{form: (form.lower(), PALETTE if form == "GIF" else picture(), {}) for form in ("PNG", "GIF", "BMP")},
}


@pytest.mark.parametrize(("kind", "image", "options"), AS_KERAS.values(), ids=AS_KERAS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_is_read_as_keras_reads_it(kind: str, channels: int, image: Any, options: Any, tmp_path: Path) -> None:
    path = written(tmp_path, kind, image, **({"quality": 95} if kind in ("jpg", "webp") else {}), **options)
    read = keras.utils.load_img(path, color_mode="grayscale" if channels == 1 else "rgb")
    found = one(path, Transform(exif="ignore"), (None, None, channels))
    assert_same_and_meaningful(found, keras.utils.img_to_array(read))
    made = Image.fromarray(np.stack([GREY] * 3, -1) if image is GREY else picture()).convert("L" if channels == 1 else "RGB")
    assert np.abs(found - np.asarray(made).reshape(found.shape)).mean() < 5


def test_a_file_that_cannot_be_read_is_told_with_its_cause(tmp_path: Path) -> None:
    missing = tmp_path / "no.jpg"
    assert failure(missing) == f"DiskError: {str(missing)!r} cannot be read\n  cause: No such file or directory"
    known, jpg = "\n  known: .jpg, .jpeg, .png, .gif, .bmp, .webp", str(tmp_path / "*.jpg")
    assert failure(tmp_path) == f"OptionError: the folder {str(tmp_path)!r} has no pictures{known}"
    assert failure(jpg) == f"OptionError: no file matches {jpg!r}"


def test_folders_and_patterns_are_the_pictures_in_them_and_what_fails_can_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a [1]").mkdir()
    for name in ("b.png", "a [1]/z.PNG", "a [1]/c.png"):
        written(tmp_path, "png", noise(30, 40, 3, seed=len(name))).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "d.jpg").write_bytes(b"no picture")
    good = [str(tmp_path / name) for name in ("a [1]/c.png", "a [1]/z.PNG", "b.png")]
    expected = transform_images(good, CROP, SQUARE)
    assert_same_and_meaningful(transform_images([tmp_path / "a [1]", str(tmp_path / "*.png")], CROP, SQUARE), expected)
    assert_same_and_meaningful(transform_images(str(tmp_path / "**/[bcz].[pP]*"), CROP, SQUARE), expected)
    assert failure(tmp_path).startswith(f"IntegrityError: {str(tmp_path / 'd.jpg')!r} is no picture that can be decoded")
    backbone = torso.create_backbone("VGG16", weights=None, input_shape=(32, 32, 3), truncate={"layer": "block1_conv1"})
    pixels, read, failed = backbone.transform([noise(9, 9, 3), tmp_path, str(tmp_path / "no.gif")], errors="skip")
    assert pixels.shape == (4, 32, 32, 3)
    assert read == (0, *good)
    assert {Path(name).name: type(error).__name__ for name, error in failed.items()} == {
        "d.jpg": "IntegrityError", "no.gif": "DiskError"
    }  # fmt: skip
    nothing = backbone.transform(tmp_path / "d.jpg", errors="skip")
    assert (nothing.pixels.shape, nothing.read, [*nothing.failed]) == ((0, 32, 32, 3), (), [str(tmp_path / "d.jpg")])
    with pytest.raises(torso.OptionError, match="errors must be 'raise' or 'skip', not 'ignore'"):
        backbone.transform(tmp_path, errors="ignore")


def test_files_are_refused_for_networks_of_other_channels(tmp_path: Path) -> None:
    path = written(tmp_path, "png", picture())
    assert failure(path, (28, 28, 4)) == (
        "OptionError: a picture file has 1 or 3 channels, and this network takes 4\n"
        "  fix: read the files yourself, and give arrays (H, W, C)"
    )
    assert one(noise(40, 60, 4), CROP, (28, 28, 4)).shape == (28, 28, 4)
