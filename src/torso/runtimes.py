"""Runtimes: what computes a backbone's features from pixels, with preprocessing and pooling in its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from torso.artifact.reference_outputs import Features, features_for, reference_images
from torso.contracts.export_format import FLOAT32_BOUND, ExportFormat, require_installed
from torso.contracts.preprocessing import Preprocessing
from torso.errors import OptionError, UnknownNameError, did_you_mean, known
from torso.export.isolated import call
from torso.export.write import errors_within, save_for_inference
from torso.files.atomic import scratch_directory
from torso.modeling.preprocess_layer import preprocessing_layer
from torso.plugins.calling import plugin_errors

if TYPE_CHECKING:
    from torso.backbone import Backbone
    from torso.plugins.registry import Registry

Compute = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Runtime:
    """Computes features: ``run(pixels)`` takes ``(N, H, W, C)`` of 0 to 255, and returns an array for each feature's name.

    Attributes:
        name: Of the runtime.
        precision: Of its numbers.
        error: How far its features are from those of Keras, relative to the largest value; measured when it was made.
        cosine: The mean cosine of the angle between its features and those of Keras.
    """

    def __init__(self, name: str, precision: str, compute: Compute, error: float, cosine: float) -> None:
        self.name, self.precision, self._compute, self.error, self.cosine = name, precision, compute, error, cosine

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(values) for name, values in self._compute(np.asarray(pixels, "float32")).items()}

    def __repr__(self) -> str:
        return f"<Runtime {self.name!r}, {self.precision}: off by {self.error:.1e} from Keras, cosine {self.cosine:.6f}>"


def open_runtime(
    backbone: Backbone, name: str, pool: str | None, threads: int | None, precision: str, registry: Registry
) -> Runtime:
    """What :meth:`torso.Backbone.runtime` returns."""
    formats = registry.export_formats
    if name not in OWN and not formats.search(name):
        names = [*OWN, *(one.name for one in formats)]
        raise UnknownNameError(f"unknown runtime {name!r}", notes=[*did_you_mean(name, names), known(names)])
    form = None if name in OWN else formats.resolve(name)
    precisions = form.value.precisions if form else ("float32",)
    if precision not in precisions:
        raise OptionError(f"runtime {name!r} computes in {' or '.join(precisions)}, not in {precision!r}")
    if form:
        require_installed(form.value)
    model, names = _whole_model(backbone, pool), backbone.record.feature_names
    images = reference_images(*backbone.record.plan["input_shape"]).astype("float32")
    with plugin_errors(form.plugin, f"runtime {name!r}") if form else nullcontext():
        compute = _converted(model, form.value, threads, precision) if form else OWN[name](model)
        found = {one: np.asarray(values, "float32") for one, values in compute(images).items()}
    expected = features_for(model, images, names)
    bound = math.inf if precision != "float32" else form.value.bound if form else FLOAT32_BOUND
    errors = errors_within(bound, expected, found, f"runtime {name!r}")
    return Runtime(name, precision, compute, max(errors.values()), _mean_cosine(expected, found))


def by_keras(model: keras.Model) -> Compute:
    return lambda pixels: {name: values.numpy() for name, values in model(pixels, training=False).items()}


def by_tensorflow(model: keras.Model) -> Compute:
    trains, rests = ([one.numpy() for one in some] for some in (model.trainable_variables, model.non_trainable_variables))

    def features(pixels: Any) -> Any:
        # Constants of this very graph: so TensorFlow folds normalisation into the kernels beside it.
        constants = ([*map(tf.constant, some)] for some in (trains, rests))
        return model.stateless_call(*constants, pixels, training=False)[0]

    given = tf.function(features, autograph=False).get_concrete_function(tf.TensorSpec(model.input_shape, "float32"))
    return lambda pixels: {name: values.numpy() for name, values in given(tf.constant(pixels)).items()}


OWN: Final = {"tensorflow": by_tensorflow, "keras": by_keras}  # runtimes that need no files


def _converted(model: keras.Model, form: ExportFormat, threads: int | None, precision: str) -> Compute:
    """Convert a model in another process, and open what was written in this one."""
    with scratch_directory() as scratch:
        files = scratch / "files"
        files.mkdir()
        save_for_inference(model, [*model.output], scratch / "saved_model")
        call(form.write, scratch / "saved_model", files)
        module, _, function = form.open.partition(":")
        chosen = [precision] if len(form.precisions) > 1 else []
        compute: Compute = getattr(import_module(module), function)(files, threads, *chosen)
        return compute


def _mean_cosine(expected: Features, found: Features) -> float:
    pairs = [(one.reshape(len(one), -1), found[name].reshape(len(one), -1)) for name, one in expected.items()]
    norms = [np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1) for one, other in pairs]
    cosines = [(one * other).sum(1) / np.maximum(norm, 1e-30) for (one, other), norm in zip(pairs, norms, strict=True)]
    return float(np.mean(cosines))


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
