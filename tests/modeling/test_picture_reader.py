"""Many pictures are read as ``transform`` reads each, and every one gives a row."""

from __future__ import annotations

import os
import re
from functools import partial
from itertools import chain
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import torso
from torso.contracts.preprocessing import Transform
from torso.modeling.image_transform import read_file, transform_images
from torso.modeling.picture_reader import Picture, Pixels, read_pictures

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
RECIPES = [
    Transform(),
    Transform(fit="stretch", crop=1.0, antialias=False),
    Transform(interpolation="nearest", antialias=False, exif="ignore"),
    Transform(interpolation="bicubic", crop=0.5),
    Transform(crop=1.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of all modes and orientations, progressive and not, and a picture in each other format."""
    place = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(36):
        low = random.integers(0, 256, (4, 5, 3)).astype("uint8")
        picture = Image.fromarray(low).resize((int(random.integers(20, 90)), int(random.integers(20, 90))))
        exif = Image.Exif()
        exif[0x0112] = number % 10  # 0 and 9 are no orientations
        mode = ("RGB", "L", "CMYK")[number % 3]
        options = {"progressive": bool(number % 2), "subsampling": number % 3, "quality": 60 + number}
        picture.convert(mode).save(place / f"{number:02}.jpg", exif=exif, **options)
    for suffix in "png", "gif", "bmp", "webp":
        picture.quantize(9).convert("P" if suffix != "webp" else "RGB").save(place / f"other.{suffix}")
    Image.fromarray(random.integers(0, 65536, (30, 40)).astype("uint16")).save(place / "sixteen.png")
    return place


def read(paths: list[Path], recipe: Transform, shape: tuple[int, int, int] = (24, 32, 3)) -> Pixels:
    pictures = [Picture(path.name, partial(read_file, path, path.name)) for path in paths]
    values, errors, hashes = zip(*read_pictures(pictures, recipe, shape), strict=True)
    return Pixels(np.concatenate(values), [*chain(*errors)], [*chain(*hashes)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_every_bit_is_that_of_transform(folder: Path, recipe: Transform, channels: int) -> None:
    paths, shape = sorted(folder.iterdir()), (24, 32, channels)
    found = read(paths, recipe, shape)
    expected = transform_images([str(path) for path in paths], recipe, shape).pixels
    np.testing.assert_array_equal(found.values, expected)
    assert expected.std() > 20
    assert found.errors == [None] * len(paths)


def test_a_bad_picture_is_an_error_in_its_row_with_the_words_of_transform(folder: Path, tmp_path: Path) -> None:
    good = sorted(folder.iterdir())[:34]
    bad = {
        name: tmp_path / name
        for name in ("cut.jpg", "empty.jpg", "text.png", "folder.jpg", "gone.jpg", "pipe.jpg", "bomb.png", "bomb.jpg")
    }
    bad["cut.jpg"].write_bytes(good[3].read_bytes()[:-80])
    bad["empty.jpg"].write_bytes(b"")
    bad["text.png"].write_text("a picture")
    bad["folder.jpg"].mkdir()
    os.mkfifo(bad["pipe.jpg"])
    header = bytearray((folder / "other.png").read_bytes())
    header[16:24] = (30_000).to_bytes(4, "big") * 2
    header[29:33] = crc32(header[12:29]).to_bytes(4, "big")
    bad["bomb.png"].write_bytes(header)
    header = bytearray(good[3].read_bytes())
    sizes = re.search(rb"\xff[\xc0\xc2]\x00\x11\x08", header).end()  # of the frame header: height and width are next
    header[sizes : sizes + 4] = (65_500).to_bytes(2, "big") * 2
    bad["bomb.jpg"].write_bytes(header)
    paths = [*good[:20], *bad.values(), *good[20:]]
    found = read(paths, Transform())
    assert len(found.values) == len(paths)
    kept = [row for row, error in enumerate(found.errors) if not error]
    assert [paths[row] for row in kept] == good
    np.testing.assert_array_equal(found.values[kept], read(good, Transform()).values)
    for path, error in zip(bad.values(), found.errors[20:28], strict=True):
        if path.name != "folder.jpg":  # transform looks into it
            with pytest.raises(type(error)) as told:
                transform_images(str(path), Transform(), (24, 32, 3))
            assert str(told.value).replace(repr(str(path)), path.name) == str(error)
    assert str(found.errors[25]) == "pipe.jpg is no regular file"
    assert "Image size (900000000 pixels) exceeds limit" in str(found.errors[26])
    assert "Image size (4290250000 pixels) exceeds limit" in str(found.errors[27])
    assert [bool(one) for one in found.sha256[20:28]] == [True, True, True, False, False, False, True, True]


def test_a_dataset_gives_what_the_model_takes_with_labels(folder: Path, tmp_path: Path) -> None:
    registry = torso.Registry.load(plugins_dirs=[TINY], discover=False)
    backbone = torso.create_backbone("TinyNet", weights=None, registry=registry)
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        (tmp_path / "flowers" / "ab"[number % 2] / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / "ab"[number % 2] / "deep" / path.name).symlink_to(path)
    pictures = tmp_path / "flowers"
    expected = np.asarray(backbone.preprocess(backbone.transform(pictures)))
    dataset = backbone.dataset(pictures, batch_size=7)
    assert (dataset.class_names, len(dataset)) == (["a", "b"], 6)
    pixels, labels = zip(*dataset, strict=True)
    np.testing.assert_array_equal(np.concatenate(pixels), expected)
    assert np.concatenate(labels).tolist() == [0] * 18 + [1] * 18
    flipped = backbone.dataset(pictures, labels=None, augment=lambda pixels: pixels[:, ::-1])
    np.testing.assert_array_equal(np.concatenate([*flipped]), expected[:, ::-1])
    shuffled = backbone.dataset(pictures, shuffle=True, seed=4, batch_size=64)
    first, second = (next(iter(shuffled)) for _ in range(2))
    assert not np.array_equal(first[0], second[0])  # another order each time
    rows = {picture.tobytes(): label for picture, label in zip(expected, np.concatenate(labels), strict=True)}
    assert [rows[picture.tobytes()] for picture in first[0].numpy()] == first[1].numpy().tolist()
    assert backbone.dataset([*pictures.glob("*/*/0*.jpg")]).class_names == ["deep"]
    given = backbone.dataset(pictures, labels=np.arange(36) % 3 + 5, batch_size=64)
    assert given.class_names == [5, 6, 7]
    assert next(iter(given))[1].numpy().tolist() == [0, 1, 2] * 12
    for wrong, fact in (
        ({"labels": [1, 2]}, "there are 36 pictures and 2 labels"),
        ({"labels": "folder"}, "labels must be 'folders', one for each picture, or None, not 'folder'"),
        ({"pictures": [np.zeros((8, 8, 3))]}, "pictures must be paths, not ndarray"),
        ({"batch_size": 0}, "batch_size must be a number of pictures from 1 on, not 0"),
    ):
        with pytest.raises(torso.OptionError, match=fact):
            backbone.dataset(**{"pictures": pictures, **wrong})
    (pictures / "loose.jpg").symlink_to(path)
    with pytest.raises(torso.OptionError, match=r"loose\.jpg' is in no folder that could be its label"):
        backbone.dataset(pictures)
    (tmp_path / "cut.jpg").write_bytes((folder / "00.jpg").read_bytes()[:-50])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"cut\.jpg' is no picture that can be decoded"):
        [*backbone.dataset(tmp_path / "cut.jpg")]
