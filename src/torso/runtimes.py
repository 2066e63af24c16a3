"""Runtimes: what computes a backbone's features from pixels, with preprocessing and pooling in its graph."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
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
from torso.export.write import errors_within, save_for_inference, traced
from torso.files.atomic import scratch_directory
from torso.modeling.input_checks import check_pixels, require_form
from torso.modeling.preprocess_layer import preprocessing_layer
from torso.plugins.calling import plugin_errors
from torso.tables import format_bytes

if TYPE_CHECKING:
    from torso.backbone import Backbone
    from torso.plugins.registry import Contribution, Registry

Compute = Callable[[np.ndarray], Mapping[str, Any]]  # Any: tensors or arrays

REDUCE: Final = {"avg": keras.ops.mean, "max": keras.ops.max}
LARGEST: Final = 2**31  # bytes that one graph of TensorFlow can hold


class Runtime:
    """Computes features: ``run(pixels)`` takes ``(N, H, W, C)`` of 0 to 255, and returns an array for each feature's name.

    Attributes:
        name: Of the runtime.
        precision: Of its numbers.
        error: How far its features are from those of Keras, relative to the largest value; measured when it was made.
        cosine: The mean cosine of the angle between its features and those of Keras.
    """

    def __init__(self, name: str, precision: str, model: keras.Model, compute: Compute, error: float, cosine: float) -> None:
        self.name, self.precision, self.error, self.cosine = name, precision, error, cosine
        self._names, self._shape, self._compute, self._looked = [*model.output], model.input_shape, compute, False

    def __call__(self, pixels: Any) -> dict[str, np.ndarray]:
        """The features, float32; OptionError for images of another form, or which begin with NaN."""
        images = np.asarray(pixels)
        require_form(images, self._shape[-1])
        # What is converted would take another size in silence, or end the process.
        if not len(images) or any(side not in (None, found) for side, found in zip(self._shape, images.shape, strict=True)):
            sides = ", ".join("any" if side is None else str(side) for side in self._shape[1:])
            fix = ("fix", "at least one image, and of that size: backbone.transform(images)")
            raise OptionError(f"images must be (N, {sides}), not {images.shape}", notes=[fix])
        if not self._looked:
            self._looked = check_pixels(images[:1], stacklevel=3)
        found = self._compute(images.astype("float32", copy=False))
        return {name: found[name] for name in self._names}

    def __repr__(self) -> str:
        return f"<Runtime {self.name!r}, {self.precision}: off by {self.error:.1e} from Keras, cosine {self.cosine:.6f}>"


def open_runtime(
    backbone: Backbone,
    name: str,
    pool: str | None,
    threads: int | None,
    precision: str,
    registry: Registry,
    images: np.ndarray | None = None,
) -> Runtime:
    """What :meth:`torso.Backbone.runtime` returns, compared on these images."""
    form = None if name in OWN else _format(name, registry)
    precisions = form.value.precisions if form else ("float32",)
    if precision not in precisions:
        others = [one.name for one in registry.export_formats if precision in one.value.precisions]
        notes = [("fix", f"runtime {' or '.join(map(repr, others))}")] if others else []
        raise OptionError(f"runtime {name!r} computes in {' or '.join(precisions)}, not in {precision!r}", notes=notes)
    if pool not in (None, *REDUCE):
        raise OptionError(f"pool must be None, 'avg' or 'max', not {pool!r}")
    model, names = whole_model(backbone, pool), backbone.record.feature_names
    pixels = reference_images(*backbone.record.plan["input_shape"]) if images is None else images
    pixels = pixels.astype("float32", copy=False)
    expected = features_for(model, pixels, names)
    with _errors_of(form):
        given = _converted(model, form.value, threads, precision) if form else OWN[name](model)

    def compute(pixels: np.ndarray) -> dict[str, np.ndarray]:
        with _errors_of(form):
            return {str(one): np.asarray(values, "float32") for one, values in given(pixels).items()}

    found = compute(pixels)
    # A lower precision is asked for, so it may be far off; it may not be infinite.
    bound = sys.float_info.max if precision != "float32" else form.value.bound if form else FLOAT32_BOUND
    fix = "another runtime; on a GPU, tf.config.experimental.enable_tensor_float_32_execution(False)"
    errors = errors_within(bound, expected, found, f"runtime {name!r}", fix)
    return Runtime(name, precision, model, compute, max(errors.values()), _mean_cosine(expected, found))


def _format(name: str, registry: Registry) -> Contribution[ExportFormat]:
    """The export format of a name, which is installed."""
    try:
        form = registry.export_formats.resolve(name)
    except UnknownNameError as error:
        names = [*OWN, *(one.name for one in registry.export_formats)]
        notes = [*did_you_mean(name, names), known(names), *(info.note for info in registry.plugins.absent)]
        raise UnknownNameError(f"unknown runtime {name!r}", notes=notes) from error
    require_installed(form.value)
    return form


def _errors_of(form: Contribution[ExportFormat] | None) -> AbstractContextManager[None]:
    return plugin_errors(form.plugin, f"runtime {form.name!r}") if form else nullcontext()


def by_keras(model: keras.Model) -> Compute:
    return lambda pixels: model(pixels, training=False)


def by_tensorflow(model: keras.Model) -> Compute:
    weights = [[np.asarray(one) for one in some] for some in (model.trainable_variables, model.non_trainable_variables)]
    if (size := sum(one.nbytes for some in weights for one in some)) >= LARGEST:
        fact = f"runtime 'tensorflow' holds less than {format_bytes(LARGEST)} of weights, and these are {format_bytes(size)}"
        raise OptionError(fact, notes=[("fix", "runtime 'keras' or 'saved_model'")])

    def features(pixels: Any) -> Any:
        # Constants of this very graph: so TensorFlow folds normalisation into the kernels beside it.
        constants = ([*map(tf.constant, some)] for some in weights)
        return model.stateless_call(*constants, pixels, training=False)[0]

    given = traced(features, model)
    return lambda pixels: given(tf.constant(pixels))


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
    flat = [(one.reshape(len(one), -1), found[name].reshape(len(one), -1)) for name, one in expected.items()]
    return -float(np.mean([keras.losses.cosine_similarity(*pair) for pair in flat]))


def whole_model(backbone: Backbone, pool: str | None) -> keras.Model:
    """The model from pixels to pooled features by name."""
    record = backbone.record
    pixels = keras.Input(record.plan["input_shape"], dtype="float32")
    numbers = Preprocessing() if record.preprocessing_included else record.preprocessing
    outputs = backbone.model(preprocessing_layer(numbers, pixels.shape[-1])(pixels), training=False)
    if not isinstance(outputs, dict):
        outputs = dict(zip(record.feature_names, keras.tree.flatten(outputs), strict=True))
    if pool:
        outputs = {name: REDUCE[pool](one, (1, 2)) if len(one.shape) == 4 else one for name, one in outputs.items()}
    return keras.Model(pixels, outputs)
