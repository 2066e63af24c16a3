"""``get_base_model``: a plain Keras model in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from torso.api import create_backbone
from torso.errors import OptionError, Place
from torso.planning.keywords import FIRST_TAG

if TYPE_CHECKING:
    import keras

_preprocessing: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # of the models that get_base_model returned


def get_base_model(
    network: str,
    alpha: float | None = None,
    training_layer: str | None = None,
    pop_layers: int = 0,
    *,
    input_shape: Sequence[int | None] | None = None,
    weights: str | Mapping[str, Any] | None = FIRST_TAG,
    pooling: Literal["avg", "max"] | None = None,
    **others: Any,
) -> keras.Model:
    """Return a frozen Keras model without its head, in one call.

    It takes preprocessed images ``(N, H, W, C)``: ``model(torso.preprocess_for(model)(pixels))``.

    Args:
        network: Name of the architecture.
        alpha: Width multiplier, for the architectures that have one; None for their default.
        training_layer: Name of the last layer kept; None for no such cut.
        pop_layers: How many nodes to remove from the end.
        input_shape: Height, width and channels.
        weights: A tag, or ``{"file": PATH}``; None for random initialisation.
        pooling: ``"avg"`` or ``"max"``, for vectors ``(N, channels)``.
        **others: As for :func:`create_backbone`, except ``truncate``, which training_layer and pop_layers set.

    Raises:
        OptionError: Both cuts are asked for.
        TorsoError: Something else is wrong, as for :func:`create_backbone`.
    """
    if training_layer is not None and pop_layers:
        raise OptionError(f"training_layer {training_layer!r} and pop_layers {pop_layers} are two cuts: give one of them")
    if "truncate" in others:
        notes = [("fix", "write training_layer or pop_layers, or call create_backbone(…).model")]
        raise OptionError("get_base_model has no truncate", place=Place("$.truncate"), notes=notes)
    if alpha is not None:
        others["alpha"] = alpha
    cut = {"layer": training_layer} if training_layer is not None else {"pop": pop_layers} if pop_layers else None
    backbone = create_backbone(network, input_shape=input_shape, weights=weights, pooling=pooling, truncate=cut, **others)
    _preprocessing[backbone.model] = backbone.preprocess
    return backbone.model


def preprocess_for(model: keras.Model) -> keras.Model:
    """The layer from RGB pixels of 0 to 255, ``(N, H, W, C)``, to what a model of :func:`get_base_model` takes.

    Raises:
        OptionError: The model is another one; of a backbone, ``backbone.preprocess`` is that layer.
    """
    if model not in _preprocessing:
        notes = [("fix", "torso.create_backbone(…) and torso.load(…) give a backbone with its preprocess")]
        raise OptionError(f"the model {getattr(model, 'name', model)!r} is not of get_base_model", notes=notes)
    return _preprocessing[model]
