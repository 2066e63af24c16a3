"""From a name or a spec to a backbone, and from a folder back to one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torso.artifact.lock import Lock, read_lock
from torso.artifact.manifest import Manifest
from torso.artifact.manifest_file import MODEL, read_manifest
from torso.backbone import Backbone
from torso.errors import OptionError, Place, PluginError, SpecError
from torso.graph import Graph
from torso.planning import Plan, make_plan, make_plans
from torso.planning.known_graph import known_graph
from torso.plugins.registry import Registry
from torso.specs.backbone_spec import BACKBONE_NAME
from torso.specs.spec_file import backbone_from_python, read_spec

if TYPE_CHECKING:
    import keras


def create_backbone(architecture: str, *, registry: Registry | None = None, **spec: Any) -> Backbone:
    """Build a pretrained, truncated, frozen backbone.

    Args:
        architecture: Its name, as ``ResNet50`` or ``acme/eyenet``.
        registry: The plugins; by default those that are installed.
        **spec: The keys of a backbone in a spec file, in the same shapes: ``name``, ``options``, ``weights``, ``input``,
            ``preprocess``, ``truncate``, ``freeze``, ``regularize``, ``prefix``.

    Raises:
        TorsoError: Something is wrong; raised before the build where possible.
    """
    registry = registry or Registry.load()
    return build(plan(architecture, registry=registry, **spec), registry)


def plan(architecture: str, *, registry: Registry | None = None, name: str | None = None, **spec: Any) -> Plan:
    """Return what :func:`create_backbone` would do, without TensorFlow or an internet connection.

    Raises:
        TorsoError: One error that lists everything that is wrong.
    """
    for key, value in {"architecture": architecture, **spec}.items():
        if value is None:
            none = f", or write {key}='none'" if key in ("weights", "truncate", "freeze") else ""
            raise SpecError(f"{key} is None", place=Place(f"$.{key}"), notes=[("fix", f"leave it out{none}")])
    bare = str(architecture).rsplit("/", 1)[-1]
    default = bare if re.fullmatch(BACKBONE_NAME, bare) else "backbone"  # what is no name is refused as an architecture
    declared = backbone_from_python(str(name) if name is not None else default, architecture=architecture, **spec)
    return make_plan(declared, registry or Registry.load())


def build(
    plan: Plan, registry: Registry, *, lock: Lock | None = None, progress: Callable[[str], None] = lambda step: None
) -> Backbone:
    """Carry out a plan; ``progress`` is called with each step in a few words.

    Raises:
        IntegrityError: The backbone is not the one that the lock names.
    """
    import_module("torso.modeling")  # before Keras: it keeps TensorFlow's start-up lines out
    from torso.artifact.save import describe
    from torso.modeling.build import build_model, freeze_as_planned, transform, with_prefix
    from torso.modeling.freeze import report_of
    from torso.modeling.graph_reader import features_of

    plan = lock.check_plan(plan) if lock else plan
    progress(f"building {plan.architecture.value.name}")
    built = build_model(plan, progress)  # draw the network, select the cut, truncate, fill with values
    built = transform(built, plan, registry)  # by the plugins; embed the preprocessing
    if plan.regularize:
        from torso.training.regularize import regularize

        built = regularize(built, plan)
    progress("freezing")
    frozen = freeze_as_planned(built.model, built.graph, plan.freeze)
    if plan.prefix:
        built = with_prefix(built, plan.prefix)
        frozen = report_of(built.model)
    record = describe(plan, built, features_of(built.model, built.graph), frozen)
    if lock:
        lock.check_manifest(record)
    backbone = _backbone(built.model, built.graph, record)
    made = vars(backbone).copy()
    for plugin, observe in registry.plugins.callers("torso_backbone_built"):
        observe(backbone=backbone)
        if vars(backbone) != made or report_of(built.model) != frozen:
            fact = "hook 'torso_backbone_built' changed the backbone, or what trains in it"
            raise PluginError(fact, notes=[("plugin", str(plugin))])
    return backbone


def load(folder: str | Path) -> Backbone:
    """Load what :meth:`Backbone.save` wrote; it needs neither plugins nor an internet connection.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: It does not match its manifest.
    """
    place = Path(folder)
    record = read_manifest(place)
    import_module("torso.modeling")  # before Keras
    from torso.artifact.load import load_model

    return _backbone(*load_model(place / MODEL, record), record)


def attach(classifier: keras.Model, folder: str | Path) -> Backbone:
    """Find the backbone in a classifier that was saved and loaded again: ``unfreeze`` works on the classifier's layers.

    Args:
        classifier: A Keras model that calls the backbone's model, or goes on from its output.
        folder: Where the backbone was saved. Its graph is sought, whatever its values are by now.

    Raises:
        OptionError: There is no saved backbone; or the classifier has no part with its graph, or several.
        IntegrityError: The saved backbone does not match its manifest.
    """
    saved = load(folder)
    from torso.artifact.load import record_in
    from torso.training.attach import find_backbone

    model = find_backbone(classifier, saved.model, saved.graph, saved.name)
    return replace(saved, model=model, record=record_in(model, saved.model, saved.record))


def _backbone(model: keras.Model, graph: Graph, record: Manifest) -> Backbone:
    from torso.artifact.load import preprocess_layer_of
    from torso.modeling.keras_private import reserve_names

    reserve_names(model)
    layer = preprocess_layer_of(record)
    return Backbone(name=record.name, model=model, preprocess=layer, features=record.features, graph=graph, record=record)


class Backbones(Mapping[str, Backbone]):
    """The backbones of a spec file by name, in its order; each is built when it is first asked for.

    Attributes:
        plans: The plan of each, by name.
    """

    def __init__(self, plans: Mapping[str, Plan], registry: Registry, lock: Lock | None = None) -> None:
        self.plans = plans
        self._registry = registry
        self._lock = lock
        self._built: dict[str, Backbone] = {}

    def __getitem__(self, name: str) -> Backbone:
        if name not in self._built:
            self._built[name] = build(self.plans[name], self._registry, lock=self._lock)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plans)

    def __len__(self) -> int:
        return len(self.plans)


def load_specs(path: str | Path, *, registry: Registry | None = None, locked: bool = False) -> Backbones:
    """Read and check a YAML spec file; each backbone is built when it is first asked for.

    Args:
        path: The file.
        registry: The plugins; by default those that are installed.
        locked: Refuse what the lock beside the file (``torso lock``) does not name, and warn of other versions.

    Raises:
        TorsoError: Everything that is wrong with the file, or is not locked, at once.
    """
    registry = registry or Registry.load()
    plans = make_plans(read_spec(path).values(), registry)
    return Backbones(plans, registry, read_lock(path, plans.values()) if locked else None)


def read_graph(architecture: str, *, registry: Registry | None = None, **spec: Any) -> Graph:
    """The whole network without its head as data: nodes, costs, levels and clean cuts. It needs no weights.

    Args:
        architecture: Its name.
        registry: The plugins; by default those that are installed.
        **spec: ``options`` and ``input``, as for :func:`create_backbone`.

    Raises:
        TorsoError: What is wrong with the request, or with the builder.
    """
    planned = plan(architecture, registry=registry, weights="none", **spec)
    if known := known_graph(planned, sized=True):
        return known
    from torso.modeling.draw import headless_graph

    return headless_graph(planned)


def list_architectures(pattern: str = "*", *, registry: Registry | None = None) -> tuple[str, ...]:
    """The names that match a pattern such as ``mobilenet*``, in natural order; letter case does not matter."""
    found = (registry or Registry.load()).architectures.search(pattern)
    return tuple(contribution.value.name for contribution in found)


def get_base_model(
    network: str, alpha: float | None = None, training_layer: str | None = None, pop_layers: int = 0, **spec: Any
) -> keras.Model:
    """Return a frozen Keras model without its head, in one call.

    Args:
        network: Name of the architecture.
        alpha: Width multiplier, for the architectures that have one; None for their default.
        training_layer: Name of the last layer kept; None for no such cut.
        pop_layers: How many nodes to remove from the end.
        **spec: As for :func:`create_backbone`, except ``truncate``, which training_layer and pop_layers set.

    Raises:
        OptionError: Both cuts are asked for.
    """
    if training_layer is not None and pop_layers:
        raise OptionError(f"training_layer {training_layer!r} and pop_layers {pop_layers} are two cuts: give one of them")
    if alpha is not None:
        spec["options"] = {**(spec.get("options") or {}), "alpha": alpha}
    cut = {"layer": training_layer} if training_layer is not None else {"pop": pop_layers} if pop_layers else "none"
    return create_backbone(network, truncate=cut, **spec).model
