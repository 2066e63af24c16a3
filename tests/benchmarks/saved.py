"""What it costs to be sure of a saved backbone: saving, loading and verifying, each against plain Keras, in pairs.

    python tests/benchmarks/saved.py [PAIRS] [CASE ...]

Plain is ``model.save`` and ``keras.models.load_model``, which check nothing. ``Backbone.save`` reads the file back,
``torso.load`` compares every value with the manifest, ``torso.verify`` also computes the reference outputs. A figure is a
ratio of wall times of two computations that ran one after the other in this very run: the median over the pairs, with the
least and the greatest. ``first save`` compares the first save of one new process with the first ``model.save`` of another.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CASES: dict[str, dict[str, Any]] = {
    "MobileNetV2": {"truncate": {"level": "C4"}},
    "EfficientNetB0": {},
    "ResNet50": {},
    "ConvNeXtTiny": {},
}
Pairs = list[tuple[float, float]]


def wall(work: Callable[..., object], *arguments: Any, **options: Any) -> float:
    start = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - start


def built(name: str) -> Any:
    import torso

    return torso.create_backbone(name, weights="none", **CASES[name])


def first(name: str, folder: Path, way: str) -> float:
    """The wall time of the first save of a new process."""
    command = [sys.executable, __file__, "--first", name, way, str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measured(name: str, folder: Path, count: int) -> dict[str, Pairs]:
    """The wall time of the plain way and of torso's, pair by pair."""
    import keras

    import torso

    place, plain = folder / "torso", folder / "plain.keras"
    firsts = [(first(name, folder, "plain"), first(name, folder, "torso")) for _ in range(count)]
    pairs: dict[str, Pairs] = {"first save": firsts, "save": [], "load": [], "verify": []}
    backbone = built(name)
    backbone.save(place, force=True)
    for _ in range(count):
        pairs["save"].append((wall(backbone.model.save, plain), wall(backbone.save, place, force=True)))
        load = wall(keras.models.load_model, plain)
        pairs["load"].append((load, wall(torso.load, place)))
        pairs["verify"].append((load, wall(torso.verify, place)))
    return pairs


def described(pairs: Pairs) -> str:
    ratios = [ours / plain for plain, ours in pairs]
    return f"{statistics.median(ratios):5.1f} × ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    if sys.argv[1:2] == ["--first"]:
        name, way, folder = sys.argv[2:]
        backbone = built(name)
        print(
            wall(backbone.model.save, Path(folder, "first.keras"))
            if way == "plain"
            else wall(backbone.save, Path(folder, "first"), force=True)
        )
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    titles = ("first save", "save", "load", "verify / load")
    print(f"{'':<16}" + "".join(f"{title:>22}" for title in titles))
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2:] or CASES:
            pairs = measured(name, Path(folder), count)
            print(f"{name:<16}" + "".join(f"{described(rows):>22}" for rows in pairs.values()), flush=True)


if __name__ == "__main__":
    main()
