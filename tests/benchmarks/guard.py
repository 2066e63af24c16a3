"""What a FreezeGuard costs: runs of ``fit`` with it against runs without, in pairs.

    python tests/benchmarks/guard.py [PAIRS] [STEPS]

All that is frozen is hashed as a run begins, after its first step, and at the end of each epoch and of the run. So an epoch
of a few short steps pays more, in parts, than a long one. The model of a case is compiled and trained once before it counts;
then runs of so many steps without and with the guard follow each other in this one process, in turn.

Printed are, over the pairs: the median step with the guard against the median step without, by the clock and in CPU time of
all threads, each with the least and the greatest; and the seconds within the guard of a whole run, which are free of the
noise of the steps.
"""

from __future__ import annotations

import os
import statistics
import sys
from time import perf_counter, process_time
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import torso

TITLES = ("case", "step", "with / without", "CPU with / without", "within", "frozen")


class Case(NamedTuple):
    network: str
    size: int
    batch: int
    spec: dict[str, Any]


CASES = {
    "a step of nothing": Case("MobileNet", 32, 1, {"options": {"alpha": 0.25}, "truncate": {"level": "C1"}}),
    "MobileNetV2, frozen": Case("MobileNetV2", 96, 16, {}),
    "MobileNetV2, top trains": Case("MobileNetV2", 96, 16, {"freeze": {"through": {"at": "C4", "norm": "train"}}}),
    "ResNet50, frozen": Case("ResNet50", 64, 8, {}),
    "ResNet50, top trains": Case("ResNet50", 64, 8, {"freeze": {"through": "C4"}}),
}


class Guard(torso.FreezeGuard):
    """Counts the seconds within itself."""

    def __init__(self, backbone: torso.Backbone) -> None:
        super().__init__(backbone)
        self.seconds = 0.0
        for name in ("on_train_begin", "on_train_batch_begin", "on_epoch_end", "on_train_end"):
            setattr(self, name, self._timed(getattr(self, name)))

    def _timed(self, method: Any) -> Any:
        def timed(*arguments: Any, **named: Any) -> None:
            start = perf_counter()
            method(*arguments, **named)
            self.seconds += perf_counter() - start

        return timed


class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """Tells when each step begins; first of the callbacks, so that what the others do is within the step."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.times: list[tuple[float, float]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.times.append((perf_counter(), process_time()))

    def steps(self) -> np.ndarray:
        """Seconds of each step but the first, by the clock and of CPU: ``(steps, 2)``."""
        return np.diff(self.times, axis=0)[1:]


def measure(name: str, case: Case, count: int, steps: int) -> None:
    backbone = torso.create_backbone(case.network, weights="none", input={"size": [case.size, case.size]}, **case.spec)
    model = keras.Sequential([backbone.model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    model.compile(keras.optimizers.SGD(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pixels = np.random.default_rng(0).uniform(-1, 1, (case.batch * steps, case.size, case.size, 3)).astype("float32")
    labels = np.arange(len(pixels)) % 10

    def run(*guards: Guard) -> np.ndarray:
        clock = Clock()
        model.fit(pixels, labels, batch_size=case.batch, verbose=0, callbacks=[clock, *guards])
        return clock.steps()

    run()
    plain, ratios, within = [], [], []
    for pair in range(count):
        guard = Guard(backbone)
        if pair % 2:
            guarded, without = run(guard), run()
        else:
            without, guarded = run(), run(guard)
        plain.append(np.median(without, axis=0)[0])
        ratios.append(np.median(guarded, axis=0) / np.median(without, axis=0))
        within.append(guard.seconds)
    wall, cpu = (f"{np.median(some):.4f} ({min(some):.3f} to {max(some):.3f})" for some in np.transpose(ratios))
    frozen = backbone.manifest["frozen"]["frozen"] * 4 / 1e6
    step, seconds = statistics.median(plain) * 1000, statistics.median(within)
    print(f"{name:<24}{step:>6.1f} ms{wall:>26}{cpu:>26}{seconds:>8.3f} s{frozen:>8.1f} MB", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    version = sys.version.split()[0]
    print(f"torso {torso.__version__}, Python {version}, {count} pairs of {steps} steps\n")
    print("{:<24}{:>9}{:>26}{:>26}{:>10}{:>11}".format(*TITLES))
    for name, case in CASES.items():
        measure(name, case, count, steps)


if __name__ == "__main__":
    main()
