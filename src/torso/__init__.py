"""Pretrained vision backbones from a name or a line of YAML: resolved through plugins, cut where you say, frozen.

The public API. Each name is imported from its module when it is first used, so ``import torso`` takes next to no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, to whom "X as X" is a public name; the same names as in _MODULES below
    # fmt: off
    # isort: off
    from torso.api import (
        Backbones as Backbones, attach as attach, create_backbone as create_backbone,
        list_architectures as list_architectures, load as load, load_specs as load_specs, read_graph as read_graph,
    )
    from torso.artifact.diff import diff as diff
    from torso.artifact.verify import Check as Check, Verification as Verification, verify as verify
    from torso.backbone import Backbone as Backbone
    from torso.base_model import get_base_model as get_base_model, preprocess_for as preprocess_for
    from torso.contracts.architecture import (
        Architecture as Architecture, InputRules as InputRules, License as License, Weights as Weights,
    )
    from torso.contracts.export_format import ExportFormat as ExportFormat
    from torso.contracts.freeze_policy import FreezePolicy as FreezePolicy
    from torso.contracts.hookspecs import hookimpl as hookimpl
    from torso.contracts.preprocessing import Preprocessing as Preprocessing, Transform as Transform
    from torso.contracts.truncation import Truncation as Truncation
    from torso.contracts.weights import (
        ChannelAdapter as ChannelAdapter, WeightsFile as WeightsFile, WeightSource as WeightSource,
    )
    from torso.errors import (
        ClashError as ClashError, CutError as CutError, DiskError as DiskError, FreezeWarning as FreezeWarning,
        IntegrityError as IntegrityError, ManyErrors as ManyErrors, OptionError as OptionError,
        OutputExistsError as OutputExistsError, PixelWarning as PixelWarning, PluginError as PluginError,
        SpecError as SpecError, TorsoError as TorsoError, UnknownNameError as UnknownNameError,
    )
    from torso.graph import (
        Branch as Branch, Cost as Cost, Feature as Feature, FreezePlan as FreezePlan, Graph as Graph,
        Node as Node,
    )
    from torso.modeling.freeze_guard import FreezeGuard as FreezeGuard
    from torso.planning import Plan as Plan
    from torso.planning.keywords import plan as plan
    from torso.plugins.registry import Registry as Registry
    from torso.specs.options import Option as Option, Options as Options
    from torso.training.learning_rates import scale_learning_rates as scale_learning_rates
    # fmt: on

__version__ = "0.1.0"

_MODULES = {  # where each public name is defined
    "torso.artifact.diff": "diff",
    "torso.artifact.verify": "Check Verification verify",
    "torso.api": "Backbones attach create_backbone list_architectures load load_specs read_graph",
    "torso.backbone": "Backbone",
    "torso.base_model": "get_base_model preprocess_for",
    "torso.contracts.architecture": "Architecture InputRules License Weights",
    "torso.contracts.export_format": "ExportFormat",
    "torso.contracts.freeze_policy": "FreezePolicy",
    "torso.contracts.hookspecs": "hookimpl",
    "torso.contracts.preprocessing": "Preprocessing Transform",
    "torso.contracts.truncation": "Truncation",
    "torso.contracts.weights": "ChannelAdapter WeightSource WeightsFile",
    "torso.errors": "ClashError CutError DiskError FreezeWarning IntegrityError ManyErrors OptionError OutputExistsError "
    "PixelWarning PluginError SpecError TorsoError UnknownNameError",
    "torso.graph": "Branch Cost Feature FreezePlan Graph Node",
    "torso.modeling.freeze_guard": "FreezeGuard",
    "torso.planning": "Plan",
    "torso.planning.keywords": "plan",
    "torso.plugins.registry": "Registry",
    "torso.specs.options": "Option Options",
    "torso.training.learning_rates": "scale_learning_rates",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}
_NOW_METHODS_OF_GRAPH = {  # functions of torso 0.1, to be removed in 1.0
    "boundary": "block_boundary",
    "branches_lost": "lost_branches",
    "clean_costs": "clean_costs",
    "cost_of": "cost",
    "freeze_through": "freeze_through",
    "require_clean": "require_clean",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _NOW_METHODS_OF_GRAPH:
        from warnings import warn

        method = _NOW_METHODS_OF_GRAPH[name]
        warn(f"torso.{name}(graph, …) is deprecated: write graph.{method}(…)", DeprecationWarning, stacklevel=2)
        return getattr(__getattr__("Graph"), method)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'torso' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
