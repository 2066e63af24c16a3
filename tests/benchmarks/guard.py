"""What a FreezeGuard costs: runs of ``fit`` with it against runs without, in pairs.

    python tests/benchmarks/guard.py [PAIRS] [STEPS]

All that is frozen is hashed as a run begins, after its first step, and at the end of each epoch and of the run. So an epoch
of a few short steps pays more, in parts, than a long one. The model of a case is compiled and trained once before it counts;
then runs of so many steps without and with the guard follow each other in this one process, in turn.

Printed are, over the pairs: the median step with the guard against the median step without, by the clock and in CPU time of
all threads, each with the least and the greatest; the time within the guard, of the time of all steps but the first: that
is the same without the noise of the steps, and includes the comparison at the end of an epoch; and the seconds it takes to
begin and to end a run, for each 100 MB that are frozen. A run whose optimizer is new looks at what trains too at first.
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

TITLES = ("case", "step", "with / without", "CPU with / without", "within", "frozen", "begin", "end")


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
        self.begin = self.end = self.within = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        start = perf_counter()
        super().on_train_begin(logs)
        self.begin = perf_counter() - start

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        start = perf_counter()
        super().on_train_batch_begin(batch, logs)
        self.within += perf_counter() - start

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        start = perf_counter()
        super().on_epoch_end(epoch, logs)
        self.within += perf_counter() - start

    def on_train_end(self, logs: Any = None) -> None:
        start = perf_counter()
        super().on_train_end(logs)
        self.end = perf_counter() - start


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
    plain, ratios, within, guards = [], [], [], []
    for pair in range(count):
        guard = Guard(backbone)
        if pair % 2:
            guarded, without = run(guard), run()
        else:
            without, guarded = run(), run(guard)
        plain.append(np.median(without, axis=0)[0])
        ratios.append(np.median(guarded, axis=0) / np.median(without, axis=0))
        within.append(guard.within / guarded[:, 0].sum())
        guards.append(guard)
    wall, cpu = (f"{np.median(some):.4f} ({min(some):.3f} to {max(some):.3f})" for some in np.transpose(ratios))
    frozen = backbone.manifest["frozen"]["frozen"] * 4 / 1e8
    begin, end = (statistics.median(getattr(guard, part) for guard in guards) for part in ("begin", "end"))
    rates = f"{begin / frozen:>6.3f} s{end / frozen:>6.3f} s" if frozen > 0.01 else ""
    print(
        f"{name:<24}{statistics.median(plain) * 1000:>6.1f} ms{wall:>26}{cpu:>26}{statistics.median(within):>8.2%}"
        f"{frozen * 100:>8.1f} MB{rates}",
        flush=True,
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    version = sys.version.split()[0]
    print(f"torso {torso.__version__}, Python {version}, {count} pairs of {steps} steps; begin and end for 100 MB\n")
    print("{:<24}{:>9}{:>26}{:>26}{:>8}{:>11}{:>8}{:>8}".format(*TITLES))
    for name, case in CASES.items():
        measure(name, case, count, steps)


if __name__ == "__main__":
    main()
