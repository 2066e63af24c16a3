"""The hall: from a name or a spec to a backbone, and from a folder back to one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torso.errors import OptionError, Place, SpecError
from torso.files import require_space, staged_directory
from torso.graph import Feature, Graph
from torso.manifest import MODEL, NAME, Manifest, features_of, is_saved_backbone, read_manifest, understood, write_manifest
from torso.planning import Plan, make_plan, make_plans, preprocessing_for
from torso.registry import Registry
from torso.spec.document import backbone_from_python, read_spec
from torso.spec.keys import BACKBONE_NAME

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network without its head: resolved, cut, frozen, and ready for a new head, for features or for export.

    Attributes:
        name: Its name in the spec, and the model's.
        model: Functional Keras model from images ``(N, H, W, C)``, preprocessed, to features.
        preprocess: Keras layer from RGB pixels of 0 to 255, of any dtype, to what ``model`` expects.
        features: What the model's outputs are.
        graph: The model as data.
        manifest: How it was made: plan, versions, weights, what was dropped and what is frozen.
    """

    name: str
    model: keras.Model
    preprocess: keras.Model
    features: tuple[Feature, ...]
    graph: Graph
    manifest: Manifest

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write ``model.keras`` and ``manifest.json`` into a folder that appears whole or not at all.

        The model loads with plain Keras, where torso is not installed.

        Args:
            folder: Where; its parents are made.
            force: Replace a backbone that was saved there before.

        Returns:
            The folder.

        Raises:
            OutputExistsError: Something stands there that may not be replaced.
            PluginError: The model has layers of a class that plain Keras does not know.
            DiskError: The disk refused or is full; what stood there before is untouched.
        """
        from torso.keras_bridge.freeze import counts
        from torso.keras_bridge.saving import save_model, with_hash

        place = Path(folder)
        require_space(place, sum(node.parameters for node in self.graph) * 4)
        with staged_directory(place, force=force, ours=is_saved_backbone) as stage:
            save_model(self.model, stage / MODEL)
            frozen = {**self.manifest["frozen"], **counts(self.model)}  # the flags may have changed since
            file = with_hash(self.manifest["weights_file"])
            write_manifest({**self.manifest, "frozen": frozen, "weights_file": file}, stage)
        return place


class Backbones(Mapping[str, Backbone]):
    """The backbones of a spec, checked all at once and each built when it is first asked for.

    Attributes:
        plans: The plan of each, by name, in the order of the spec.
    """

    def __init__(self, plans: Mapping[str, Plan], registry: Registry) -> None:
        self.plans = plans
        self._registry = registry
        self._built: dict[str, Backbone] = {}

    def __getitem__(self, name: str) -> Backbone:
        if name not in self._built:
            self._built[name] = build(self.plans[name], self._registry)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plans)

    def __len__(self) -> int:
        return len(self.plans)


def create_backbone(architecture: str, *, registry: Registry | None = None, **spec: Any) -> Backbone:
    """Resolve, build, cut and freeze a network.

    Args:
        architecture: Its name, as ``ResNet50`` or ``acme/eyenet``.
        registry: The plugins; those that are installed, by default.
        **spec: What a spec says of a backbone, under the same keys and in the same shapes: ``name``, ``options``,
            ``weights``, ``input``, ``truncate``, ``freeze``.

    Raises:
        TorsoError: What is wrong, before anything is built where that can be known.
    """
    registry = registry or Registry.load()
    return build(plan(architecture, registry=registry, **spec), registry)


def plan(architecture: str, *, registry: Registry | None = None, name: str | None = None, **spec: Any) -> Plan:
    """Say what :func:`create_backbone` would do, without TensorFlow and without network.

    Raises:
        TorsoError: All that is wrong, at once.
    """
    for key, value in {"architecture": architecture, **spec}.items():
        if value is None:
            raise SpecError(f"{key} is None", place=Place(f"$.{key}"), notes=[("fix", "leave it out, or write 'none'")])
    name = str(name) if name is not None else _default_name(architecture)
    return make_plan(backbone_from_python(name, architecture=architecture, **spec), registry or Registry.load())


def read_graph(architecture: str, *, registry: Registry | None = None, **spec: Any) -> Graph:
    """The whole headless network as data: nodes, costs, levels and clean cuts. No weights are fetched or made.

    Args:
        architecture: Its name.
        registry: The plugins; those that are installed, by default.
        **spec: ``options`` and ``input``, as for :func:`create_backbone`.

    Raises:
        TorsoError: What is wrong with the request, or with the builder.
    """
    planned = plan(architecture, registry=registry, weights="none", **spec)
    from torso.keras_bridge.network import headless_graph

    return headless_graph(planned)


def _default_name(architecture: str) -> str:
    """The architecture's own name, where a backbone can have it: what cannot is refused as an architecture."""
    bare = str(architecture).rsplit("/", 1)[-1]
    return bare if re.fullmatch(BACKBONE_NAME, bare) else "backbone"


