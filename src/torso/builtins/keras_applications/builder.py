"""Build the architectures of ``keras.applications`` without their heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from torso.specs.options import Value


def build(
    *, constructor: str, input_shape: tuple[int | None, int | None, int], weights: str | None = None, **options: Value
) -> keras.Model:
    """Build the headless network of a constructor in ``keras.applications``; ``options`` are passed on to it.

    ``weights`` is the tag that the network is built for: EfficientNetB0 to B7 divide the pixels once more with weights than
    without (keras/src/applications/efficientnet.py). torso lets no builder download or load anything.
    """
    import keras

    if input_shape[2] != 3:
        weights = None  # Keras draws the graph of the weights for three channels only
    model: keras.Model = getattr(keras.applications, constructor)(
        input_shape=input_shape, include_top=False, weights=weights, **options
    )
    return model
