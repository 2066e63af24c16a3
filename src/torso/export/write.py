"""Write a model for another runtime, run what was written in a process of its own, and put it on record."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from torso.artifact.manifest import Manifest, as_json, plugin_records, version_of, versions
from torso.artifact.reference_outputs import digest_of, features_for
from torso.contracts.export_format import INPUT, SIGNATURE, ExportFormat
from torso.errors import DiskError, PluginError
from torso.export.compare import errors_of, require_finite, require_near, require_weights
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
    """Fill an empty folder with a model in another format, and with a record of it.

    Args:
        model: What is written.
        manifest: How it was made.
        chosen: The format.
        stage: The folder.
        images: ``(N, H, W, C)`` as the model expects them, to compare the two on.
        bound: How far a feature may be off, relative to its largest value.
        progress: Told of each step in a few words.

    Raises:
        PluginError: The format's functions fail, or the network cannot be drawn as a graph of TensorFlow.
        IntegrityError: The files hold too little, or give other features; or the model's cannot be compared with any.
        DiskError: The disk is full; an ``OSError`` passes.
    """
    form, written = chosen.value, f"what export format {chosen.name!r} wrote"
    names = manifest.feature_names
    with keras.device("cpu:0"):  # where the files are run too: an accelerator may compute in lower precision
        expected = features_for(model, images, names)
    require_finite(expected)
    with scratch_directory() as scratch:
        progress("writing a SavedModel")
        save_for_inference(model, names, scratch / "saved_model")
        progress(f"converting to {form.name}")
        with plugin_errors(chosen.plugin, f"the writer of export format {chosen.qualified!r}"):
            call(form.write, scratch / "saved_model", stage)
    if os.path.lexists(stage / NAME):
        raise PluginError(
            f"export format {chosen.name!r} wrote {NAME}, which is torso's to write", notes=[("plugin", str(chosen.plugin))]
        )
    require_weights(model, stage, written)
    progress(f"comparing {form.name} with Keras")
    with plugin_errors(chosen.plugin, f"running {written}"):
        found = call(form.run, stage, images=images)
    errors = errors_of(expected, found, written)
    require_near(errors, bound, written)
    about = {"images": len(images), "sha256": digest_of(images), "bound": bound}
    write_record({**_described(model, manifest, chosen, errors), "compared": about}, stage)


def save_for_inference(model: keras.Model, names: Sequence[str], folder: Path) -> None:
    """Write a SavedModel that computes features by their names, as the model does outside of training.

    Raises:
        PluginError: The network can be called, and cannot be drawn as a graph of TensorFlow.
        DiskError: It could not be written.
    """

    def features(images: Any) -> Mapping[str, Any]:
        given = model(images, training=False)
        return given if isinstance(given, dict) else dict(zip(names, tf.nest.flatten(given), strict=True))

    images = tf.TensorSpec(model.input_shape, model.input.dtype, name=INPUT)
    function = tf.function(features, input_signature=[images], autograph=False)
    try:
        with ThreadPoolExecutor(1) as own:  # Keras leaves its name scopes behind in a thread where drawing fails
            signature = own.submit(function.get_concrete_function).result()
    except Exception as error:  # whatever a layer raises that can be called, and cannot be drawn
        fact = "the network computes, but TensorFlow cannot draw the graph of it that every export begins from"
        raise PluginError(fact, notes=[("cause", _cause(error))]) from error
    holder = tf.Module()
    holder.weights = [weight.value for weight in model.weights]  # alone: Keras' layers would be written down one by one
    try:
        tf.saved_model.save(holder, str(folder), signatures={SIGNATURE: signature})
    except tf.errors.OpError as error:  # it is drawn by now: only the disk is left to fail
        raise DiskError(f"{str(folder)!r} could not be written", notes=[("cause", str(error).split("\n")[0])]) from error


def _cause(error: Exception) -> str:
    """What is wrong, without the words and the bold type that Keras puts around it."""
    lines = [line for line in re.sub("\x1b\\[[0-9]*m", "", str(error)).split("\n") if line.strip()]
    return next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)


def _described(
    model: keras.Model, manifest: Manifest, chosen: Contribution[ExportFormat], errors: Mapping[str, float]
) -> dict[str, Any]:
    """What the files are, what they were made of, and what goes in and comes out."""
    return {
        "format": chosen.qualified,
        "plugin": as_json(plugin_records([chosen.plugin])[0]),
        "backbone": {
            "name": manifest.name,
            "architecture": manifest.plan["architecture"],
            "manifest": manifest.digest(),
        },
        "made_with": {**versions(), **_versions_of(chosen.value.needs)},
        "input": _input(model, manifest),
        "outputs": [{**as_json(one), "shape": [None, *one.shape], "error": errors[one.name]} for one in manifest.features],
        "training": "none: it computes features as outside of training, and what is frozen is not said in it",
    }


def _input(model: keras.Model, manifest: Manifest) -> dict[str, Any]:
    """What goes in, and what must have been done to it."""
    needed, numbers = manifest.preprocessing, as_json(manifest.preprocessing)
    inside = manifest.preprocessing_included or needed.built_in
    channels = model.input_shape[-1]
    return {
        "name": INPUT,
        "shape": list(model.input_shape),
        "dtype": model.input.dtype,
        "expects": f"{'RGB ' if channels == 3 else ''}pixels of {'0..255' if inside else needed}",
        "preprocessing": None if inside else {name: numbers[name] for name in ("order", "divide", "mean", "std")},
    }


def _versions_of(modules: Sequence[str]) -> dict[str, str | None]:
    """The versions of what the modules come from; one may come from any of several distributions."""
    distributions = packages_distributions()
    return {name: version_of(name) for module in modules for name in distributions.get(module, [module])}
