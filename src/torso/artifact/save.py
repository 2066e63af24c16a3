"""Describe a backbone that was built, and save it."""

import warnings
from dataclasses import fields, replace
from pathlib import Path

import keras
import numpy as np

from torso.artifact.custom_objects import custom_objects, names_in
from torso.artifact.documents import text_of
from torso.artifact.manifest import (
    GraphRecord,
    Manifest,
    ProbeRecord,
    SavedManifest,
    WeightsFileRecord,
    plugin_records,
    versions,
)
from torso.artifact.manifest_file import MODEL, NAME
from torso.artifact.reference_outputs import TOLERANCE, described, digest_of, has_changed, reference_images
from torso.artifact.reload_check import check_reload
from torso.errors import DiskError, FreezeWarning
from torso.files.hashing import hash_of
from torso.graph import Feature, FreezeReport
from torso.modeling.build import BuiltModel
from torso.modeling.draw import BRINGS_VALUES
from torso.modeling.freeze import disagreements, report_of
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import without_time
from torso.planning import Plan, preprocessing_for


def describe(plan: Plan, built: BuiltModel, features: tuple[Feature, ...], frozen: FreezeReport) -> Manifest:
    """The manifest of a backbone that was built."""
    has_changed(built.model)  # from here on
    return Manifest(
        name=plan.name,
        spec=plan.declared,
        plan=plan.report(),
        plugins=plugin_records((*plan.plugins, *built.transformed_by)),
        made_with=versions(),
        built={"way": built.mode, "why": built.why},
        weights_file=_weights_file(plan, built),
        graph=GraphRecord.of(built.graph),
        dropped={"nodes": built.dropped_nodes, "parameters": built.dropped_parameters},
        features=features,
        frozen=frozen,
        preprocessing=preprocessing_for(plan, built.weights_channels),
        preprocessing_included=plan.include_preprocessing,
        transform=plan.transform,
        layer_modules=plan.architecture.value.layers,
    )


def _weights_file(plan: Plan, built: BuiltModel) -> WeightsFileRecord | None:
    file, channels = built.weights_file, built.weights_channels
    if file is not None:
        given = plan.weights.request.get("sha256")
        sha256 = str(given) if given else None
        return WeightsFileRecord(
            path=str(file.path), bytes=file.identity[2], sha256=sha256, channels=channels, identity=file.identity
        )
    if built.why != BRINGS_VALUES:
        return None
    values = np.concatenate([np.ravel(np.asarray(one)).view("uint8") for one in built.model.weights])
    return WeightsFileRecord(path="builder", bytes=values.size, sha256=digest_of(values), channels=channels)


def write_backbone(model: keras.Model, preprocess: keras.Model, manifest: Manifest, stage: Path) -> None:
    """Write model and manifest into an empty folder, and read the model back with plain Keras."""
    path, custom = stage / MODEL, custom_objects(names_in(model.get_config()), manifest)
    _write_model(model, path)
    frozen = report_of(model)  # the flags may have changed since it was built
    pixels = reference_images(*manifest.plan["input_shape"])
    images = np.asarray(preprocess(pixels))
    features, hashes, trains = check_reload(model, frozen, path, images, manifest.feature_names)
    lost = tuple(name for name in hashes if (name in trains) != (name in frozen.trains))
    record = replace(frozen, lost_by_keras=lost)
    for line in filter(None, [*disagreements(model), record.lost_flags]):
        warnings.warn(line, FreezeWarning, stacklevel=3)
    weights = manifest.plan["weights"] | ({"changed_since": True} if has_changed(model) else {})
    facts = {one.name: getattr(manifest, one.name) for one in fields(Manifest)} | {  # it may be a SavedManifest
        "plan": {**manifest.plan, "weights": weights},
        "weights_file": manifest.weights_file and manifest.weights_file.hashed(),
        "graph": GraphRecord.of(read_graph(model, manifest.name).knowing(manifest.graph.levels)),  # rates are 0 by now
        "frozen": record,
    }
    saved = SavedManifest(
        **facts,
        variables=hashes,
        probe=ProbeRecord(
            pixels=digest_of(pixels),
            preprocessed=digest_of(images),
            features={name: described(values) for name, values in features.items()},
            tolerance=TOLERANCE,
        ),
        custom_objects=custom,
        files={MODEL: {"bytes": path.stat().st_size, "sha256": hash_of(path)}},
    )
    (stage / NAME).write_text(text_of(saved.to_json()), encoding="utf-8")


def _write_model(model: keras.Model, path: Path) -> None:
    """Write a model as ``.keras``, without what it was compiled with: a loss of the user's own would not load elsewhere."""
    try:
        with without_time():
            (keras.Model(model.input, model.output, name=model.name) if model.compiled else model).save(path)
    except RuntimeError as error:  # what HDF5 makes of a full disk
        raise DiskError(f"{path.name} could not be written", notes=[("cause", str(error).split("\n")[0])]) from error
