"""Load a saved model and compare it with its manifest."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import keras

from torso.artifact.differences import differences
from torso.artifact.manifest import Difference, GraphRecord, Manifest, SavedManifest, as_json, versions
from torso.artifact.reference_outputs import has_changed, hashes_of, weights_by_path
from torso.errors import FreezeWarning, IntegrityError
from torso.graph import Graph
from torso.modeling.freeze import copy_rates, report_of, restore
from torso.modeling.functional import restore_names
from torso.modeling.graph_reader import features_of, read_graph
from torso.modeling.preprocess_layer import preprocessing_from


def load_model(path: Path, manifest: SavedManifest) -> tuple[keras.Model, Graph]:
    """Load a model, frozen as it was, and refuse one that is not what the manifest says."""
    model, graph, wrong = load_and_compare(path, manifest)
    if wrong:
        fact, expected, found = wrong[0]
        notes = [(f"{fact} expected", str(expected)), (f"{fact} found", str(found))]
        raise IntegrityError(f"{str(path)!r} does not match its manifest", notes=notes)
    return model, graph


def preprocess_layer_of(manifest: Manifest) -> keras.Model:
    channels, included = manifest.plan["input_shape"][2], manifest.preprocessing_included
    return preprocessing_from(manifest.preprocessing, channels, manifest.name, included=included)


def record_in(model: keras.Model, saved: keras.Model, record: Manifest) -> Manifest:
    """The record of a saved backbone for its layers in a classifier; flags that only Keras has lost are set again."""
    copy_rates(saved, model)
    frozen, lost = report_of(saved), record.frozen.lost_by_keras
    if {*frozen.trains} ^ {*report_of(model).trains} <= {*(lost or ())}:
        restore(model, as_json(frozen))
    elif lost or lost is None:  # None: it was not saved, so what Keras loses is not known
        what = record.frozen.lost_flags.split(":")[0] or f"the classifier trains other variables than {record.name!r}"
        warnings.warn(f"{what}: set what trains, with freeze or unfreeze", FreezeWarning, stacklevel=3)
    same = hashes_of(weights_by_path(model)) == hashes_of(weights_by_path(saved))
    weights = record.plan["weights"] | ({} if same else {"changed_since": True})
    return replace(record, frozen=report_of(model), plan={**record.plan, "weights": weights})


def load_and_compare(path: Path, manifest: SavedManifest) -> tuple[keras.Model, Graph, list[Difference]]:
    """Load a model, frozen as it was, and list where it is not what the manifest says."""
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the first layer that it cannot make raises
        cause = str(error).strip().split("\n")[0]
        raise IntegrityError(f"{str(path)!r} cannot be loaded", notes=[("cause", cause)]) from error
    with ZipFile(path) as archive:
        restore_names(model, json.loads(archive.read("config.json"))["config"])
    graph = read_graph(model, manifest.plan["architecture"].rsplit("/", 1)[-1]).knowing(manifest.graph.levels)
    saved, found = manifest.to_json(), GraphRecord.of(graph)
    restore(model, saved["frozen"])
    has_changed(model)  # from here on
    frozen, hashes = as_json(report_of(model)), hashes_of(weights_by_path(model))
    features = [as_json(feature) for feature in features_of(model, graph)]
    if manifest.made_with["torso"] != versions()["torso"]:
        for feature, then in zip(features, saved["features"], strict=False):
            feature["stride"] = then["stride"]  # another torso may know more strides, or fewer
    facts = [
        ("graph.input_shape", manifest.plan["input_shape"], list(model.input_shape[1:])),
        *differences({"graph": {"layers": saved["graph"]["layers"]}}, {"graph": {"layers": found.layers}}),
        ("graph.nodes", manifest.graph.nodes, found.nodes),
        ("graph.fingerprint", manifest.graph.fingerprint, found.fingerprint),
        ("features", saved["features"], features),
        *((f"frozen.{name}", saved["frozen"][name], value) for name, value in frozen.items() if name != "lost_by_keras"),
    ]
    for name in dict.fromkeys([*manifest.variables, *hashes]):
        facts.append((f"variables.{name}", manifest.variables.get(name), hashes.get(name)))
    return model, graph, [(fact, expected, now) for fact, expected, now in facts if expected != now]
