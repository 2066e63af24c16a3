"""What the README says of keras.applications, measured beside torso.

    python tests/benchmarks/compare.py [NETWORK...]

Counts, not times. Without NETWORK, all built-in networks are read, which takes a minute or two. Nothing is downloaded. Times
are in build.py and start.py.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import torso


def cuts(names: tuple[str, ...]) -> str:
    """How many cuts that remove 1 to 10 nodes from the end leave a branch of the network behind."""
    lost = 0
    for name in names:
        graph = torso.read_graph(name)
        ends = [graph.nodes[-1 - count] for count in range(1, 11)]
        lost += sum(end not in graph.clean_cuts for end in ends)
    return f"{lost} of {10 * len(names)} ({100 * lost / (10 * len(names)):.1f} %)"


def layer_names() -> str:
    """How many names of InceptionV3 differ when it is built twice in one process."""
    first, second = ([layer.name for layer in keras.applications.InceptionV3(weights=None).layers[:-2]] for _ in range(2))
    keras_differ = sum(one != other for one, other in zip(first, second, strict=True))
    one, other = (torso.read_graph("InceptionV3") for _ in range(2))
    torso_differ = sum(a.name != b.name for a, b in zip(one, other, strict=True))
    return f"Keras {keras_differ} of {len(first)}, torso {torso_differ} of {len(one)}"


def frozen() -> str:
    """How far features in training are from those at inference where EfficientNetB0 is frozen: relative L2 distance."""
    images = np.random.default_rng(0).uniform(0, 255, (4, 224, 224, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False)
    plain.trainable = False
    distances = []
    for model in plain, torso.create_backbone("EfficientNetB0", weights="none").model:
        inference, training = (np.asarray(model(images, training=flag)) for flag in (False, True))
        distances.append(np.linalg.norm(training - inference) / np.linalg.norm(inference))
    return f"Keras {distances[0]:.2g}, torso {distances[1]:.2g} (random weights)"


def channels() -> str:
    """What happens where published weights are asked for with five channels."""
    try:
        keras.applications.ResNet50(include_top=False, input_shape=(224, 224, 5))
        told = "builds"
    except ValueError as error:
        told = type(error).__name__
    plan = torso.plan("ResNet50", input={"channels": 5, "adapt": "repeat"})
    return f"Keras {told}, torso plans {plan.input_shape}"


def main() -> None:
    names = tuple(sys.argv[1:]) or torso.list_architectures(registry=torso.Registry.load(discover=False))
    print(f"Keras {keras.__version__}, {len(names)} networks")
    print("cuts that drop a branch:          ", cuts(names), flush=True)
    print("names of a second InceptionV3:    ", layer_names(), "differ", flush=True)
    print("frozen EfficientNetB0 in training:", frozen(), "off", flush=True)
    print("published weights for 5 channels: ", channels(), flush=True)


if __name__ == "__main__":
    main()
