"""Build the architectures of ``keras.applications`` without their heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from torso.specs.options import Value


def build(
    *, constructor: str, input_shape: tuple[int | None, int | None, int], weights: str | None = None, **options: Value
) -> keras.Model:
    """Build the headless graph of one constructor of Keras; torso lets no builder download or load anything.

    Args:
        constructor: Its name in ``keras.applications``.
        input_shape: Height and width in pixels, None and None for images of any size, and number of channels.
        weights: Tag of the weights that the graph is drawn for, where the constructor draws another one with weights
            than without: EfficientNetB0 to B7 divide the pixels once more (keras/src/applications/efficientnet.py).
        options: Passed on to the constructor.

    Returns:
        Functional model from images ``(N, H, W, C)`` to features.
    """
    import keras

    if input_shape[2] != 3:
        weights = None  # Keras draws the graph of the weights for three channels only
    model: keras.Model = getattr(keras.applications, constructor)(
        input_shape=input_shape, include_top=False, weights=weights, **options
    )
    return model
