"""The hall: from a name or a spec to a backbone, and from a folder back to one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torso.artifact.lock import Lock, lock_path
from torso.artifact.manifest import MODEL, NAME, Manifest, features_of, is_saved_backbone, read_manifest, understood
from torso.contracts.export_format import require_installed, tolerance_of
from torso.contracts.preprocessing import Transform
from torso.errors import OptionError, Place, SpecError, TorsoError, raise_all
from torso.export.record import KIND, is_export
from torso.files.atomic import staged_directory
from torso.files.disk_errors import require_space
from torso.graph import Feature, Graph
from torso.planning import Plan, make_plan, make_plans
from torso.plugins.registry import Registry
from torso.specs.backbone_spec import BACKBONE_NAME
from torso.specs.spec_file import backbone_from_python, read_spec

if TYPE_CHECKING:
    import keras
    import numpy as np


@dataclass(eq=False, kw_only=True)
class Backbone:
    """A network without its head: resolved, cut, frozen, and ready for a new head, for features or for export.

    Attributes:
        name: Its name in the spec, and the model's.
        model: Functional Keras model from images ``(N, H, W, C)``, preprocessed, to features.
        preprocess: Keras layer from RGB pixels of 0 to 255, of any dtype, to what ``model`` expects. It never writes into
            its input, and warns (``torso.PixelWarning``) where the first images look scaled or ordered otherwise.
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
            IntegrityError: Plain Keras reads another model back from disk.
            DiskError: The disk refused or is full; what stood there before is untouched.
        """
        from torso.artifact.save import write_backbone

        place = Path(folder)
        require_space(place, sum(node.parameters for node in self.graph) * 4)
        with staged_directory(place, force=force, ours=is_saved_backbone) as stage:
            write_backbone(self.model, self.preprocess, self.manifest, stage)
        return place

    def export(
        self,
        folder: str | Path,
        *,
        to: str,
        images: Any = None,
        bound: float | None = None,
        force: bool = False,
        registry: Registry | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> Path:
        """Write the model for another runtime, with ``export.json``, into a folder that appears whole or not at all.

        What was written is run in a fresh process, and every feature compared by its name. It computes features, and cannot
        be trained.

        Args:
            folder: Where; its parents are made.
            to: Name of an export format, as ``"onnx"``.
            images: What to compare on, as for :meth:`transform`; fixed patterns where none are given.
            bound: How far a feature may be off, relative to its largest value; None for what the format tolerates.
            force: Replace what was exported there before.
            registry: The plugins; those that are installed, by default.
            progress: Told of each step in a few words.

        Returns:
            The folder.

        Raises:
            UnknownNameError: There is no such format.
            OptionError: Its converter is not installed, or the bound is none.
            OutputExistsError: Something stands there that may not be replaced.
            PluginError: The converter fails.
            IntegrityError: What it wrote gives other features, or has no weights.
            DiskError: The disk refused or is full; what stood there before is untouched.
        """
        chosen = (registry or Registry.load()).export_formats.resolve(to)
        require_installed(chosen.value)
        tolerated = tolerance_of(chosen.value, bound)
        from torso.artifact.reference_outputs import probe_images
        from torso.export.write import write_export

        place = Path(folder)
        require_space(place, sum(node.parameters for node in self.graph) * 4)
        pixels = probe_images(*self.manifest["plan"]["input_shape"]) if images is None else self.transform(images)
        given = self.preprocess(pixels).numpy()
        with staged_directory(place, force=force, ours=is_export, kind=KIND) as stage:
            write_export(self.model, self.manifest, chosen, stage, images=given, bound=tolerated, progress=progress)
        return place

    def unfreeze(
        self,
        from_level: str | None = None,
        *,
        from_node: str | None = None,
        norm: Literal["frozen", "train"] = "frozen",
        stochastic: Literal["on", "off"] = "on",
    ) -> None:
        """Let the network train from a level or a node on; what stands before it is frozen.

        Dropout and stochastic depth that freezing had turned off are turned on again there. A model that is compiled
        already trains as before: compile it again, or Keras ignores the change (:class:`torso.FreezeGuard` tells).

        Args:
            from_level: The first level that trains, ``"C4"`` for what leads from C3 to C4 and all behind it.
            from_node: The first node that trains instead: one that begins a block. Everything trains if neither is given.
            norm: ``"frozen"`` keeps statistics, scale and offset of every BatchNormalization; ``"train"`` lets them train.
            stochastic: ``"off"`` leaves dropout and stochastic depth off.

        Raises:
            UnknownNameError: The network has no such level or node.
            CutError: The node does not begin a block; those that do are named.
            OptionError: A level and a node are given, or a word that is not known.
        """
        from torso.artifact.manifest import as_json
        from torso.modeling.freeze import freeze

        if from_level is not None and from_node is not None:
            raise OptionError(f"level {from_level!r} and node {from_node!r} are two places to train from: give one of them")
        for name, word, legal in ("norm", norm, ("frozen", "train")), ("stochastic", stochastic, ("on", "off")):
            if word not in legal:
                raise OptionError(f"{name} must be {' or '.join(map(repr, legal))}, not {word!r}")
        whole = from_level is None and from_node is None
        end = self.graph.nodes[0].name if whole else self.graph.block_boundary_before(level=from_level, node=from_node)
        plan = self.graph.freeze_through(end, norm=norm, stochastic=stochastic)
        self.manifest = {**self.manifest, "frozen": as_json(freeze(self.model, self.graph, plan, "of unfreeze"))}

    def transform(self, pictures: Any) -> np.ndarray:
        """Pictures of any size as pixels of 0 to 255 in the size of the network: resized and cropped as the spec says.

        Args:
            pictures: A path or several; an array ``(H, W, C)``, a batch ``(N, H, W, C)``, or several arrays.

        Returns:
            ``(N, height, width, channels)``, float32, to be preprocessed.

        Raises:
            TorsoError: A file cannot be read or is no picture, or an array is none.
        """
        from torso.modeling.image_transform import transform_images

        recipe = Transform(**self.manifest["transform"])
        return transform_images(pictures, recipe, tuple(self.manifest["plan"]["input_shape"]))


class Backbones(Mapping[str, Backbone]):
    """The backbones of a spec, checked all at once and each built when it is first asked for.

    Attributes:
        plans: The plan of each, by name, in the order of the spec.
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
    from torso.modeling.draw import headless_graph

    return headless_graph(planned)


