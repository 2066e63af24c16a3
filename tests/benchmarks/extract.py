"""What features of many photos cost, against a plain loop, in pairs of one run.

    python tests/benchmarks/extract.py [ROUNDS [PHOTOS [NETWORK...]]]

*Plain* is what one writes by hand: Pillow decodes, ``tf.image.resize`` and a crop, ``predict_on_batch`` in batches of 32,
and the mean over positions. The others are ``torso.extract`` with a runtime; their features are those of plain within 1e-4
of the largest, on pixels that differ by less than 0.01. A figure is plain's time by that of the other: of the processor
first, of the clock in brackets; the median over the rounds. The photos are of 500 x 375, made from two of scikit-learn's.
Random weights: they compute as long as trained ones. One row has no limit: ``image_dataset_from_directory`` and ``predict``
in the place of plain, for MobileNetV2; its resize is not antialiased, so its features are others. A last row has the highest
memory at many pictures by that at few.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

CASES: dict[str, tuple[dict[str, Any], dict[str, tuple[dict[str, Any], float | None]]]] = {
    "MobileNetV2": (
        {"alpha": 0.35, "input_shape": (96, 96, 3)},
        {"tensorflow": ({}, 1.7), "litert": ({"runtime": "litert"}, 2.0)},
    ),
    "ResNet50": (
        {"truncate": {"level": "C4"}},
        {
            "tensorflow": ({}, 1.1),
            "openvino": ({"runtime": "openvino"}, 1.25),
            "openvino bfloat16": ({"runtime": "openvino", "precision": "bfloat16"}, 2.1),
        },
    ),
}

LOADER = "  image_dataset_from_directory"


def make_photos(folder: Path, count: int) -> None:
    """Parts of two photos, 500 x 375, as JPEG of quality 90."""
    from sklearn.datasets import load_sample_images

    random, photos = np.random.default_rng(0), [Image.fromarray(one) for one in load_sample_images().images]
    for number in range(count):
        photo, height = photos[number % 2], int(random.integers(280, 427))
        width = height * 4 // 3
        left, top = int(random.integers(0, photo.width - width + 1)), int(random.integers(0, photo.height - height + 1))
        place = folder / ("temple", "flower")[number % 2] / f"{number:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        photo.crop((left, top, left + width, top + height)).resize((500, 375)).save(place, quality=90)


def plain(backbone: Any, files: list[Path]) -> np.ndarray:
    """The loop that one writes by hand."""
    import tensorflow as tf

    side, rows, batch = backbone.model.input_shape[1], [], []
    for position, file in enumerate(files):
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        height = round(side / 0.875)
        resized = tf.image.resize(pixels, (height, height * pixels.shape[1] // pixels.shape[0]), antialias=True).numpy()
        top, left = (round((one - side) / 2) for one in resized.shape[:2])
        batch.append(resized[top : top + side, left : left + side])
        if len(batch) == 32 or position == len(files) - 1:
            maps = backbone.model.predict_on_batch(np.asarray(backbone.preprocess(np.stack(batch))))
            rows.append(maps.mean((1, 2)))
            batch.clear()
    return np.concatenate(rows)


def by_keras(backbone: Any, photos: Path) -> np.ndarray:
    """Keras' own loader, which neither antialiases nor keeps the margin that is cropped."""
    import keras

    size = backbone.model.input_shape[1:3]
    pictures = keras.utils.image_dataset_from_directory(photos, labels=None, image_size=size, shuffle=False, verbose=False)
    maps: np.ndarray = backbone.model.predict(pictures.map(backbone.preprocess), verbose=0)
    return maps.mean((1, 2))


def extracted(backbone: Any, photos: Path, **options: Any) -> np.ndarray:
    import torso

    with tempfile.TemporaryDirectory() as out:
        features = torso.extract(backbone, photos, out, progress=lambda *counts: None, **options)
        return features.arrays().features


def timed(act: Callable[[], Any]) -> tuple[float, float, Any]:
    cpu, clock = time.process_time(), time.perf_counter()
    result = act()
    return time.process_time() - cpu, time.perf_counter() - clock, result


