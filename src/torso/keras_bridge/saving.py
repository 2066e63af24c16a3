"""Write a model to disk and read it back; say in a manifest how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras

from torso.errors import DiskError, IntegrityError, PluginError
from torso.files import hash_of
from torso.graph import Graph
from torso.keras_bridge.building import Trunk
from torso.keras_bridge.freeze import counts
from torso.keras_bridge.reading import custom_classes, features_of, read_graph
from torso.manifest import VERSION, Manifest, features_as_json, fingerprint
from torso.planning import Plan, preprocessing_for


def describe_trunk(trunk: Trunk, plan: Plan) -> Manifest:
    """The manifest of a backbone, but for the files that saving adds."""
    file = trunk.grown.weights_file
    return {
        "manifest": VERSION,
        "name": plan.name,
        "plan": plan.report(),
        "made_with": {name: version(name) for name in ("torso", "keras", "tensorflow", "h5py")},
        "built": {"way": trunk.grown.way, "why": trunk.grown.why},
        "weights_file": file and _told(file, plan) | {"channels": trunk.grown.weights_channels},
        "graph": {
            "fingerprint": fingerprint(trunk.graph),
            "nodes": len(trunk.graph),
            "levels": dict(trunk.graph.levels),
        },
        "dropped": {"nodes": trunk.grown.dropped_nodes, "parameters": trunk.grown.dropped_parameters},
        "features": features_as_json(trunk.features),
        "frozen": asdict(trunk.frozen),
        "preprocessing": asdict(preprocessing_for(plan, trunk.grown.weights_channels)),
    }


def _told(file: Path, plan: Plan) -> dict[str, Any]:
    """What is known of a weights file without reading all of it."""
    facts = file.stat()
    return {
        "path": str(file),
        "bytes": facts.st_size,
        "modified": facts.st_mtime_ns,  # in nanoseconds since 1970
        "sha256": plan.weights.request.get("sha256"),
    }


def with_hash(told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a manifest tells of its weights file, with the hash: of what was read, or None where it has changed since."""
    if told is None or told["sha256"]:
        return told
    file = Path(told["path"])
    try:
        facts = file.stat()
        same = (facts.st_size, facts.st_mtime_ns) == (told["bytes"], told["modified"])
        return {**told, "sha256": hash_of(file) if same else None}
    except OSError:
        return told


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as ``.keras``.

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
        model.save(path)
    except RuntimeError as error:  # what HDF5 makes of a full disk
        raise DiskError(f"{path.name} could not be written", notes=[("cause", str(error).split("\n")[0])]) from error


def load_model(path: Path, manifest: Manifest) -> tuple[keras.Model, Graph]:
    """Read a model back.

    Raises:
        IntegrityError: It cannot be read, or its graph, features or freezing are not what the manifest says.
    """
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the first layer that it cannot make raises
        raise IntegrityError(
            f"{str(path)!r} cannot be loaded", notes=[("cause", str(error).strip().split("\n")[0])]
        ) from error
    graph = read_graph(model, manifest["plan"]["architecture"].rsplit("/", 1)[-1], keep=_saved_names(path))
    graph = graph.knowing(manifest["graph"]["levels"])
    if fingerprint(graph) != manifest["graph"]["fingerprint"]:
        raise IntegrityError(
            f"{str(path)!r} has another graph than the one that was saved",
            notes=[
                ("nodes expected", str(manifest["graph"]["nodes"])),
                ("nodes found", str(len(graph))),
                ("cause", "their names, kinds, edges, shapes or numbers of parameters differ"),
            ],
        )
    features = features_as_json(features_of(model, graph))
    found = counts(model)
    for fact, saved, read in (
        ("features", manifest["features"], features),
        ("parameters that train", manifest["frozen"]["trainable"], found["trainable"]),
    ):
        if saved != read:
            raise IntegrityError(
                f"{str(path)!r} is not what its manifest says",
                notes=[(f"{fact} expected", str(saved)), (f"{fact} found", str(read))],
            )
    return model, graph


def _saved_names(path: Path) -> list[str]:
    """The names of the layers and ops as they were saved: Keras gives some ops another name when it loads them."""
    with ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    return [str(entry["name"]) for entry in config["config"]["layers"]]
