"""Pretrained vision backbones from a name or a line of YAML: resolved through plugins, cut where you say, frozen.

The public API. Each name is imported from its module when it is first used, so ``import torso`` takes next to no time.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# The stub has each name once, for type checkers and for this module.
_STUB = Path(__file__).with_suffix(".pyi").read_text("utf-8")
_IMPORTS = re.findall(r"^from (\S+) import ([^()\n]+|\([^()]+\))$", _STUB, re.MULTILINE)
_MODULE_OF = {name: module for module, names in _IMPORTS for name in re.findall(r" as (\w+)", names)}
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
