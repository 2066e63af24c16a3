"""Write a model for another runtime, run the files in a process of their own, and record how near they are."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from torso.artifact.documents import digest_of as digest_of_document
from torso.artifact.manifest import Manifest, as_json, plugin_records, version_of, versions
from torso.artifact.reference_outputs import Features, digest_of, error_of, features_for
from torso.contracts.export_format import INPUT, SIGNATURE, ExportFormat
from torso.errors import DiskError, IntegrityError, PluginError, known
from torso.export.isolated import call
from torso.export.record import NAME, write_record
from torso.files.atomic import scratch_directory
from torso.plugins.calling import plugin_errors
from torso.plugins.registry import Contribution


def write_export(
    model: keras.Model,
    manifest: Manifest,
    chosen: Contribution[ExportFormat],
    stage: Path,
    *,
    images: np.ndarray,
    bound: float,
    progress: Callable[[str], None] = lambda step: None,
) -> None:
    """Fill the empty folder ``stage`` with a model in a format, and with a record.

    The two are compared on ``images``, ``(N, H, W, C)`` as the model expects them. A feature may be off by ``bound``,
    relative to its largest value.
    """
    form, written, names = chosen.value, f"what export format {chosen.name!r} wrote", manifest.feature_names
    expected = features_for(model, images, names)  # on the CPU, where the files are run too
    with scratch_directory() as scratch:
        progress("writing a SavedModel")
        save_for_inference(model, names, scratch / "saved_model")
        progress(f"converting to {form.name}")
        with plugin_errors(chosen.plugin, f"the writer of export format {chosen.qualified!r}"):
            call(form.write, scratch / "saved_model", stage)
            if (stage / NAME).exists():
                raise PluginError(f"export format {chosen.name!r} wrote {NAME}, which is torso's to write")
    progress(f"comparing {form.name} with Keras")
    with plugin_errors(chosen.plugin, f"running {written}"):
        found = call(form.open, stage, None, images=images)
    fix = "another format; or a larger bound with --bound (Python: bound=), where that is good enough"
    errors = errors_within(bound, expected, found, written, fix)
    compared = {"images": len(images), "sha256": digest_of(images), "bound": bound}
    write_record({**_described(model, manifest, chosen, errors), "compared": compared}, stage)


def save_for_inference(model: keras.Model, names: Sequence[str], folder: Path) -> None:
    """Write a SavedModel that computes the features by their names, as the model does outside of training."""

    def features(images: Any) -> Mapping[str, Any]:
        given = model(images, training=False)
        return given if isinstance(given, dict) else dict(zip(names, tf.nest.flatten(given), strict=True))

    signature = traced(features, model)
    holder = tf.Module()
    holder.weights = [weight.value for weight in model.weights]  # without Keras' layers, each of which would be written too
    try:
        tf.saved_model.save(holder, str(folder), signatures={SIGNATURE: signature})
    except tf.errors.OpError as error:  # it is traced by now: only the disk is left to fail
        raise DiskError(f"{str(folder)!r} could not be written", notes=[("cause", str(error).split("\n")[0])]) from error


def traced(features: Callable[[Any], Any], model: keras.Model) -> Any:  # Any: tensors, and a function of TensorFlow
    """A function of the images of a model, any number of them, as a graph of TensorFlow."""
    images = tf.TensorSpec(model.input_shape, model.input.dtype, name=INPUT)
    function = tf.function(features, input_signature=[images], autograph=False)
    try:
        with ThreadPoolExecutor(1) as own:  # where tracing fails, Keras leaves its name scopes in the thread
            return own.submit(function.get_concrete_function).result()
    except Exception as error:  # a layer may raise anything
        lines = [line for line in re.sub("\x1b\\[[0-9]*m", "", str(error)).split("\n") if line.strip()]  # Keras writes bold
        cause = next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)
        fact = "the network computes, but TensorFlow cannot draw the graph of it that exports and runtimes begin from"
        raise PluginError(fact, notes=[("cause", cause)]) from error


def _described(
    model: keras.Model, manifest: Manifest, chosen: Contribution[ExportFormat], errors: Mapping[str, float]
) -> dict[str, Any]:
    """What the files are, what they were made of, and what goes in and comes out."""
    modules, numbers = chosen.value.needs, manifest.preprocessing
    distributions = packages_distributions() if modules else {}  # reads the list of files of all that is installed
    needs = [name for module in modules for name in distributions.get(module, [module])]
    inside = manifest.preprocessing_included or numbers.built_in
    pixels = f"{'RGB ' if model.input_shape[-1] == 3 else ''}pixels of {'0..255' if inside else numbers}"
    return {
        "format": chosen.qualified,
        "plugin": as_json(plugin_records([chosen.plugin])[0]),
        "backbone": {
            "name": manifest.name,
            "architecture": manifest.plan["architecture"],
            "manifest": digest_of_document(manifest.to_json()),
        },
        "made_with": {**versions(), **{name: version_of(name) for name in needs}},
        "input": {
            "name": INPUT,
            "shape": list(model.input_shape),
            "dtype": model.input.dtype,
            "expects": pixels,
            "preprocessing": None if inside else {key: as_json(numbers)[key] for key in ("order", "divide", "mean", "std")},
        },
        "outputs": [{**as_json(one), "shape": [None, *one.shape], "error": errors[one.name]} for one in manifest.features],
        "training": "none: it computes features as outside of training, and what is frozen is not said in it",
    }


def errors_within(bound: float, expected: Features, found: Features, written: str, fix: str) -> dict[str, float]:
    """The largest error of each feature, by name, relative to its largest value; refused above the bound, and NaN."""
    errors = {}
    for name, values in expected.items():
        if not np.isfinite(values).all():
            fact = f"feature {name!r} of the Keras model has values that are NaN or infinite: nothing can be compared"
            raise IntegrityError(fact, notes=[("fix", "check the weights; or the images, if they are yours")])
        if name not in found:
            raise IntegrityError(f"{written} gives no feature {name!r}", notes=[known(map(repr, found))])
        if found[name].shape != values.shape:
            shapes = [("expected", str(values.shape)), ("found", str(found[name].shape))]
            raise IntegrityError(f"{written} gives feature {name!r} in another shape", notes=shapes)
        errors[name] = error_of(values, found[name])
    far = {
        name: f"off by {error:.1e} of its largest value, and {bound:g} is tolerated"
        if math.isfinite(error)
        else "with values that are NaN or infinite"
        for name, error in errors.items()
        if not error <= bound  # NaN is within no bound
    }
    if far:
        (first, by), *others = far.items()
        fact = f"{written} gives another feature {first!r} than the Keras model: {by}"
        raise IntegrityError(fact, notes=[*others, ("fix", fix)])
    return errors
