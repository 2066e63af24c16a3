"""Write a model to disk and read it back; say in a manifest how it was made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np

from torso.artifact.manifest import (
    MODEL,
    VERSION,
    Difference,
    Manifest,
    as_json,
    features_as_json,
    fingerprint,
    plugins_as_json,
    versions,
    with_hash,
    write_manifest,
)
from torso.artifact.reference_outputs import TOLERANCE, described, digest_of, probe_images, variable_hashes
from torso.artifact.reload_check import check_reload
from torso.errors import DiskError, IntegrityError, PluginError
from torso.graph import Graph
from torso.modeling.building import Trunk
from torso.modeling.freeze import report_of, restore
from torso.modeling.graph_reader import custom_classes, features_of, read_graph
from torso.modeling.variable_paths import variables_by_path
from torso.planning import Plan, preprocessing_for
from torso.weights_files import StoredWeights


def describe_trunk(trunk: Trunk, plan: Plan) -> Manifest:
    """The manifest of a backbone, but for the files that saving adds."""
    file = trunk.grown.weights_file
    return {
        "manifest": VERSION,
        "name": plan.name,
        "spec": plan.declared,
        "plan": plan.report(),
        "plugins": plugins_as_json((*plan.plugins, *trunk.transformed_by)),
        "made_with": versions(),
        "built": {"way": trunk.grown.way, "why": trunk.grown.why},
        "weights_file": file and _told(file, plan) | {"channels": trunk.grown.weights_channels},
        "graph": {
            "fingerprint": fingerprint(trunk.graph),
            "nodes": len(trunk.graph),
            "levels": dict(trunk.graph.levels),
        },
        "dropped": {"nodes": trunk.grown.dropped_nodes, "parameters": trunk.grown.dropped_parameters},
        "features": features_as_json(trunk.features),
        "frozen": as_json(trunk.frozen),
        "preprocessing": asdict(preprocessing_for(plan, trunk.grown.weights_channels)),
        "preprocessing_included": plan.include_preprocessing,
        "transform": asdict(plan.transform),
    }


def _told(file: StoredWeights, plan: Plan) -> dict[str, Any]:
    """What is known of a weights file without reading all of it; of a hash that was asked for, that it is the right one."""
    size = file.identity[2]
    return {"path": str(file.path), "bytes": size, "identity": file.identity, "sha256": plan.weights.request.get("sha256")}


def write_backbone(model: keras.Model, preprocess: keras.Model, manifest: Manifest, stage: Path) -> None:
    """Write model and manifest into an empty folder, and read the model back with plain Keras.

    Raises:
        PluginError: The model has layers of a class that plain Keras does not know.
        IntegrityError: Plain Keras reads another model back.
        DiskError: The disk is full; an ``OSError`` passes.
    """
    save_model(model, stage / MODEL)
    frozen = report_of(model)  # the flags may have changed since it was built
    pixels = probe_images(*manifest["plan"]["input_shape"])
    images = np.asarray(preprocess(pixels))
    names = [feature["name"] for feature in manifest["features"]]
    reloaded = check_reload(model, frozen, stage / MODEL, images, names)
    lost = [path for path in variables_by_path(model) if (path in reloaded.trains) != (path in frozen.trains)]
    write_manifest(
        {
            **manifest,
            "frozen": {**as_json(frozen), "lost_by_keras": lost},
            "variables": reloaded.variables,
            "weights_file": with_hash(manifest["weights_file"]),
            "probe": {
                "pixels": digest_of(pixels),
                "preprocessed": digest_of(images),
                "features": described(reloaded.features),
                "tolerance": TOLERANCE,
            },
        },
        stage,
    )


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as ``.keras``, without what it was compiled with: a loss of the user's own would not load elsewhere.

    Raises:
        PluginError: It has layers of a class that plain Keras does not know.
        DiskError: The disk is full; an ``OSError`` passes, for whoever staged the folder knows its final name.
    """
    foreign = sorted({kind.__name__ for kind in custom_classes(model).values()})
    if foreign:
        raise PluginError(
            f"the saved model would not load with plain Keras: it has layers of the class {', '.join(foreign)}",
            notes=[("fix", "build the network of Keras' own layers and ops")],
        )
    try:
        (keras.Model(model.input, model.output, name=model.name) if model.compiled else model).save(path)
    except RuntimeError as error:  # what HDF5 makes of a full disk
        raise DiskError(f"{path.name} could not be written", notes=[("cause", str(error).split("\n")[0])]) from error


def load_model(path: Path, manifest: Manifest) -> tuple[keras.Model, Graph]:
    """Read a model back.

    Raises:
        IntegrityError: It cannot be read, or its graph, features, values or freezing are not what the manifest says.
    """
    model, graph, wrong = read_model(path, manifest)
    if wrong:
        fact, saved, read = wrong[0]
        raise IntegrityError(
            f"{str(path)!r} is not what its manifest says",
            notes=[(f"{fact} expected", str(saved)), (f"{fact} found", str(read))],
        )
    return model, graph


def read_model(path: Path, manifest: Manifest) -> tuple[keras.Model, Graph, list[Difference]]:
    """Read a model back and freeze it as it was; tell where it is not what the manifest says.

    Raises:
        IntegrityError: It cannot be read.
    """
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the first layer that it cannot make raises
        raise IntegrityError(
            f"{str(path)!r} cannot be loaded", notes=[("cause", str(error).strip().split("\n")[0])]
        ) from error
    graph = read_graph(model, manifest["plan"]["architecture"].rsplit("/", 1)[-1], keep=_saved_names(path))
    graph = graph.knowing(manifest["graph"]["levels"])
    restore(model, manifest["frozen"])
    frozen = as_json(report_of(model))
    features = features_as_json(features_of(model, graph))
    if manifest["made_with"]["torso"] != versions()["torso"]:
        for feature, saved in zip(features, manifest["features"], strict=False):
            feature["stride"] = saved["stride"]  # another torso may know more strides, or fewer
    facts = [
        ("graph.input_shape", manifest["plan"]["input_shape"], list(model.input_shape[1:])),
        ("graph.nodes", manifest["graph"]["nodes"], len(graph)),
        ("graph.fingerprint", manifest["graph"]["fingerprint"], fingerprint(graph)),
        ("features", manifest["features"], features),
        *((f"frozen.{name}", manifest["frozen"][name], value) for name, value in frozen.items()),
    ]
    told, found = manifest["variables"], variable_hashes(model)
    facts += [(f"variables.{path}", told.get(path), found.get(path)) for path in dict.fromkeys([*told, *found])]
    return model, graph, [(fact, saved, is_now) for fact, saved, is_now in facts if saved != is_now]


def _saved_names(path: Path) -> list[str]:
    """The names of the layers and ops as they were saved: Keras gives some ops another name when it loads them."""
    with ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    return [str(entry["name"]) for entry in config["config"]["layers"]]