def build(plan: Plan, registry: Registry, *, progress: Callable[[str], None] = lambda step: None) -> Backbone:
    """Carry out a plan; ``progress`` is told of each step in a few words."""
    from torso.keras_bridge.building import build_trunk
    from torso.keras_bridge.preprocess import preprocessing_layer
    from torso.keras_bridge.saving import describe_trunk

    trunk = build_trunk(plan, registry, progress=progress)
    backbone = Backbone(
        name=plan.name,
        model=trunk.model,
        preprocess=preprocessing_layer(preprocessing_for(plan, trunk.grown.weights_channels), plan.input_shape[2]),
        features=trunk.features,
        graph=trunk.graph,
        manifest=describe_trunk(trunk, plan),
    )
    for _, observe in registry.plugins.callers("torso_backbone_built"):
        observe(backbone=backbone)
    return backbone


def load(folder: str | Path) -> Backbone:
    """Read back what :meth:`Backbone.save` wrote; neither plugins nor network are needed.

    Raises:
        OptionError: There is no saved backbone.
        IntegrityError: It is not what its manifest says.
    """
    place = Path(folder)
    manifest = read_manifest(place)

    from torso.keras_bridge.preprocess import preprocessing_from
    from torso.keras_bridge.saving import load_model

    with understood(place / NAME):
        model, graph = load_model(place / MODEL, manifest)
        return Backbone(
            name=manifest["name"],
            model=model,
            preprocess=preprocessing_from(manifest),
            features=features_of(manifest),
            graph=graph,
            manifest=manifest,
        )


def load_specs(path: str | Path, *, registry: Registry | None = None) -> Backbones:
    """Read and check a spec file; each backbone is built when it is first asked for.

    Raises:
        TorsoError: All that is wrong with the file, at once.
    """
    registry = registry or Registry.load()
    return Backbones(make_plans(read_spec(path).backbones.values(), registry), registry)


def list_architectures(pattern: str = "*", *, registry: Registry | None = None) -> tuple[str, ...]:
    """The names that match a pattern such as ``mobilenet*``, sorted naturally; letter case does not count."""
    found = (registry or Registry.load()).architectures.search(pattern)
    return tuple(contribution.value.name for contribution in found)


def get_base_model(
    network: str, alpha: float | None = None, training_layer: str | None = None, pop_layers: int = 0, **spec: Any
) -> keras.Model:
    """One call from a name to a frozen Keras model: resolve, build without the head, cut, freeze.

    Args:
        network: Name of the architecture.
        alpha: Width multiplier, for the architectures that have one; None for their default.
        training_layer: Name of the last layer kept; None for no such cut.
        pop_layers: How many nodes to remove from the end.
        **spec: As for :func:`create_backbone`, but ``truncate``, which the two arguments before it decide.

    Raises:
        OptionError: Both cuts are asked for.
    """
    if training_layer is not None and pop_layers:
        raise OptionError(
            f"training_layer {training_layer!r} and pop_layers {pop_layers} are two cuts, and a backbone ends at one node",
            notes=[("fix", "give one of the two")],
        )
    if alpha is not None:
        spec["options"] = {**(spec.get("options") or {}), "alpha": alpha}
    truncate: Any = "none"
    if training_layer is not None:
        truncate = {"layer": training_layer}
    elif pop_layers:
        truncate = {"pop": pop_layers}
    return create_backbone(network, truncate=truncate, **spec).model
