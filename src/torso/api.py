"""From a name or a spec to a backbone, and from a folder back to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torso.artifact.lock import Lock, read_lock
from torso.artifact.manifest import Manifest
from torso.artifact.manifest_file import MODEL, read_manifest
from torso.backbone import Backbone
from torso.errors import OptionError, PluginError
from torso.graph import Graph
from torso.planning import Plan, make_plans
from torso.planning.keywords import plan, takes_what
from torso.planning.known_graph import known_graph
from torso.plugins.listing import select
from torso.plugins.registry import Registry
from torso.specs.spec_file import read_spec

if TYPE_CHECKING:
    import keras


@takes_what(plan)
def create_backbone(architecture: str, *, registry: Registry | None = None, **keywords: Any) -> Backbone:
    """Build a pretrained, truncated, frozen backbone.

    Mappings have the keys of a spec file.

    Args:
        architecture: Its name, as ``ResNet50`` or ``acme/eyenet``; letter case and underscores do not count.
        input_shape: Height and width in pixels, and channels; None for a side of any size.
        weights: A tag, as ``"imagenet"``, or ``{"file": PATH}``; None for random initialisation. The default is the first
            tag of the architecture.
        truncate: Where it ends, as ``{"level": "C4"}``; None for the whole headless network.
        freeze: What does not train: ``"all"``, ``"none"``, ``{"through": "C3"}``.
        pooling: ``"avg"`` or ``"max"``: each output is one vector ``(N, channels)``, over all positions.
        regularize: ``{"l2": 1e-4}``: what is added to the loss of the weights that train.
        options: The options of the architecture.
        input: ``size``, ``channels`` and ``adapt``, where ``input_shape`` does not say enough.
        preprocess: How pictures become pixels, and whether the model scales them itself: ``{"include": True}``.
        name: Of the backbone and its model; by default that of the architecture.
        prefix: Put before the names of all layers.
        seed: Of random initialisation: the same one gives the same values.
        registry: The plugins; by default those that are installed.
        **architecture_options: Single options of the architecture, as ``alpha=0.35``.

    Raises:
        TorsoError: Something is wrong; raised before the build where possible.
    """
    registry = registry or Registry.load()
    return build(plan(architecture, registry=registry, **keywords), registry)


def build(
    plan: Plan, registry: Registry, *, lock: Lock | None = None, progress: Callable[[str], None] = lambda step: None
) -> Backbone:
    """Carry out a plan; ``progress`` is called with each step in a few words.

    Raises:
        IntegrityError: The backbone is not the one that the lock names.
    """
    import_module("torso.modeling")  # before Keras: it keeps TensorFlow's start-up lines out
    from torso.artifact.save import describe
    from torso.modeling.build import build_model, freeze_as_planned, transform, with_own_names
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
    built = with_own_names(built, plan)
    frozen = report_of(built.model) if plan.prefix else frozen
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


def load(folder: str | Path, *, registry: Registry | None = None) -> Backbone:
    """Load what :meth:`Backbone.save` wrote, offline; plugins (by default the installed ones) only for layers of their own.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: It does not match its manifest.
        PluginError: It needs layers of a plugin that is not here.
    """
    try:
        place = Path(folder)
    except TypeError as error:
        fix = "give the folder that Backbone.save wrote, as 'saved/digits'"
        raise OptionError(f"a {type(folder).__name__} is no folder of a saved backbone", notes=[("fix", fix)]) from error
    record = read_manifest(place)
    import_module("torso.modeling")  # before Keras
    from torso.artifact.custom_objects import import_layers
    from torso.artifact.load import load_model

    import_layers(record, registry)
    return _backbone(*load_model(place / MODEL, record), record)


def attach(classifier: keras.Model, folder: str | Path | Backbone, *, registry: Registry | None = None) -> Backbone:
    """Find the backbone in a classifier that was saved and loaded again: ``unfreeze`` works on the classifier's layers.

    Args:
        classifier: A Keras model that calls the backbone's model, or goes on from its output.
        folder: Where the backbone was saved, or the backbone. Its graph is sought, whatever its values are by now.
        registry: As for :func:`load`.

    Raises:
        OptionError: There is no saved backbone; or the classifier has no part with its graph, or several.
        IntegrityError: The saved backbone does not match its manifest.
    """
    saved = folder if isinstance(folder, Backbone) else load(folder, registry=registry)
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

    def __repr__(self) -> str:
        return f"<Backbones: {', '.join(self.plans)}>"


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


def read_graph(architecture: str, *, registry: Registry | None = None, **keywords: Any) -> Graph:
    """The whole network without its head as data: nodes, costs, levels and clean cuts. It needs no weights.

    Args:
        architecture: Its name.
        registry: The plugins; by default those that are installed.
        **keywords: ``input_shape``, ``input``, ``options`` and single options, as for :func:`create_backbone`.

    Raises:
        TorsoError: What is wrong with the request, or with the builder.
    """
    planned = plan(architecture, registry=registry, weights=None, **keywords)
    if known := known_graph(planned, sized=True):
        return known
    from torso.modeling.draw import headless_graph

    return headless_graph(planned)


def list_architectures(
    pattern: str | Iterable[str] = "*",
    *,
    exclude: str | Iterable[str] = (),
    family: str | None = None,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    licence: str | None = None,
    sort: str = "name",
    registry: Registry | None = None,
) -> tuple[str, ...]:
    """The names of the architectures that a search leaves.

    Args:
        pattern: Names or patterns such as ``mobilenet*``; letter case and underscores do not count. What has no wildcard and
            is no name is sought within the names.
        exclude: Patterns of those to leave out.
        family: Only those of this family.
        max_parameters: The most parameters, without the head and with default options.
        max_macs: The most multiply-accumulates for one image of the default size. A warning names those that are left out
            because their number is not known.
        licence: Only those whose weights have this licence.
        sort: ``"name"``; ``"parameters"`` or ``"macs"``, the least first; ``"top1"``, the best first.
        registry: The plugins; by default those that are installed.

    Raises:
        UnknownNameError: There is no such family or licence.
        OptionError: There is no such order.
    """
    patterns, without = ((one,) if isinstance(one, str) else one for one in (pattern, exclude))
    limits = ("parameters", None, max_parameters), ("macs", None, max_macs)
    words = {"family": family, "licence": licence}
    catalogue = (registry or Registry.load()).architectures
    return tuple(one.name for one in select(catalogue, patterns, exclude=without, limits=limits, sort=sort, **words))
