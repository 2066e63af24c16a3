"""Pretrained vision backbones from a name or a line of YAML: resolved through plugins, cut where you say, frozen for real.

This is the door: everything public is here, and each name is fetched from its room when it is first used, so that
importing torso costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # each name as itself: that is how a type checker is told that it is public
    from torso.artifact.diff import diff as diff
    from torso.artifact.verify import (
        Check as Check,
        Verification as Verification,
        verify as verify,
    )
    from torso.backbone import (
        Backbone as Backbone,
        Backbones as Backbones,
        create_backbone as create_backbone,
        get_base_model as get_base_model,
        list_architectures as list_architectures,
        load as load,
        load_specs as load_specs,
        plan as plan,
        read_graph as read_graph,
    )
    from torso.contracts.architecture import (
        Architecture as Architecture,
        InputRules as InputRules,
        License as License,
        Weights as Weights,
    )
    from torso.contracts.export_format import ExportFormat as ExportFormat
    from torso.contracts.freeze_policy import (
        FreezePlan as FreezePlan,
        FreezePolicy as FreezePolicy,
        freeze_through as freeze_through,
    )
    from torso.contracts.hookspecs import hookimpl as hookimpl
    from torso.contracts.preprocessing import Preprocessing as Preprocessing, Transform as Transform
    from torso.contracts.truncation import Truncation as Truncation
    from torso.contracts.weights import (
        ChannelAdapter as ChannelAdapter,
        WeightsFile as WeightsFile,
        WeightSource as WeightSource,
    )
    from torso.errors import (
        ClashError as ClashError,
        CutError as CutError,
        DiskError as DiskError,
        IntegrityError as IntegrityError,
        ManyErrors as ManyErrors,
        OptionError as OptionError,
        OutputExistsError as OutputExistsError,
        PixelWarning as PixelWarning,
        PluginError as PluginError,
        SpecError as SpecError,
        TorsoError as TorsoError,
        UnknownNameError as UnknownNameError,
    )
    from torso.graph import (
        Branch as Branch,
        Cost as Cost,
        Feature as Feature,
        Graph as Graph,
        Node as Node,
        boundary as boundary,
        branches_lost as branches_lost,
        clean_costs as clean_costs,
        cost_of as cost_of,
        require_clean as require_clean,
    )
    from torso.modeling.freeze_guard import FreezeGuard as FreezeGuard
    from torso.planning import Plan as Plan
    from torso.plugins.registry import Registry as Registry
    from torso.specs.options import (
        Option as Option,
        Options as Options,
    )

__version__ = "0.1.0"

_ROOMS = {
    "torso.contracts.architecture": ("Architecture", "InputRules", "License", "Weights"),
    "torso.backbone": (
        "Backbone",
        "Backbones",
        "create_backbone",
        "get_base_model",
        "list_architectures",
        "load",
        "load_specs",
        "plan",
        "read_graph",
    ),
    "torso.artifact.diff": ("diff",),
    "torso.errors": (
        "ClashError",
        "CutError",
        "DiskError",
        "IntegrityError",
        "ManyErrors",
        "OptionError",
        "OutputExistsError",
        "PixelWarning",
        "PluginError",
        "SpecError",
        "TorsoError",
        "UnknownNameError",
    ),
    "torso.contracts.export_format": ("ExportFormat",),
    "torso.contracts.freeze_policy": ("FreezePlan", "FreezePolicy", "freeze_through"),
    "torso.graph": (
        "Branch",
        "Cost",
        "Feature",
        "Graph",
        "Node",
        "boundary",
        "branches_lost",
        "clean_costs",
        "cost_of",
        "require_clean",
    ),
    "torso.contracts.hookspecs": ("hookimpl",),
    "torso.modeling.freeze_guard": ("FreezeGuard",),
    "torso.planning": ("Plan",),
    "torso.contracts.preprocessing": ("Preprocessing", "Transform"),
    "torso.plugins.registry": ("Registry",),
    "torso.specs.options": ("Option", "Options"),
    "torso.contracts.truncation": ("Truncation",),
    "torso.artifact.verify": ("Check", "Verification", "verify"),
    "torso.contracts.weights": ("ChannelAdapter", "WeightSource", "WeightsFile"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str) -> Any:  # Any: whatever that name is
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'torso' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
