"""A process of its own that loads saved models with plain Keras and tells what it finds; it never imports torso.

It reads one question a line and answers with one line, both JSON and under one number, and ends with the process that asks,
or once nobody has asked for two minutes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import Any, TextIO

PATIENCE = 120  # seconds


def look_at(model_path: str, images_path: str, features_path: str, in_training: bool) -> dict[str, Any]:
    """What is there to be known of a saved model.

    Args:
        model_path: The ``.keras`` file.
        images_path: Images as the model expects them, as ``.npy``.
        features_path: Where the features are to be written, as ``.npz``: what the model gives for the images.
        in_training: Whether the features in training are to be compared with them.

    Returns:
        ``weights``: shape and SHA-256 of each weight, in order; ``trains``: positions among them of those that would train
        under a new head; ``same_in_training``: whether ``training=True`` gives the same bits, or None.
    """
    import hashlib

    import keras
    import numpy as np

    model = keras.models.load_model(model_path, compile=False)
    images = np.load(images_path)
    features = named(model(images, training=False))
    np.savez(features_path, **features)
    same = None
    if in_training:
        again = named(model(images, training=True))
        same = all(features[name].tobytes() == again[name].tobytes() for name in features)
    inputs = keras.Input(model.input_shape[1:])
    under_a_head = {id(weight) for weight in keras.Model(inputs, model(inputs)).trainable_weights}
    return {
        "weights": [
            [list(weight.shape), hashlib.sha256(np.ascontiguousarray(weight.numpy()).tobytes()).hexdigest()]
            for weight in model.weights
        ],
        "trains": [position for position, weight in enumerate(model.weights) if id(weight) in under_a_head],
        "same_in_training": same,
    }


def named(outputs: Any) -> dict[str, Any]:
    """The outputs of a model as arrays by their names, or by their numbers."""
    import numpy as np

    if isinstance(outputs, dict):
        return {name: np.asarray(value) for name, value in outputs.items()}
    if not isinstance(outputs, (list, tuple)):
        outputs = [outputs]
    return {str(number): np.asarray(value) for number, value in enumerate(outputs)}


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer until nobody asks any more."""
    while select.select([questions], [], [], PATIENCE)[0]:
        line = questions.readline()
        if not line:
            return
        question = json.loads(line)
        number = question.pop("number")
        try:
            answer = look_at(**question)
        except Exception as error:  # noqa: BLE001  # whatever Keras raises is what was found
            answer = {"error": told(error)}
        answers.write(json.dumps({"number": number, **answer}) + "\n")
        answers.flush()


def told(error: Exception) -> dict[str, Any]:
    """What is to be known of an error on the other side."""
    number = getattr(error, "errno", None)
    return {
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "fact": str(error).strip(),
        "number": number if isinstance(number, int) else None,
    }


if __name__ == "__main__":
    own = open(os.dup(1), "w")  # noqa: SIM115  # for the rest of the process
    os.dup2(2, 1)  # what is printed, be it by a library in C, is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for whoever asks, and goes to all
    sys.path[:] = json.loads(sys.argv[1])  # the same packages as whoever asks
    import keras  # noqa: F401  # before the first question comes

    serve(sys.stdin, own)
