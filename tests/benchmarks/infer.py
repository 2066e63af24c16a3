"""How fast runtimes compute features, against ``model.predict(array)`` of the same model, in pairs.

    python tests/benchmarks/infer.py [ROUNDS]

Both go from an array of pixels to pooled features: preprocessing and pooling are in the model of ``predict`` too. In each
round each has its turn in this one process, one after the other. A ratio is that of ``predict`` to the runtime in one round.
Printed are the medians over the rounds with the least and the greatest: CPU time of all threads first, then the clock; and
the largest error of the features. Statistics of normalisation are those of the pixels.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import torso
from torso.cli.commands.bench_command import in_turns
from torso.errors import OptionError
from torso.runtimes import whole_model

sys.path.append(str(Path(__file__).parents[1] / "support"))
from networks import settle

SPEC: Final[dict[str, Any]] = {"architecture": "MobileNetV2", "options": {"alpha": 0.35}, "input": {"size": [96, 96]}}
LIMITS: Final[dict[str, dict[int, int]]] = {  # at least so many times less CPU time, for so many images in a call
    "tensorflow": {1: 7, 32: 4},
    "litert": {1: 60, 32: 8},
    "onnx": {},
    "openvino": {},
}
BATCHES: Final = (1, 32)
TITLES: Final = ("runtime", "predict / runtime, CPU", "clock", "at least", "CPU ms", "error")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    backbone = torso.create_backbone(**SPEC, weights="none", freeze="none")
    height, width, channels = backbone.model.input_shape[1:]
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), height, width, channels), dtype="uint8")
    settle(backbone.model, np.asarray(backbone.preprocess(pixels)))
    plain = whole_model(backbone, "avg")
    runs: dict[str, Any] = {"predict": partial(plain.predict, verbose=0)}
    for name in LIMITS:
        try:
            runs[name] = backbone.runtime(name, pool="avg")
        except OptionError as error:
            print(f"{name} is left out: {error.fact}")
    print(f"torso {torso.__version__}, {backbone.name} at {height} x {width}, {rounds} rounds\n")
    print("images  {:<12}{:>26}{:>26}{:>10}{:>9}{:>10}".format(*TITLES))
    for batch in BATCHES:
        for run in runs.values():
            run(pixels[:batch])
        times = in_turns({name: partial(run, pixels[:batch]) for name, run in runs.items()}, rounds)
        for name, found in times.items():
            ratios = np.array(times["predict"]) / np.array(found)
            cpu, wall = (f"{median(some):.1f} ({min(some):.1f} to {max(some):.1f})" for some in ratios.T)
            limit, spent = LIMITS.get(name, {}).get(batch, "-"), median(one.cpu for one in found) * 1000 / batch
            error = f"{runs[name].error:.1e}" if name in LIMITS else "-"
            print(f"{batch:>6}  {name:<12}{cpu:>26}{wall:>26}{limit:>10}{spent:>9.2f}{error:>10}", flush=True)


if __name__ == "__main__":
    main()
