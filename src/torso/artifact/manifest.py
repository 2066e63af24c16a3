"""The manifest of a backbone: how it was made, and what must be true of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from torso.artifact.documents import digest_of
from torso.contracts.preprocessing import Preprocessing, Transform
from torso.files.hashing import Identity, hash_of, hash_of_same
from torso.graph import Feature, FreezeReport, Graph, Node
from torso.plugins import PluginInfo

VERSION: Final = 3

Difference = tuple[str, Any, Any]  # the path of a fact, its value in the manifest, and the value that was found

M = TypeVar("M", bound="Manifest")


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """A plugin that something in the backbone comes from."""

    name: str
    origin: str
    distribution: str | None
    version: str | None  # of the distribution; for a file of the user's own, its hash; in words where there is neither


@dataclass(frozen=True)
class GraphRecord:
    fingerprint: str
    nodes: int
    levels: Mapping[str, str]
    layers: Mapping[str, Sequence[str]]  # the nodes of each kind with the same settings

    @classmethod
    def of(cls, graph: Graph) -> GraphRecord:
        layers: dict[str, list[str]] = {}
        for node in graph:
            layers.setdefault(f"{node.kind} {node.settings}".strip(), []).append(_name_of(node))
        return cls(fingerprint(graph), len(graph), dict(graph.levels), layers)


@dataclass(frozen=True, kw_only=True)
class WeightsFileRecord:
    """The weights file; its hash is known where one was asked for, and computed when the backbone is saved or locked."""

    path: str  # or "builder", for values that it brings itself
    bytes: int
    sha256: str | None
    channels: int
    identity: Identity | None = None

    def hashed(self) -> WeightsFileRecord:
        """The record with the hash of the file that was read; None where a different file is at its path by now."""
        if self.identity is None:
            return self
        return replace(self, sha256=self.sha256 or hash_of_same(Path(self.path), self.identity), identity=None)


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """Hashes of the reference images, before and after preprocessing, and the reference outputs for them."""

    pixels: str
    preprocessed: str
    features: Mapping[str, Mapping[str, Any]]
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a backbone that was built. Each field is one key of ``manifest.json``."""

    name: str
    spec: str
    plan: Mapping[str, Any]  # Plan.report()
    plugins: tuple[PluginRecord, ...]
    made_with: Mapping[str, str | None]
    built: Mapping[str, str]  # the build mode (``way``), and ``why`` a faster one was not possible
    weights_file: WeightsFileRecord | None
    graph: GraphRecord
    dropped: Mapping[str, int | None]  # ``nodes``, None where they were never drawn, and ``parameters``
    features: tuple[Feature, ...]
    frozen: FreezeReport
    preprocessing: Preprocessing
    preprocessing_included: bool
    transform: Transform
    layer_modules: tuple[str, ...] = ()  # that the architecture names

    @property
    def feature_names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @classmethod
    def from_json(cls: type[M], document: Mapping[str, Any]) -> M:
        """Read JSON without the facts that this torso does not know; a TypeError or the like where one is missing or odd."""
        names = {one.name for one in fields(cls)}
        manifest: M = _parsed(cls, {name: value for name, value in document.items() if name in names})
        return manifest

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON; what is only known of a saved backbone is not in it before."""
        document: dict[str, Any] = {"manifest": VERSION, **as_json(self)}
        if document["weights_file"]:
            del document["weights_file"]["identity"]  # of the file on this machine
        if self.frozen.lost_by_keras is None:
            del document["frozen"]["lost_by_keras"]
        return document


@dataclass(frozen=True, kw_only=True)
class SavedManifest(Manifest):
    """What is known of a backbone that was saved: also the hash of each variable, the reference outputs, and the files."""

    variables: Mapping[str, str]
    probe: ProbeRecord
    files: Mapping[str, Mapping[str, Any]]
    custom_objects: tuple[Mapping[str, str | None], ...] = ()  # of its classes and functions that are not Keras'

    def to_json(self) -> dict[str, Any]:
        document = super().to_json()
        return {**document, "digest": digest_of(document)}


def _parsed(kind: Any, value: Any) -> Any:
    """JSON as a value of a type: a record, a tuple, one of them or None, and anything else as it is."""
    if kind is not Any and type(None) in get_args(kind):
        return None if value is None else _parsed(get_args(kind)[0], value)
    if get_origin(kind) is tuple:
        return tuple(_parsed(get_args(kind)[0], part) for part in value)
    if not is_dataclass(kind):
        return value
    record: Any = kind
    hints = get_type_hints(record)
    return record(**{name: _parsed(hints[name], part) for name, part in value.items()})


def as_json(value: Any) -> Any:  # Any: a frozen dataclass, and JSON
    """A dataclass as it is once it was written and read."""
    return json.loads(json.dumps(asdict(value)))


def fingerprint(graph: Graph) -> str:
    """A hash of names, kinds, settings, edges, shapes and ends: equal for equal graphs, in any process."""
    names = {node.name: _name_of(node) for node in graph}
    lines = []
    for node in graph:
        inputs = ",".join(names.get(name, name) for name in node.inputs)
        lines.append(f"{names[node.name]}|{node.kind}|{inputs}|{node.shape}|{node.parameters}|{node.settings}")
    if graph.ends != (graph.nodes[-1].name,):
        lines.append(f"ends|{','.join(graph.ends)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _name_of(node: Node) -> str:
    """The name of a node, whatever the backbone is called."""
    return "input_layer" if node.kind == "InputLayer" else node.name


def plugin_records(plugins: Iterable[PluginInfo]) -> tuple[PluginRecord, ...]:
    """The plugins, each once."""
    names = [one.name for one in fields(PluginRecord)]
    known = [replace(plugin, version=plugin.version or _hash_of(plugin)) for plugin in dict.fromkeys(plugins)]
    return tuple(PluginRecord(**{name: getattr(plugin, name) for name in names}) for plugin in known)


def _hash_of(plugin: PluginInfo) -> str | None:
    path = Path(str(plugin.location))
    return f"sha256:{hash_of(path)[:16]}" if plugin.origin != "built-in" and path.is_file() else None


def versions() -> dict[str, str | None]:
    """The installed versions of what computes."""
    return {name: version_of(name) for name in ("torso", "keras", "tensorflow", "h5py")}


def version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