def _default_name(architecture: str) -> str:
    """The architecture's own name, where a backbone can have it: what cannot is refused as an architecture."""
    bare = str(architecture).rsplit("/", 1)[-1]
    return bare if re.fullmatch(BACKBONE_NAME, bare) else "backbone"


def build(
    plan: Plan, registry: Registry, *, lock: Lock | None = None, progress: Callable[[str], None] = lambda step: None
) -> Backbone:
    """Carry out a plan; ``progress`` is told of each step in a few words.

    Raises:
        IntegrityError: It would be, or is, another backbone than the one that the lock names.
    """
    from torso.artifact.save import describe_trunk
    from torso.modeling.building import build_trunk
    from torso.modeling.preprocess_layer import preprocessing_from

    plan = lock.hold(plan) if lock else plan
    trunk = build_trunk(plan, registry, progress=progress)
    manifest = describe_trunk(trunk, plan)
    if lock:
        lock.require(manifest)
    backbone = Backbone(
        name=plan.name,
        model=trunk.model,
        preprocess=preprocessing_from(manifest),
        features=trunk.features,
        graph=trunk.graph,
        manifest=manifest,
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

    from torso.artifact.save import load_model
    from torso.modeling.preprocess_layer import preprocessing_from

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


def load_specs(path: str | Path, *, registry: Registry | None = None, locked: bool = False) -> Backbones:
    """Read and check a spec file; each backbone is built when it is first asked for.

    Args:
        path: The YAML file.
        registry: The plugins; those that are installed, by default.
        locked: Refuse what the lock beside the file (``torso lock``) does not name.

    Raises:
        TorsoError: All that is wrong with the file, at once; what the lock does not name, where that can be known before
            it is built.
    """
    registry = registry or Registry.load()
    plans = make_plans(read_spec(path).backbones.values(), registry)
    return Backbones(plans, registry, lock_on(path, plans.values()) if locked else None)


def lock_on(spec: str | Path, plans: Iterable[Plan]) -> Lock:
    """The lock of a spec, which names what is planned.

    Raises:
        OptionError: There is none.
        TorsoError: Everything that it does not name, at once.
    """
    lock = Lock.read(lock_path(spec))
    errors: list[TorsoError] = []
    for planned in plans:
        try:
            lock.hold(planned)
        except TorsoError as error:
            errors.append(error)
    raise_all(errors)
    return lock


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
