"""How long a user waits before anything is built: each command against the import of TensorFlow, in pairs.

    python tests/benchmarks/start.py [PAIRS]

Every figure is a ratio of wall time of whole processes (or of CPU time inside one) that ran one after the other in this
very run; the median over the pairs is printed with the least and the greatest. Bounds are those that torso promises.
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

import yaml

import torso
from torso.planning import make_plans
from torso.specs.spec_file import read_spec

TORSO = [sys.executable, "-m", "torso"]
TENSORFLOW = [sys.executable, "-c", "import tensorflow"]
DIGITS = Path(__file__).parents[2] / "plugins/torso-digits/src/torso_digits/digits.yaml"
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed by pip, which compiles

MANY = """
import torso

CARDS = tuple(
    torso.Architecture(
        name=f"Net{index}", family=f"Family{index % 50}", builder="nowhere:build", parameters=index,
        input=torso.InputRules(default=(224, 224)), preprocessing=torso.Preprocessing(),
    )
    for index in range(10_000)
)

@torso.hookimpl
def torso_architectures():
    return CARDS
"""


def wall(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def pairs(one: Callable[[], float], other: Callable[[], float], count: int) -> list[float]:
    """The ratio other / one of each pair, after a pair that does not count."""
    one(), other()
    return [other() / one() for _ in range(count)]


def show(what: str, figures: list[float], promise: str, unit: str = "×") -> None:
    middle = statistics.median(figures)
    print(f"{what:<52} {middle:8.2f} {unit}  ({min(figures):.2f} to {max(figures):.2f})  promised: {promise}", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"torso {torso.__version__}, Python {sys.version.split()[0]}, {count} pairs\n")
    for words, least in ((["--help"], 25), (["list"], 25), (["plan", str(DIGITS)], 20), (["show", "ResNet50"], 15)):
        ratios = pairs(lambda words=words: wall([*TORSO, *words]), lambda: wall(TENSORFLOW), count)
        show(f"import tensorflow / torso {' '.join(Path(word).name for word in words)}", ratios, f"{least} × or more")

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "many.py").write_text(MANY)
        plain, many = [*TORSO, "list"], [*TORSO, "--plugins-dir", folder, "list"]
        extra = []
        wall(plain), wall(many)
        for _ in range(count):
            normal = wall(plain)
            extra.append(wall(many) - 2 * normal)
        show("list of 10,040 minus twice the normal list", extra, "0.5 s or less", "s")
        registry = torso.Registry.load(plugins_dirs=[folder])
        resolve = [cpu(lambda: registry.architectures.resolve("net9999")) * 1000 for _ in range(count)]
        show("one resolve among 10,040", resolve, "5 ms or less", "ms")

        backbones = {
            f"b{index}": {"architecture": "MobileNetV2", "options": {"alpha": 0.35}, "truncate": {"pop": index % 7 + 1}}
            for index in range(500)
        }
        spec = Path(folder, "many.yaml")
        spec.write_text(yaml.safe_dump({"version": 1, "backbones": backbones}))
        registry = torso.Registry.load()
        seconds = [cpu(lambda: make_plans(read_spec(spec).values(), registry)) for _ in range(count)]
        show("a spec of 500 backbones read and checked", seconds, "1 s or less", "s")


if __name__ == "__main__":
    main()
