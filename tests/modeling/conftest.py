from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import pytest
from keras.src.utils import naming
from networks import randomize
from provider import Acme


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    """Keras counts names from zero, as it does where torso draws."""
    naming.reset_uids()


@pytest.fixture
def residual() -> keras.Model:
    """Three convolutions and one shortcut; two layers without a name."""
    inputs = keras.Input((8, 8, 3), name="image")
    x = stem = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.Add(name="join")([x, stem])
    x = x + 1.0
    x = keras.layers.MaxPooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Conv2D(6, 1)(x), name="residual")
    randomize(model)
    return model


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Acme]:
    """Makes the provider of a network that is written in the test."""
    return partial(Acme, tmp_path)
