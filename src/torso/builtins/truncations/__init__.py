"""The truncation strategies of torso: each reads the graph and returns where to end."""

from collections.abc import Iterable

from torso.builtins.truncations.by_depth import select_budget, select_pop
from torso.builtins.truncations.by_level import LEVEL_NAMES, at_levels, select_level, select_levels, select_stride
from torso.builtins.truncations.by_name import at_layers, select_layer, select_layers, select_match
from torso.contracts.hookspecs import hookimpl
from torso.contracts.truncation import Truncation
from torso.specs.options import Option

_PARTIAL = Option(name="allow_partial", type=bool, default=False, doc="Cut here even if a parallel branch is lost.")
_LAYER = Option(name="name", type=str, doc="Name of the node; outer/inner inside a nested model, name:1 for a second call.")
_LAYERS = Option(name="names", type=str, many=True, doc="Names of the nodes; the model gives their outputs by name.")
_PATTERN = Option(name="pattern", type=str, doc="Sought anywhere in a name; ^ and $ stand for its ends.")
_COUNT = Option(name="count", type=int, minimum=1, doc="How many to remove; to keep all is truncate: none.")
_doc = "What is counted; all nodes after the last block count as one block."
_UNIT = Option(name="unit", type=str, default="node", choices=("node", "block"), doc=_doc)
_LEVEL = Option(name="name", type=str, choices=LEVEL_NAMES, doc="C4, or C4@expansion for the wider node after it.")
_doc = "Names of the levels; the model gives their outputs by name, in this order."
_LEVELS = Option(name="names", type=str, many=True, choices=LEVEL_NAMES, doc=_doc)
_STRIDE = Option(name="pixels", type=int, minimum=1, doc="The stride, as 16.")
_LIMITS = (
    Option(name="parameters", type=int, default=None, minimum=0, doc="The most parameters."),
    Option(name="macs", type=int, default=None, minimum=0, doc="The most multiply-accumulates for one image."),
    Option(name="receptive_field", type=int, default=None, minimum=1, doc="The largest receptive field, in pixels a side."),
)


@hookimpl
def torso_truncations() -> Iterable[Truncation]:
    yield Truncation(name="none", doc="Keep the whole headless network.", select=lambda graph, options: graph.ends)
    doc, options = "End at one node, by its canonical name.", (_LAYER, _PARTIAL)
    yield Truncation(name="layer", doc=doc, select=select_layer, static_cut=at_layers, options=options, positional="name")
    doc, options = "Give the outputs of several nodes, by their canonical names.", (_LAYERS, _PARTIAL)
    yield Truncation(name="layers", doc=doc, select=select_layers, static_cut=at_layers, options=options, positional="names")
    doc = "End at the last node whose name matches a regular expression."
    yield Truncation(name="match", doc=doc, select=select_match, options=(_PATTERN, _PARTIAL), positional="pattern")
    doc = "Remove exactly so many nodes or blocks from the end, in topological order."
    yield Truncation(name="pop", doc=doc, select=select_pop, options=(_COUNT, _UNIT, _PARTIAL), positional="count")
    doc = "End at a level: the last block output at stride 2 (C1) to 32 (C5)."
    yield Truncation(name="level", doc=doc, select=select_level, static_cut=at_levels, options=(_LEVEL,), positional="name")
    doc = "Give a pyramid: the outputs of several levels."
    yield Truncation(
        name="levels", doc=doc, select=select_levels, static_cut=at_levels, options=(_LEVELS,), positional="names"
    )
    doc = "End at the last block output whose positions are so many input pixels apart."
    yield Truncation(name="stride", doc=doc, select=select_stride, options=(_STRIDE,), positional="pixels")
    doc = "End at the deepest clean cut within given limits."
    yield Truncation(name="budget", doc=doc, select=select_budget, options=_LIMITS)
