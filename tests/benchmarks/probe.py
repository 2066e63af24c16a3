"""What the features of all block ends cost in one pass, against the last cut alone, in pairs of one run.

    python tests/benchmarks/probe.py [PAIRS [PHOTOS [NETWORK...]]]

Both ways decode the same JPEGs of 500 x 375 and write their features; what is compiled once is not counted. A figure is the
time of all cuts by that of the last: of the processor first, of the clock in brackets; the median over the pairs.
"""

from __future__ import annotations

import os
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import torso

CASES: dict[str, dict[str, Any]] = {"MobileNetV2": {"alpha": 0.35, "input_shape": (96, 96, 3)}, "ResNet50": {}}
LIMIT = 1.15


def pass_of(name: str, nodes: list[str], photos: Path, folder: Path) -> Callable[[], tuple[float, float]]:
    """What computes the features of these nodes again, and returns the seconds of the processor and of the clock."""
    from torso.extraction.extraction_file import read_extraction
    from torso.extraction.shard import Work
    from torso.extraction.source import Source
    from torso.files.folder import Folder

    backbone = torso.create_backbone(name, weights=None, seed=0, truncate={"layers": nodes}, **CASES[name])
    torso.extract(backbone, photos, folder, shard=10**6, progress=lambda *counts: None)
    runtime = backbone.runtime("tensorflow", pool="avg")
    out = Folder(folder)
    work = Work(Source.of(photos), out, read_extraction(out), backbone, runtime=runtime)

    def seconds() -> tuple[float, float]:
        cpu, clock = time.process_time(), time.perf_counter()
        work(0)
        return time.process_time() - cpu, time.perf_counter() - clock

    return seconds


def main() -> None:
    pairs, count = (int(word) for word in [*sys.argv[1:3], *("5", "200")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        runpy.run_path(str(Path(__file__).with_name("extract.py")))["make_photos"](photos, count)
        for name in sys.argv[3:] or CASES:
            graph = torso.read_graph(name, **CASES[name])
            nodes = list(dict.fromkeys(node.name for node in (*graph.blocks, graph.end)))
            every = pass_of(name, nodes, photos, Path(folder, f"{name}-all"))
            last = pass_of(name, nodes[-1:], photos, Path(folder, f"{name}-last"))
            found = [(every(), last()) for _ in range(pairs + 1)][1:]
            cpu, clock = (statistics.median(one[at] / other[at] for one, other in found) for at in (0, 1))
            told = "ok" if cpu <= LIMIT else "ABOVE"
            print(f"{name}: {len(nodes)} cuts / the last alone  {cpu:.2f} ({clock:.2f})  <= {LIMIT}  {told}", flush=True)


if __name__ == "__main__":
    main()
