"""What a cut backbone costs: torso against the plain way, in pairs.

    python tests/benchmarks/build.py [PAIRS] [CASE…]

The plain way is what tutorials do: the whole headless network of ``tf.keras.applications``, ``load_weights``, a
``keras.Model`` up to the cut, ``trainable = False``. Each way runs in a fresh process of its own in which TensorFlow is
imported already, and in which torso has read its plugins and made the plan; the two of a pair run one after the other. Both
read the same weights file, written from a network with random values. CPU seconds count all threads; memory is the peak of
the process above what it held before. Their features for one image are compared, bit for bit.

Printed are the medians over the pairs: how many times less CPU time torso takes, with the least and the greatest, and both
peaks beside the size of the weights that are kept.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class Case(NamedTuple):
    network: str
    node: str | None  # as Keras names it in a fresh process; None for the whole network
    truncate: Any  # the same for torso
    ratio: float  # at least so many times less CPU time
    extra: float | None  # MB at most beside the kept weights; None where nothing is promised


CASES = {
    "vgg16": Case("VGG16", "block3_pool", {"layer": "block3_pool"}, 6, 25),
    "resnet50": Case("ResNet50", "conv3_block4_out", {"level": "C3"}, 3.7, 25),
    "resnet152-c3": Case("ResNet152", "conv3_block8_out", {"level": "C3"}, 6.5, 35),
    "resnet152-c4": Case("ResNet152", "conv4_block36_out", {"level": "C4"}, 2.5, 35),
    "efficientnetb7": Case("EfficientNetB7", "block4e_add", {"layer": "block4e_add"}, 5.5, 40),
    "convnextxlarge": Case("ConvNeXtXLarge", "add_2", {"level": "C2"}, 11, 40),
    "nasnetlarge": Case(
        "NASNetLarge", "normal_concat_5", {"layer": {"name": "normal_concat_5", "allow_partial": True}}, 5.5, 40
    ),
    "mobilenetv2-uncut": Case("MobileNetV2", None, "none", 1, None),
    "resnet50-uncut": Case("ResNet50", None, "none", 1, None),
    "efficientnetb7-uncut": Case("EfficientNetB7", None, "none", 1, None),
    "vgg16-uncut": Case("VGG16", None, "none", 1, None),
    "convnexttiny-uncut": Case("ConvNeXtTiny", None, "none", 1, None),
}


def write_weights(network: str, path: Path) -> None:
    from networks import randomize, save_listed

    model = _plain_network(network)
    randomize(model)
    save_listed(model, path)


def _plain_network(network: str) -> Any:
    import keras

    from torso.modeling.keras_private import without_weights

    size = _size(network)
    tag = "imagenet" if network.startswith("EfficientNetB") else None  # the others' graph is the same without
    with without_weights():  # or Keras would download them
        return getattr(keras.applications, network)(include_top=False, weights=tag, input_shape=(size, size, 3))


def _size(network: str) -> int:
    return 331 if network == "NASNetLarge" else 224


def plain(case: Case, path: str) -> Any:
    import keras

    full = _plain_network(case.network)
    full.load_weights(path)
    if case.node is None:
        model = full
    else:
        end = next(op for op in full.operations if op.name == case.node)  # get_layer knows no bare ops
        model = keras.Model(full.input, end.output)
    model.trainable = False
    return model


def measured(way: str, case: Case, path: str) -> dict[str, Any]:
    """Run one way in this process; what it took, and a fingerprint of what it computes."""
    import keras
    import numpy as np

    import torso.modeling.keras_private  # for the graph of weights that cannot be downloaded here

    if way == "torso":
        import torso.artifact.save
        import torso.modeling.build
        import torso.modeling.preprocess_layer
        from torso.api import build

        registry = torso.Registry.load()
        size = _size(case.network)
        plan = torso.plan(
            case.network, weights={"file": path}, input={"size": [size, size]}, truncate=case.truncate, registry=registry
        )

        def run() -> Any:
            backbone = build(plan, registry)
            return backbone.model, backbone.manifest["built"]["way"]
    else:

        def run() -> Any:
            return plain(case, path), ""

    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)])  # what the first layer of all costs
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before, start = _memory("VmRSS"), time.process_time()
    model, how = run()
    cpu, peak = time.process_time() - start, _memory("VmHWM") - before
    pixels = np.random.default_rng(0).uniform(0, 255, (1, *model.input.shape[1:])).astype("float32")
    return {
        "cpu": cpu,
        "peak": peak,
        "kept": sum(int(np.prod(weight.shape)) * 4 for weight in model.weights) / 1e6,
        "features": np.asarray(model(pixels)).tobytes().hex()[:2_000_000],
        "way": how,
    }


def _memory(fact: str) -> float:
    """In MB, of this process; Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(fact)).split()[1]) * 1024 / 1e6


def fresh(way: str, name: str, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("--measure", way, name, str(path)))
    return found


def run(*arguments: str) -> bytes:
    """What this script prints for these arguments in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT).stdout


def main() -> None:
    if sys.argv[1:2] == ["--write"]:
        return write_weights(sys.argv[2], Path(sys.argv[3]))
    if sys.argv[1:2] == ["--measure"]:
        return print(json.dumps(measured(sys.argv[2], CASES[sys.argv[3]], sys.argv[4])))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    names = sys.argv[2:] or list(CASES)
    print(f"Python {sys.version.split()[0]}, {count} pairs; times less CPU than the plain way, and peak memory in MB\n")
    titles = ("case", "times less", "(least to most)", "promised", "plain", "torso", "kept", "promised")
    print("{:<22}{:>10}  {:<17}{:>9}{:>9}{:>7}{:>6}{:>10}".format(*titles))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            case = CASES[name]
            path = Path(folder, f"{case.network}.h5")
            if not path.exists():
                run("--write", case.network, str(path))
            pairs = [(fresh("plain", name, path), fresh("torso", name, path)) for _ in range(count)]
            same = all(one["features"] == other["features"] for one, other in pairs)
            ratios = [one["cpu"] / other["cpu"] for one, other in pairs]
            peaks = [statistics.median(pair[index]["peak"] for pair in pairs) for index in (0, 1)]
            kept, way = pairs[0][1]["kept"], pairs[0][1]["way"]
            limit = "-" if case.extra is None else f"{kept + case.extra:.0f}"
            spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
            times = f"{statistics.median(ratios):>8.1f} ×  {spread:<17}{case.ratio:>7} ×"
            memory = f"{peaks[0]:>9.0f}{peaks[1]:>7.0f}{kept:>6.0f}{limit:>10}"
            print(f"{name:<22}{times}{memory}  {way}{'' if same else '  OTHER FEATURES'}", flush=True)
    return None


if __name__ == "__main__":
    main()
