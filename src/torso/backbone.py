"""The product: a truncated, frozen network without its head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from torso.artifact.manifest import Manifest
from torso.artifact.manifest_file import is_saved_backbone
from torso.contracts.export_format import require_installed, tolerance_of
from torso.errors import OptionError
from torso.export.record import is_export
from torso.files.atomic import staged_directory
from torso.files.disk_errors import require_space
from torso.graph import Feature, Graph
from torso.planning.resolve import choose
from torso.plugins.registry import Registry
from torso.specs.backbone_spec import DEFAULTS
from torso.specs.yaml_nodes import from_python
from torso.tables import format_shape, row_of, short, table_of_backbones

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from torso.files.pictures import Transformed
    from torso.runtimes import Runtime


@dataclass(eq=False, kw_only=True, repr=False)
class Backbone:
    """A truncated, frozen network without its head: for a new head, for features, or for export.

    ``backbone(pixels)`` is ``backbone.model(backbone.preprocess(pixels))``.

    Attributes:
        name: Its name in the spec, and the model's.
        model: Functional Keras model from images ``(N, H, W, C)``, preprocessed, to features.
        preprocess: Keras layer from RGB pixels of 0 to 255, of any dtype, to what ``model`` expects. It never writes into
            its input, and warns (``torso.PixelWarning``) where the first images look already scaled, or not in RGB order.
        features: What the model's outputs are.
        graph: The model as data.
        record: How it was made: plan, versions, weights, what was dropped and what is frozen. ``manifest`` is the same as
            JSON.
    """

    name: str
    model: keras.Model
    preprocess: keras.Model
    features: tuple[Feature, ...]
    graph: Graph
    record: Manifest

    def __call__(self, pixels: Any, *, training: bool = False) -> Any:
        """The features of RGB pixels of 0 to 255, ``(N, H, W, C)``: what ``model`` returns, preprocessing included."""
        return self.model(self.preprocess(pixels), training=training)

    def __repr__(self) -> str:
        ends = ", ".join(f"{one.node} {format_shape(one.shape)}" for one in self.features)
        trains = f"{short(self.record.frozen.trainable)} of {short(self.model.count_params())} parameters train"
        return f"<Backbone {self.name!r}: {self.record.plan['architecture']}, ends at {ends}, {trains}>"

    def summary(self) -> None:
        """Print the table of ``torso build``: where it ends, and how many parameters are kept, train, and were dropped."""
        print(table_of_backbones([row_of(self.manifest)]))

    @property
    def manifest(self) -> dict[str, Any]:
        """How it was made, as the JSON that ``manifest.json`` has."""
        return self.record.to_json()

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write ``model.keras`` and ``manifest.json`` into a folder that appears whole or not at all; returns it.

        The model is read back from disk by plain Keras first; it loads where torso is not installed.

        Args:
            folder: The folder; its parents are made.
            force: Replace a backbone that was saved there before.

        Raises:
            OutputExistsError: Something is there that may not be replaced.
            PluginError: The model uses layers or functions that plain Keras does not know.
            IntegrityError: Plain Keras reads back a different model.
            DiskError: The disk refused or is full; what was there before is untouched.
        """
        from torso.artifact.save import write_backbone

        place = Path(folder)
        require_space(place, 4 * self.model.count_params())
        with staged_directory(place, force=force, ours=is_saved_backbone) as stage:
            write_backbone(self.model, self.preprocess, self.record, stage)
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

        What was written is run in a new process, and every feature is compared by its name. It computes features, and
        cannot be trained.

        Args:
            folder: The folder; its parents are made.
            to: Name of an export format, as ``"onnx"``.
            images: Images to compare on, as for :meth:`transform`; by default fixed patterns.
            bound: How far a feature may be off, relative to its largest value; None for the format's own tolerance.
            force: Replace what was exported there before.
            registry: The plugins; by default those that are installed.
            progress: Called with each step in a few words.

        Returns:
            The folder.

        Raises:
            OutputExistsError: Something is there that may not be replaced.
            TorsoError: There is no such format, it is not installed, or its converter fails.
            IntegrityError: The written files give different features.
            DiskError: The disk refused or is full; what was there before is untouched.
        """
        chosen = (registry or Registry.load()).export_formats.resolve(to)
        require_installed(chosen.value)
        tolerated = tolerance_of(chosen.value, bound)
        from torso.artifact.reference_outputs import reference_images
        from torso.export.write import write_export

        place = Path(folder)
        require_space(place, 4 * self.model.count_params())
        pixels = reference_images(*self.record.plan["input_shape"]) if images is None else self.transform(images)
        given = self.preprocess(pixels).numpy()
        with staged_directory(place, force=force, ours=is_export) as stage:
            write_export(self.model, self.record, chosen, stage, images=given, bound=tolerated, progress=progress)
        return place

    def runtime(
        self,
        name: str = "tensorflow",
        *,
        pool: Literal["avg", "max"] | None = None,
        threads: int | None = None,
        precision: str = "float32",
        registry: Registry | None = None,
    ) -> Runtime:
        """What computes features from pixels, faster than Keras: preprocessing and pooling are in it.

        Args:
            name: ``"tensorflow"``, ``"keras"``, or an export format such as ``"litert"``: the model is converted for it.
            pool: The mean or the maximum of each feature map over its positions; None for the whole map.
            threads: How many to use, of a converted model; TensorFlow has its own for the whole process.
            precision: ``"bfloat16"`` is faster and coarser, where the runtime has it.
            registry: The plugins; by default those that are installed.

        Returns:
            A function from pixels of 0 to 255, ``(N, H, W, C)``, to an array for each feature's name: ``(N, channels)`` if
            it is pooled. Its ``error`` says how far it is from Keras.

        Raises:
            TorsoError: There is no such runtime, it is not installed, or its converter fails.
            IntegrityError: It gives other features than Keras.
        """
        from torso.runtimes import open_runtime

        return open_runtime(self, name, pool, threads, precision, registry or Registry.load())

    def freeze(self, policy: str | Mapping[str, Any] = "all", *, registry: Registry | None = None) -> None:
        """Freeze anew, as ``freeze`` in a spec does: ``"all"``, or ``{"through": "C2"}``. Compile the model again after it.

        Raises:
            TorsoError: There is no such policy, or it does not fit the network. Nothing is changed then.
        """
        from torso.modeling.build import freeze_as_planned

        if policy is None:
            raise OptionError("freeze is None", notes=[("fix", "leave it out to freeze all, or write 'none'")])
        # "all" is torso's own, as where a spec leaves it out.
        choice = None if policy == "all" else DEFAULTS["freeze"]("freeze", from_python(policy, "$.freeze"))
        chosen = choose((registry or Registry.load()).freeze_policies, "freeze policy", choice, "freeze-policies/all")
        self.record = replace(self.record, frozen=freeze_as_planned(self.model, self.graph, chosen))

    def unfreeze(
        self,
        from_level: str | None = None,
        *,
        from_node: str | None = None,
        norm: Literal["frozen", "train"] = "frozen",
        stochastic: Literal["on", "off"] = "on",
    ) -> None:
        """Let the network train from a level or a node on; everything before it is frozen.

        Dropout and stochastic depth that freezing had turned off are turned on again there, which ``trainable`` does not do.
        A model that is compiled ignores the change until it is compiled again; :class:`torso.FreezeGuard` warns of that.

        Args:
            from_level: The first level that trains: ``"C4"`` for what leads from C3 to C4, and everything after C4.
            from_node: Instead, the first node that trains: one that begins a block. Without either, everything trains.
            norm: ``"frozen"`` keeps statistics, scale and offset of every BatchNormalization; ``"train"`` lets them train.
            stochastic: ``"off"`` leaves dropout and stochastic depth off.

        Raises:
            TorsoError: There is no such level or node, it does not begin a block, or a value is unknown.
        """
        from torso.modeling.freeze import freeze

        if None not in (from_level, from_node):
            raise OptionError(f"level {from_level!r} and node {from_node!r} are two places to train from: give one of them")
        for name, value, legal in ("norm", norm, ("frozen", "train")), ("stochastic", stochastic, ("on", "off")):
            if value not in legal:
                raise OptionError(f"{name} must be {' or '.join(map(repr, legal))}, not {value!r}")
        whole = from_level is None and from_node is None
        end = self.graph.nodes[0].name if whole else self.graph.block_boundary_before(level=from_level, node=from_node)
        plan = self.graph.freeze_through(end, norm=norm, stochastic=stochastic)
        self.record = replace(self.record, frozen=freeze(self.model, self.graph, plan, "of unfreeze"))

    def variables_by_level(self) -> dict[str, tuple[keras.Variable, ...]]:
        """The weights, trainable or not: ``C1`` has those up to C1, ``C2`` those from there to C2, ``end`` the last."""
        from torso.training.parts import variables_by_level

        return variables_by_level(self.model, self.graph)

    def body_and_tail(self, cut: str) -> tuple[keras.Model, keras.Model]:
        """Two models that share this one's layers, up to a level or node and after it: ``tail(body(x))`` is ``model(x)``.

        Raises:
            TorsoError: There is no such level or node, a branch runs beside it, or it lies within a nested model.
        """
        from torso.training.parts import body_and_tail

        return body_and_tail(self.model, self.graph, cut)

    @overload
    def transform(self, pictures: Any, *, errors: Literal["raise"] = "raise") -> np.ndarray: ...

    @overload
    def transform(self, pictures: Any, *, errors: Literal["skip"]) -> Transformed: ...

    def transform(self, pictures: Any, *, errors: str = "raise") -> np.ndarray | Transformed:
        """Resize and crop pictures of any size to the network's input, as the spec says.

        Args:
            pictures: A file, a folder with all below it, or a pattern as ``"flowers/*/*.jpg"``, or several, in their order;
                the pictures of a folder or pattern are sorted by path. Or an array ``(H, W, C)``, a batch
                ``(N, H, W, C)``, or several arrays.
            errors: ``"skip"`` leaves out files that cannot be read.

        Returns:
            Pixels of 0 to 255 of upright photos, ``(N, height, width, channels)``, float32, for ``preprocess``. If errors
            are skipped, ``pixels, read, failed``: also the path of each of the N pictures, and the errors by path.

        Raises:
            TorsoError: A file is no picture that can be read, a folder or pattern has none, or an array has a wrong shape.
        """
        if errors not in ("raise", "skip"):
            raise OptionError(f"errors must be 'raise' or 'skip', not {errors!r}")
        from torso.modeling.image_transform import transform_images

        shape, skip = tuple(self.record.plan["input_shape"]), errors == "skip"
        found = transform_images(pictures, self.record.transform, shape, skip=skip)
        return found if skip else found.pixels

    def dataset(
        self,
        pictures: Any,
        *,
        labels: Any = "folders",
        batch_size: int = 32,
        shuffle: bool = False,
        augment: Callable[[Any], Any] | None = None,
        seed: int | None = None,
    ) -> tf.data.Dataset:
        """Pictures for training, read as :meth:`transform` reads them: batches of what ``model`` takes, and labels.

        Args:
            pictures: As for :meth:`transform`: a folder, files, a pattern.
            labels: ``"folders"``: the first folder inside a folder, or that of a file. Or one for each picture; None for
                pixels alone. They become numbers: positions in ``dataset.class_names``, sorted.
            batch_size: Pictures in a batch.
            shuffle: Another order each time; the same orders for the same ``seed``.
            augment: Changes each batch of pixels of 0 to 255, as Keras' augmentation layers do.

        Raises:
            TorsoError: There are no pictures, or not as many labels. A bad one is an error when it is read.
        """
        from torso.modeling.picture_reader import training_dataset

        change = (lambda pixels: self.preprocess(augment(pixels))) if augment else self.preprocess
        shape, batch = tuple(self.record.plan["input_shape"]), batch_size
        return training_dataset(pictures, labels, self.record.transform, shape, batch, shuffle, seed, change)