def measure(rounds: int, photos: Path, cases: dict[str, Any]) -> None:
    """Print a row for each runtime, its conversion and comparison not counted."""
    import torso

    files = sorted(photos.rglob("*.jpg"))
    print(f"{'':<34}{'CPU':>6} {'(clock)':>9}  {'at least':>8}  error", flush=True)
    for name, (keywords, others) in cases.items():
        backbone = torso.create_backbone(name, weights=None, seed=0, **keywords)
        runtimes = {other: opened(backbone, options) for other, (options, _) in others.items()}
        pairs: dict[str, list[tuple[float, float]]] = {other: [] for other in [*others, LOADER]}
        errors: dict[str, float] = {}
        for number in range(rounds + 1):  # the first is not counted: files are read, functions traced
            base = timed(partial(plain, backbone, files))
            for other, (options, _) in others.items():
                with already_open(type(backbone), runtimes[other]):
                    one = timed(partial(extracted, backbone, photos, **options))
                if number:
                    pairs[other].append((base[0] / one[0], base[1] / one[1]))
                errors[other] = float(np.abs(one[2] - base[2]).max() / np.abs(base[2]).max())
                if name.startswith("MobileNet") and other == "tensorflow":
                    loader = timed(partial(by_keras, backbone, photos))
                    pairs[LOADER] += [(loader[0] / one[0], loader[1] / one[1])] if number else []
        for other, (_, least) in others.items():
            cpu, clock = medians(pairs[other])
            told = "" if cpu >= least else "  BELOW"
            print(f"{f'{name}: {other}':<34}{cpu:>6.2f} {clock:>9}  {least:>8g}  {errors[other]:.0e}{told}", flush=True)
        if pairs[LOADER]:
            cpu, clock = medians(pairs[LOADER])
            print(f"{LOADER:<34}{cpu:>6.2f} {clock:>9}", flush=True)


def medians(pairs: list[tuple[float, float]]) -> tuple[float, str]:
    cpu, clock = (statistics.median(ratios) for ratios in zip(*pairs, strict=True))
    return cpu, f"({clock:.2f})"


def opened(backbone: Any, options: dict[str, Any]) -> Any:
    given = {"precision": options.get("precision", "float32")}
    return backbone.runtime(options.get("runtime", "tensorflow"), pool="avg", **given)


@contextlib.contextmanager
def already_open(kind: Any, runtime: Any) -> Any:
    before, kind.runtime = kind.runtime, lambda *arguments, **options: runtime
    try:
        yield
    finally:
        kind.runtime = before


def peak(photos: Path, times: int) -> float:
    """The highest memory of a new process that reads the photos so many times, in MB."""
    words = [sys.executable, __file__, "--peak", str(photos), str(times)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def extract_once(photos: Path, times: int) -> float:
    import torso

    with tempfile.TemporaryDirectory() as out:
        listing = Path(out, "listing.txt")
        listing.write_text("\n".join(map(str, sorted(photos.rglob("*.jpg")) * times)))
        backbone = torso.create_backbone("MobileNetV2", weights=None, seed=0, alpha=0.35, input_shape=(96, 96, 3))
        torso.extract(backbone, listing, Path(out, "features"), progress=lambda *counts: None)
    # Not ru_maxrss, which begins with what the process had that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        print(extract_once(Path(sys.argv[2]), int(sys.argv[3])))
        return
    rounds, count = (int(word) for word in [*sys.argv[1:3], *("5", "600")[len(sys.argv) - 1 :]])
    cases = {name: case for name, case in CASES.items() if not sys.argv[3:] or name in sys.argv[3:]}
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), count)
        measure(rounds, Path(folder), cases)
        few = peak(Path(folder), MANY[0])
        many = peak(Path(folder), MANY[1])
    told = "" if many <= 1.05 * few else "  ABOVE"
    print(f"\npeak memory: {many:.0f} MB at {count * MANY[1]:,} pictures, {few:.0f} MB at {count * MANY[0]:,}:", end=" ")
    print(f"{many / few:.3f}, at most 1.05{told}")


MANY = (3, 33)  # how many times the photos are read, for the memory

if __name__ == "__main__":
    main()
