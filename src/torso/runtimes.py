"""Runtimes: what computes a backbone's features from pixels, with preprocessing and pooling in its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from torso.artifact.reference_outputs import features_for, reference_images
from torso.contracts.export_format import FLOAT32_BOUND
from torso.contracts.preprocessing import Preprocessing
from torso.errors import UnknownNameError, did_you_mean, known
from torso.export.compare import errors_of, require_finite, require_near
from torso.modeling.preprocess_layer import preprocessing_layer

if TYPE_CHECKING:
    from torso.backbone import Backbone

Compute = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Runtime:
    """Computes features: ``run(pixels)`` takes ``(N, H, W, C)`` of 0 to 255, and returns an array for each feature's name.

    Attributes:
        name: Of the runtime.
        error: How far its features are from those of Keras, relative to the largest value; measured when it was made.
    """

    def __init__(self, name: str, compute: Compute, error: float) -> None:
        self.name, self._compute, self.error = name, compute, error

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(values) for name, values in self._compute(np.asarray(pixels, "float32")).items()}


def open_runtime(backbone: Backbone, name: str, pool: str | None) -> Runtime:
    """What :meth:`torso.Backbone.runtime` returns."""
    makers = {"keras": by_keras, "tensorflow": by_tensorflow}
    if name not in makers:
        raise UnknownNameError(f"unknown runtime {name!r}", notes=[*did_you_mean(name, makers), known(makers)])
    model = _whole_model(backbone, pool)
    compute, names = makers[name](model), backbone.record.feature_names
    images = reference_images(*backbone.record.plan["input_shape"]).astype("float32")
    expected = features_for(model, images, names)
    require_finite(expected)
    errors = errors_of(expected, compute(images), f"runtime {name!r}")
    require_near(errors, FLOAT32_BOUND, f"runtime {name!r}")
    return Runtime(name, compute, max(errors.values()))


def by_keras(model: keras.Model) -> Compute:
    return lambda pixels: {name: values.numpy() for name, values in model(pixels, training=False).items()}


def by_tensorflow(model: keras.Model) -> Compute:
    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, "float32")], autograph=False)
    def features(pixels: Any) -> Any:
        # Constants of this very graph: so TensorFlow folds normalisation into the kernels beside it.
        trains = [tf.constant(one.numpy()) for one in model.trainable_variables]
        rests = [tf.constant(one.numpy()) for one in model.non_trainable_variables]
        return model.stateless_call(trains, rests, pixels, training=False)[0]

    return lambda pixels: {name: values.numpy() for name, values in features(tf.constant(pixels)).items()}


def _whole_model(backbone: Backbone, pool: str | None) -> keras.Model:
    """The model from pixels to pooled features by name."""
    record = backbone.record
    pixels = keras.Input(record.plan["input_shape"], name="pixels", dtype="float32")
    numbers = Preprocessing() if record.preprocessing_included else record.preprocessing
    outputs = backbone.model(preprocessing_layer(numbers, pixels.shape[-1])(pixels), training=False)
    if not isinstance(outputs, dict):
        outputs = dict(zip(record.feature_names, keras.tree.flatten(outputs), strict=True))
    if pool:
        reduce = {"avg": keras.ops.mean, "max": keras.ops.max}[pool]
        outputs = {name: reduce(one, (1, 2)) if len(one.shape) == 4 else one for name, one in outputs.items()}
    return keras.Model(pixels, outputs)
