"""A network of three levels, with what training treats in ways of its own: norms, dropout, an op, attention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from provider import Acme

STAGES = """for number in 1, 2, 3:
        x = layers.Conv2D(4, 3, strides=2, padding="same", name=f"down{number}")(images if number == 1 else x)
        y = layers.DepthwiseConv2D(3, padding="same", name=f"deep{number}")(x)
        y = layers.BatchNormalization(name=f"norm{number}")(y)
        x = ops.relu(layers.Dropout(number / 10, name=f"drop{number}")(y) + x)
    return keras.Model(images, layers."""


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    """Keras' dtype policy for one test."""
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    """Its levels C1 to C3 are ops, and what is after C3 is one convolution."""
    return Acme(tmp_path, body=STAGES + "Conv2D(5, 1, name='end')(x))")


@pytest.fixture
def attentive(tmp_path: Path) -> Acme:
    """The same, and it ends in attention, whose frozen flags Keras loses."""
    return Acme(tmp_path, body=STAGES + "MultiHeadAttention(2, 4, dropout=0.5, name='attention')(x, x))")
