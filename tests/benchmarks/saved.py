"""What it costs to be sure of a saved backbone: saving, loading and verifying, each against plain Keras, in pairs.

    python tests/benchmarks/saved.py [PAIRS] [CASE ...]

Plain is ``model.save`` and ``keras.models.load_model``, which look at nothing. ``Backbone.save`` reads the file back in a
process of its own, ``torso.load`` hashes it and holds every value against the manifest, ``torso.verify`` computes the
features of the probe besides. Every figure is a ratio of wall times (a process of its own is no CPU time of this one) of two
computations that ran one after the other in this very run; the median over the pairs is printed with the least and the
greatest. The last column is the wall time of ``verify`` on this machine, in seconds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import torso

CASES: dict[str, dict[str, Any]] = {
    "MobileNetV2": {"truncate": {"level": "C4"}},
    "EfficientNetB0": {},
    "ResNet50": {},
    "ConvNeXtTiny": {},
}


def wall(work: Callable[..., object], *arguments: Any, **options: Any) -> float:
    start = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - start


def measured(name: str, folder: Path, count: int) -> dict[str, list[tuple[float, float]]]:
    """The wall time of the plain way and of torso's, pair by pair."""
    place, plain = folder / "torso", folder / "plain.keras"
    backbone = torso.create_backbone(name, weights="none", **CASES[name])
    backbone.save(place, force=True)  # by now the process that reads saved models back is there
    pairs: dict[str, list[tuple[float, float]]] = {"save": [], "load": [], "verify": []}
    for _ in range(count):
        pairs["save"].append((wall(backbone.model.save, plain), wall(backbone.save, place, force=True)))
        load = wall(keras.models.load_model, plain)
        pairs["load"].append((load, wall(torso.load, place)))
        pairs["verify"].append((load, wall(torso.verify, place)))
    return pairs


def said(pairs: list[tuple[float, float]]) -> str:
    ratios = [ours / plain for plain, ours in pairs]
    return f"{statistics.median(ratios):5.1f} × ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"torso {torso.__version__}, Keras {keras.__version__}, Python {sys.version.split()[0]}, {count} pairs\n")
    print(f"{'':<16}{'save':>22}{'load':>22}{'verify / load':>22}{'verify':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2:] or CASES:
            pairs = measured(name, Path(folder), count)
            seconds = statistics.median(ours for _, ours in pairs["verify"])
            print(f"{name:<16}" + "".join(f"{said(rows):>22}" for rows in pairs.values()) + f"{seconds:>8.1f}s", flush=True)


if __name__ == "__main__":
    main()
