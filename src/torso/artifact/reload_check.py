"""Read a saved model back from disk with plain Keras, and compare it with the model in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np

from torso.artifact.reference_outputs import TOLERANCE, Features, error_of, features_for, hashes_of, weights_by_path
from torso.errors import IntegrityError
from torso.graph import FreezeReport
from torso.modeling.threads import start_thread


def check_reload(
    model: keras.Model, frozen: FreezeReport, path: Path, images: np.ndarray, names: Sequence[str]
) -> tuple[Features, dict[str, str], set[str]]:
    """Load a ``.keras`` file, and refuse one whose weights, features or freezing are not those of the model in memory.

    Returns what plain Keras reads: the features, the hash of each weight by path, and the paths of those that would train
    under a head, where the flag of the model itself does not count.
    """
    # Keras keeps names, custom objects, dtype policy and safe mode per thread: a new thread has only Keras' defaults.
    reading = start_thread(lambda: _reload(path, images, names, training=frozen.everything))
    expected, hashes = features_for(model, images, names), hashes_of(weights_by_path(model))  # meanwhile
    try:
        loaded, in_training = reading.result()
        # One pass is enough where training=True gives the very bits that the saved model gives without it.
        again = frozen.everything and not _same_bits(expected, in_training)
        found = features_for(loaded, images, names) if again else in_training
    except Exception as error:  # Keras raises whatever a layer raises
        if isinstance(error, MemoryError) or getattr(error, "errno", None):  # h5py's own OSErrors have no number
            raise
        _refuse(path, f"{type(error).__name__}: {error}".split("\n")[0])
    weights = weights_by_path(loaded)
    if hashes_of(weights) != hashes:
        _refuse(path, "its weights are not those of the model")
    for name, values in expected.items():
        off = error_of(values, found[name])
        if not off <= TOLERANCE:  # NaN is within no tolerance
            _refuse(path, f"its feature {name!r} is off by {off:.1e} of its largest value")
    if frozen.everything and not _same_bits(found, in_training):
        _refuse(path, "it is frozen, but gives different features in training")
    return found, hashes, {name for name, weight in weights.items() if weight.trainable}


def _reload(path: Path, images: np.ndarray, names: Sequence[str], *, training: bool) -> tuple[keras.Model, Features]:
    model = keras.models.load_model(path, compile=False)
    return model, features_for(model, images, names, training=training)


def _same_bits(one: Features, other: Features) -> bool:
    return all(values.tobytes() == other[name].tobytes() for name, values in one.items())


def _refuse(path: Path, cause: str) -> NoReturn:
    fact = f"{path.name}, read back from disk by plain Keras, is not the model that was saved"
    fix = "try again; if it fails again, the network has state that Keras does not save"
    raise IntegrityError(fact, notes=[("cause", cause), ("fix", fix)])
