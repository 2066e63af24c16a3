"""Train the weights that this plugin ships: ``python -m torso_digits.train FOLDER``.

The folder gets ``weights/``, and ``images/`` with one held-out image of each digit; accuracies and hashes are printed.
Everything random is seeded: the same machine with the same versions writes the same files.
"""

from __future__ import annotations

import argparse
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from torso_digits import DIGITNET, filters_at
from torso_digits.network import build, build_head

EPOCHS = 60
BATCH = 32

EVERY_FOURTH = slice(3, None, 4)
"""The images held out from the weights that are shipped; people who wrote them wrote training images too."""

LAST_QUARTER = slice(-450, None)
"""A harder test: one hand's images stand close together in the data set, so that most of these hands are probably new."""

Array = np.ndarray[Any, Any]


class Digits(NamedTuple):
    """Images ``(N, 8, 8, 1)`` of 0 to 255, uint8, and the digit that each one shows, ``(N,)``."""

    images: Array
    labels: Array


def split(held_out: slice = EVERY_FOURTH) -> tuple[Digits, Digits]:
    """The training images, and those held out."""
    data = load_digits()
    images = np.rint(data.images * 255 / 16).astype(np.uint8)[..., np.newaxis]  # published as 0 to 16
    test = np.zeros(len(images), dtype=bool)
    test[held_out] = True
    return Digits(images[~test], data.target[~test]), Digits(images[test], data.target[test])


def train(digits: Digits, width: float) -> tuple[keras.Model, keras.Model]:
    """The headless network and its head, trained together on slightly turned, moved and scaled images."""
    keras.utils.clear_session()  # what was trained before must not matter
    keras.utils.set_random_seed(0)
    body = build(input_shape=digits.images.shape[1:], filters=filters_at(width), width=width)
    head = build_head(body.output_shape[1:])
    network = keras.Sequential(
        [
            keras.Input(digits.images.shape[1:]),
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomRotation(0.04, fill_mode="constant"),
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            keras.layers.RandomZoom(0.1, fill_mode="constant"),
            body,
            head,
        ]
    )
    steps = EPOCHS * -(-len(digits.images) // BATCH)
    network.compile(
        optimizer=keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, steps), weight_decay=0.05),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    )
    network.fit(digits.images, keras.utils.to_categorical(digits.labels), batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return body, head


def accuracy(body: keras.Model, head: keras.Model, digits: Digits) -> float:
    """How many of the digits are read right, in per cent, to two decimals."""
    scores = head.predict(body.predict(digits.images / np.float32(255), verbose=0), verbose=0)
    return round(100 * float(np.mean(scores.argmax(axis=-1) == digits.labels)), 2)


def main(folder: Path) -> None:
    """Train each width that the architecture has a file for, and write everything."""
    tf.config.experimental.enable_op_determinism()
    training, held_out = split()
    for name in ("weights", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        image = held_out.images[held_out.labels == digit][0]
        tf.io.write_file(str(folder / "images" / f"digit-{digit}.png"), tf.io.encode_png(image))
    for file in DIGITNET.weights[0].files:
        width = float(str(file.when["width"]))
        body, head = train(training, width)
        print(f"width {width}: {body.count_params()} parameters")
        print(f"  {accuracy(body, head, held_out)} % of every fourth digit, which was held out")
        for model, name in ((body, file.file_name), (head, file.file_name.replace(".weights", "-head.weights"))):
            path = folder / "weights" / name
            model.save_weights(path)
            print(f"  {name}: {path.stat().st_size} bytes, sha256 {sha256(path.read_bytes()).hexdigest()}")
        before, last = split(LAST_QUARTER)
        print(f"  {accuracy(*train(before, width), last)} % of the last quarter, trained on those before")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go; it is made")
    main(parser.parse_args().folder)
