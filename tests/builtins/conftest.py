from __future__ import annotations

import keras
import pytest


class FirstLayer(Exception):
    """Keras accepted the arguments and is about to call its first layer on images of this shape."""


@pytest.fixture
def first_layer(monkeypatch: pytest.MonkeyPatch) -> type[FirstLayer]:
    """Stop every constructor of Keras at its first layer, with this error."""

    def stop(layer: keras.Layer, images: keras.KerasTensor) -> None:
        raise FirstLayer(images.shape)

    monkeypatch.setattr(keras.Layer, "__call__", stop)
    return FirstLayer
