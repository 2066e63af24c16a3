"""The plugin contract: the one file that a plugin author must read.

A plugin is a module (or any object) with functions marked ``@torso.hookimpl`` that bear the names below. It is found
through an entry point in the group ``torso``, named on the command line with ``-p package.module``, or put as a single
file into a folder given with ``--plugins-dir``. The entry point's name is the provider's name: ``acme`` in ``acme/eyenet``.

Most hooks are plural nouns that yield frozen values; torso collects them once, before a spec is resolved. The order of
plugins never matters. A plugin that misspells a hook, asks for an argument that a hook does not have, or yields a value of
another type is set aside whole, with the reason kept. A plugin has one function for a hook, without default values for its
arguments, and no hook wrappers. A single file writes its builder as ``f"{__name__}:build"``.

Importing a plugin must import neither TensorFlow nor Keras: its builder and its transformations import them inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

from torso.contracts.architecture import Architecture
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
    """Offer architectures that a spec can name.

    When: once per registry, before a spec is resolved.
    Yield: any number of ``Architecture``; ``name`` is the key written in YAML.
    Rules: a name belongs to one plugin; two that offer it must be told apart as ``provider/name``.
    Since: 0.1
    """
    return ()


@hookspec
def torso_build_arguments(
    architecture: Architecture, options: Options, weights: str, input_shape: tuple[int | None, int | None, int]
) -> Mapping[str, Value] | None:
    """Check a combination of options, and add arguments for the builder.

    When: while planning, before anything is built or downloaded; for every architecture, so look at its name or family.
    Arguments: ``options`` are checked one by one already; ``weights`` is a tag, ``"none"`` or ``"file"``; ``input_shape``
        is (height, width, channels) in pixels, (None, None, channels) for images of any size.
    Return: arguments that replace the options of the same name, or None for an architecture of somebody else.
    Rules: raise ``torso.OptionError`` for a combination that is not legal, and say what is. Two plugins that give one
        argument different values are an error that names both.
    Since: 0.1
    """
    return None


@hookspec
def torso_truncations() -> Iterable[Truncation]:
    """Offer ways to choose the cut.

    When: once per registry.
    Yield: any number of ``Truncation``.
    Rules: ``select`` reads the graph and returns the name of a node, or the names of several by what each output is to be
        called; torso cuts.
    Since: 0.1
    """
    return ()


@hookspec
def torso_before_freeze(model: keras.Model, plan: Plan) -> keras.Model | None:
    """Transform the trunk after the cut and before the freeze.

    When: at each build; the plugins one after the other, sorted by name.
    Arguments: ``model`` is the trunk, a functional model from images to features; ``plan`` is what was asked for.
    Return: a functional model with the same input, or None to leave it as it is.
    Since: 0.1
    """
    return None


@hookspec
def torso_freeze_policies() -> Iterable[FreezePolicy]:
    """Offer ways to choose what does not train.

    When: once per registry.
    Yield: any number of ``FreezePolicy``.
    Rules: ``select`` reads the graph of the trunk and returns a ``FreezePlan``; torso freezes.
    Since: 0.1
    """
    return ()


@hookspec
def torso_weight_sources() -> Iterable[WeightSource]:
    """Offer ways to turn what stands under ``weights:`` into a local file.

    When: once per registry.
    Yield: any number of ``WeightSource``.
    Rules: ``fetch`` verifies the hash where one is known, and never parses the file.
    Since: 0.1
    """
    return ()


@hookspec
def torso_channel_adapters() -> Iterable[ChannelAdapter]:
    """Offer rules that turn weights for some number of input channels into weights for another.

    When: once per registry.
    Yield: any number of ``ChannelAdapter``.
    Rules: ``mix`` says which channel is made of which, in plain numbers; torso computes weights and statistics from them.
    Since: 0.1
    """
    return ()


@hookspec
def torso_export_formats() -> Iterable[ExportFormat]:
    """Offer formats that a backbone can be written in for another runtime.

    When: once per registry.
    Yield: any number of ``ExportFormat``.
    Rules: ``write`` makes files of a SavedModel, and ``run`` computes features from these files alone; torso compares them
        with the Keras model, weighs the files, and publishes the folder or refuses it.
    Since: 0.1
    """
    return ()


@hookspec
def torso_backbone_built(backbone: Backbone) -> None:
    """Look at a finished backbone.

    When: at the end of each build, before it is handed out.
    Rules: an observer; what it returns does not count, and it must not change the backbone.
    Since: 0.1
    """
