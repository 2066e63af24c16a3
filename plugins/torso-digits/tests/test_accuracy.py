"""The figures that the plugin and its README state, measured again from the files that are shipped."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from torso import Registry, WeightsFile, create_backbone
from torso_digits import DIGITNET
from torso_digits.network import build_head
from torso_digits.train import split

PACKAGE = Path(str(files("torso_digits")))
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
UCI = DIGITNET.weights[0]


def measured(file: WeightsFile, registry: Registry) -> float:
    """Held-out top-1 in per cent, through torso and the shipped head."""
    backbone = create_backbone("digits/DigitNet", options=file.when, registry=registry)
    head = build_head(backbone.model.output_shape[1:])
    head.load_weights(PACKAGE / "weights" / file.file_name.replace(".weights", "-head.weights"))
    _, held_out = split()
    scores = head(backbone.model(backbone.preprocess(held_out.images)))
    return round(100 * float(np.mean(np.argmax(scores, axis=-1) == held_out.labels)), 2)


@pytest.mark.parametrize("file", UCI.files, ids=lambda file: file.file_name)
def test_the_readme_states_accuracy_size_and_hash_of_each_file(file: WeightsFile, registry: Registry) -> None:
    content = (PACKAGE / "weights" / file.file_name).read_bytes()
    assert sha256(content).hexdigest() == file.sha256
    top1, width = measured(file, registry), file.when["width"]
    row = f"| {width} | `{file.file_name}` | {len(content):,} | {top1:.2f} % |"
    assert [line for line in README.split("\n") if line.startswith(row) and line.endswith(f"| `{file.sha256}` |")]
    assert width != 1.0 or top1 == UCI.top1  # the figure of the architecture is that of the default network


def test_held_out_images_are_no_training_images_and_the_sample_images_are_held_out() -> None:
    training, held_out = split()
    seen = {image.tobytes() for image in training.images}
    assert (len(training.labels), len(held_out.labels)) == (1348, 449)
    assert not [image for image in held_out.images if image.tobytes() in seen]
    for digit in range(10):
        sample = tf.io.decode_png((PACKAGE / "images" / f"digit-{digit}.png").read_bytes())
        np.testing.assert_array_equal(sample, held_out.images[held_out.labels == digit][0])
