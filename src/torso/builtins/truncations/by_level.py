"""By resolution: ``level``, ``levels`` and ``stride``."""

from typing import cast

from torso.contracts.truncation import Cut, DeclaredLevels
from torso.errors import CutError
from torso.graph import EXPANSION, LEVELS, Graph, describe
from torso.specs.options import Options

LEVEL_NAMES = (*LEVELS, *(level + EXPANSION for level in LEVELS))


def select_level(graph: Graph, options: Options) -> str:
    """The node of a level; one that the architecture declares need not be a clean cut."""
    return graph.node_of_level(str(options["name"]))


def select_levels(graph: Graph, options: Options) -> Cut:
    """The node of each level, in the user's order."""
    names = cast("tuple[str, ...]", options["names"])
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CutError(f"{twice[0]} is named twice, and a backbone gives each level once")
    if not names:
        raise CutError("levels names no level", notes=graph.level_notes())
    return {name: graph.node_of_level(name) for name in names}


def at_levels(declared: DeclaredLevels, options: Options) -> list[str]:
    """The declared nodes, if every level that is asked for is declared."""
    asked = cast("tuple[str, ...]", options.get("names", (options.get("name"),)))
    nodes = [declared.levels[level] for level in asked if level in declared.levels]
    return nodes if len(nodes) == len(asked) == len(set(asked)) else []


def select_stride(graph: Graph, options: Options) -> str:
    """The level of that stride, or the last block output if no level has it."""
    stride = cast("int", options["pixels"])
    by_stride = {node.stride: node.name for node in graph.blocks}
    # A declared level goes before the last block output: it need not be a clean cut.
    by_stride |= {LEVELS[level]: name for level, name in graph.levels.items() if level in LEVELS}
    if stride in by_stride:
        return by_stride[stride]
    notes = [(f"stride {pixels}", f"{name!r}  ({describe(graph[name])})") for pixels, name in sorted(by_stride.items())]
    raise CutError(f"{graph.name} has no block that ends at stride {stride}", notes=notes or graph.level_notes())
