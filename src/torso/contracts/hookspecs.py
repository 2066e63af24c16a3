"""The plugin contract: the one file that a plugin author must read.

A plugin is a module (or any object) with functions that are marked ``@torso.hookimpl`` and named as below. torso finds it
through an entry point in the group ``torso``, by its module (``-p package.module``), or as one file in a folder
(``--plugins-dir DIR``). The entry point's name, the last part of the module's name or the file's stem is the provider's
name: ``acme`` in ``acme/eyenet``.

- Import TensorFlow and Keras inside the functions that need them only: a plan is made without them.
- Implement a hook once. Take only arguments that the hook has, without default values; you may leave out some.
- Hook wrappers are not supported, and the order of plugins never matters.
- Plural hooks (``torso_architectures``) yield frozen values. torso calls each once per registry. A field of another type is
  a TypeError; lists become tuples, and mappings read-only.
- A plugin that cannot be imported or breaks these rules is disabled as a whole. ``torso plugins`` shows the reason.
- To refuse what the user asked for, raise a :class:`torso.TorsoError` such as :class:`torso.OptionError`. Any other
  exception is reported as a fault of the plugin.

Example, a plugin in one file::

    import torso

    @torso.hookimpl
    def torso_architectures():
        yield torso.Architecture(
            name="eyenet",
            family="EyeNet",
            builder=f"{__name__}:build",
            input=torso.InputRules(default=(64, 64)),
            preprocessing=torso.Preprocessing(divide=255.0),
        )

    def build(*, input_shape):
        import keras

        images = keras.Input(input_shape)
        return keras.Model(images, keras.layers.Conv2D(8, 3, strides=2, name="stem")(images))

    @torso.hookimpl
    def torso_truncations():
        yield torso.Truncation(name="half", doc="Keep half of the nodes.", select=half)

    def half(graph, options):
        return [node.name for node in graph.clean_cuts if graph.position(node.name) <= len(graph) // 2][-1]
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

from torso.contracts.architecture import Architecture
from torso.contracts.engine import Engine
from torso.contracts.export_format import ExportFormat
from torso.contracts.freeze_policy import FreezePolicy
from torso.contracts.truncation import Truncation
from torso.contracts.weights import ChannelAdapter, WeightSource
from torso.specs.options import Options, Value

if TYPE_CHECKING:
    import keras

    from torso.backbone import Backbone
    from torso.planning import Plan

hookspec = pluggy.HookspecMarker("torso")
hookimpl = pluggy.HookimplMarker("torso")


@hookspec
def torso_architectures() -> Iterable[Architecture]:
    """Offer architectures. If two plugins offer one name, users write ``provider/name``."""


@hookspec
def torso_build_arguments(
    architecture: Architecture, options: Options, weights: str, input_shape: tuple[int | None, int | None, int]
) -> Mapping[str, Value] | None:
    """Check a combination of options, and return arguments for the builder; they replace options of the same name.

    Called while planning, for every architecture: look at its name or family, and return None for another plugin's.
    ``options`` are checked one by one, defaults included. ``weights`` is a tag, ``"none"``, or the name of a weight source
    such as ``"file"``. ``input_shape`` is (height, width, channels) in pixels; (None, None, channels) for any size. It is
    an error if two plugins give one argument different values.
    """


@hookspec
def torso_truncations() -> Iterable[Truncation]:
    """Offer ways to choose where a backbone ends: ``select`` reads the graph and returns names of nodes; torso cuts."""


@hookspec
def torso_before_freeze(model: keras.Model, plan: Plan) -> keras.Model | None:
    """Transform the truncated model before it is frozen: a functional model from images to features.

    Called at each build, one plugin after the other, sorted by name. Return a functional model with the same input, or None
    to leave it as it is.
    """


@hookspec
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    """Offer ways to choose what does not train.

    ``select`` reads the graph of the truncated model and returns a ``FreezePlan``, for which ``graph.block_boundary`` and
    ``graph.freeze_through`` help; torso freezes.
    """


@hookspec
def torso_weight_sources() -> Iterable[WeightSource]:
    """Offer ways to get a weights file: ``fetch`` returns a local file, and never parses it."""


@hookspec
def torso_channel_adapters() -> Iterable[ChannelAdapter]:
    """Offer rules that turn weights for some number of input channels into weights for another.

    ``mix`` returns numbers: how much of each trained channel a new channel is. torso computes.
    """


@hookspec
def torso_export_formats() -> Iterable[ExportFormat]:
    """Offer formats for other runtimes.

    ``write`` converts a SavedModel, and ``open`` makes a function of the written files that computes features: for exports,
    and as a runtime for the features of many pictures. torso compares them with those of Keras first.
    """


@hookspec
def torso_engines() -> Iterable[Engine]:
    """Offer places where ``torso extract`` computes: on another machine, or on several."""


@hookspec
def torso_backbone_built(backbone: Backbone) -> None:
    """Look at a finished backbone, at the end of each build. What the hook returns is ignored.

    It is an error to change what the backbone has or what trains in it.
    """
