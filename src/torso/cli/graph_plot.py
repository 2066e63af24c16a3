"""A graph as a picture, SVG or PNG: its resolutions, levels, blocks and clean cuts, and what each cut keeps.

Above, a box for each stage, as high as the logarithm of its resolution. Below, the parameters and multiply-accumulates
that a cut keeps, in percent of the whole. Both run from the input on the left to the end, in topological order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from torso.cli.text import format_shape, plural, printable, short
from torso.errors import OptionError, known
from torso.graph import EXPANSION, Cost, Graph, Node

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES: Final = (".svg", ".png")

# Lengths are in inches, and so are the data coordinates of the axes, except for the percentages.
_STAGE: Final = 0.95  # width of a stage without its nodes: room for its labels
_NODES: Final = 4.8  # width that all nodes share
_LEAST: Final = 9.0  # least width of all stages
_OCTAVE: Final = 0.27  # height of a box for each doubling of the resolution
_FLAG: Final = 0.25  # from one flag to the next above it
_LINE: Final = 0.155  # from one line of text to the next
_CURVES: Final = 1.5  # height of the curves
_GAP: Final = 0.45  # from the labels of the stages to the curves
_PERCENT: Final = 0.5  # width of a percentage

_OPEN_SIZE: Final = 256  # pixels a side, to draw a network for any size
_NAME: Final = 64  # characters of a node name that are drawn
_INK, _FAINT, _PALETTE = "#222222", "#d4d4d4", "YlGnBu"
_KINDS: Final[Sequence[tuple[str, Callable[[Cost], int | None], str, str, float]]] = (
    ("parameters", lambda cost: cost.parameters, "#c04a00", "o", 4.5),
    ("MACs", lambda cost: cost.macs, "#444444", "s", 6),
)


def refuse_undrawable(path: Path) -> None:
    """Refuse another file type than SVG and PNG, and a system without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot write a picture to {path.name!r}", notes=[known(f"*{suffix}" for suffix in SUFFIXES)])
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        notes = [("cause", str(error)), ("fix", "pip install 'torso[plot]'")]
        raise OptionError("a picture needs matplotlib, which cannot be imported", notes=notes) from error


def draw(graph: Graph, path: Path) -> None:
    """Draw a graph to a file, which is replaced; the same graph gives the same bytes."""
    refuse_undrawable(path)
    suffix = path.suffix.lower()
    undated = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
    with own_style():
        figure_of(graph).savefig(path, format=suffix[1:], dpi=160, bbox_inches="tight", pad_inches=0.2, metadata=undated)


def own_style() -> AbstractContextManager[None]:
    """Matplotlib's defaults in place of the user's own settings."""
    from matplotlib import style

    # Text that can be searched and selected, and the same ids each time.
    return style.context(["default", {"font.size": 8.5, "svg.fonttype": "none", "svg.hashsalt": "torso"}])


def figure_of(graph: Graph) -> Figure:
    """The figure, without pyplot: no window and no backend."""
    from matplotlib.figure import Figure

    layout = _Layout(graph)
    width, bottom = layout.edges[-1], -0.2 - 4 * _LINE
    top = max(max(layout.heights) + 0.05, max(layout.flags, default=0.0) + _FLAG)
    height = _CURVES + _GAP + top - bottom
    figure = Figure(figsize=(width, height))
    network = figure.add_axes((0, 1 - (top - bottom) / height, 1, (top - bottom) / height))
    _draw_stages(network, layout)
    _draw_flags(network, layout)
    _draw_title(network, layout, top)
    network.set(xlim=(0, width), ylim=(bottom, top))
    network.set_axis_off()
    curves = figure.add_axes((0, 0, 1, _CURVES / height))
    curves.set(xlim=(0, width), ylim=(0, 100))
    _draw_costs(curves, layout)
    return figure


class _Layout:
    """Where a graph is drawn. A stage begins where the stride is first larger than all before it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.cuts = [node for node in graph.clean if node.inputs]
        # Each level and its node, the last first.
        self.levels = [(level, graph[name]) for level, name in graph.levels.items() if not level.endswith(EXPANSION)]
        self.levels.sort(key=lambda pair: graph.position(pair[1].name), reverse=True)
        strides: list[int | None] = []
        self.bounds: list[int] = []  # the index of each stage's first node, and the number of nodes
        for index, node in enumerate(graph):
            largest = max(filter(None, strides), default=0)
            # A node without a stride: a stage of its own where the graph begins so, or ends so (a classification head).
            is_head = all(after.stride is None for after in graph.nodes[index:])
            if (node.stride or 0) > largest or index == 0 or (is_head and strides[-1] is not None):
                strides.append(node.stride)
                self.bounds.append(index)
        self.bounds.append(len(graph))
        shared = max(_NODES, _LEAST - _STAGE * len(strides))
        self.edges = [0.0]  # the x of each bound
        self.heights, self.labels = [], []
        for stride, (first, stop) in zip(strides, pairwise(self.bounds), strict=True):
            self.edges.append(self.edges[-1] + _STAGE + shared * (stop - first) / len(graph))
            height, labels = self._describe(stride, graph.nodes[first:stop])
            self.heights.append(height)
            self.labels.append(labels)
        # From the last to the first: each above the boxes on its right and the flag before, so that nothing crosses.
        self.flags: list[float] = []
        for _, node in self.levels:
            boxes = max(self.heights[self.stage(node) :]) + _FLAG / 2
            self.flags.append(max(boxes, self.flags[-1] + _FLAG if self.flags else 0))

    def stage(self, node: Node) -> int:
        """The index of a node's stage."""
        return sum(bound <= self.graph.position(node.name) for bound in self.bounds) - 1

    def x(self, node: Node) -> float:
        """Where a node ends."""
        import numpy as np

        return float(np.interp(self.graph.position(node.name) + 1, self.bounds, self.edges))

    def _describe(self, stride: int | None, nodes: Sequence[Node]) -> tuple[float, list[str]]:
        """The height and labels of a stage, by its smallest feature map (others are padded) and its level's channels."""
        own = [node for node in nodes if node.stride == stride]
        levels = [node for _, node in self.levels]
        typical = [node for node in own if node in levels] or [node for node in own if node in self.cuts] or own
        channels, octaves, size = typical[-1].channels, 1.0, ""
        if stride is not None:
            sides = min((node.shape[:-1] for node in own), key=lambda sides: [side or 0 for side in sides])
            if sides and all(sides):
                octaves, size = math.log2(math.prod(side or 0 for side in sides)) / len(sides), format_shape(sides)
            else:
                octaves, size = math.log2(_OPEN_SIZE / stride), "any size"
        labels = ["no stride" if stride is None else f"stride {stride}", size]
        labels += [plural(channels, "channel") if channels else "", plural(len(nodes), "node")]
        return _OCTAVE * max(octaves, 1), [label for label in labels if label]


def _draw_stages(axes: Axes, layout: _Layout) -> None:
    """The boxes with their labels, white lines at the ends of blocks, and ticks at the clean cuts."""
    import matplotlib
    import numpy as np

    edges, heights = layout.edges, layout.heights
    colors = matplotlib.colormaps[_PALETTE](np.linspace(0.3, 0.9, len(heights)))
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=colors)
    for (left, right), labels in zip(pairwise(edges), layout.labels, strict=True):
        for line, label in enumerate(labels):
            x, y, weight = (left + right) / 2, -0.2 - line * _LINE, "normal" if line else "bold"
            axes.text(x, y, label, ha="center", va="top", color=_INK, weight=weight)
    blocks = layout.graph.blocks
    tops = [heights[layout.stage(node)] for node in blocks]
    axes.vlines([layout.x(node) for node in blocks], 0, tops, color="white", linewidth=0.8)
    axes.vlines([layout.x(node) for node in layout.cuts], -0.15, -0.03, color=_INK, linewidth=0.6, clip_on=False)


def _draw_flags(axes: Axes, layout: _Layout) -> None:
    """A pole at each level's node, with a flag that is hollow where the level is not clean."""
    for (level, node), height in zip(layout.levels, layout.flags, strict=True):
        x, is_clean = layout.x(node), node in layout.graph.clean
        face, ink, line = (_INK, "white", "solid") if is_clean else ("white", _INK, (0, (3, 2)))
        axes.vlines(x, 0, height, color="white", linewidth=3, clip_on=False)  # shows the pole on a dark box
        axes.vlines(x, 0, height + _FLAG / 2, color=_INK, linewidth=1, linestyle=line, clip_on=False)
        box = {"boxstyle": "square,pad=0.25", "facecolor": face, "edgecolor": _INK, "linewidth": 0.9}
        name = printable(node.name)
        name = name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 :]}"
        axes.text(x + 0.03, height, level, color=ink, weight="bold", va="center", bbox=box)
        axes.text(x + 0.27, height, name, color=_INK, va="center", parse_math=False)


def _draw_title(axes: Axes, layout: _Layout, top: float) -> None:
    keys = f"{plural(len(layout.cuts), 'clean cut')} (ticks)   {plural(len(layout.graph.blocks), 'block')} (white lines)"
    if not all(node in layout.graph.clean for _, node in layout.levels):
        keys += "   hollow flag: not a clean cut"
    name = printable(layout.graph.name)
    axes.text(0, top + 0.32, name, size=14, weight="bold", color=_INK, va="bottom", parse_math=False)
    axes.text(0, top + 0.08, keys, color=_INK, va="bottom")


def _draw_costs(axes: Axes, layout: _Layout) -> None:
    """For each kind of cost a curve with a step at each clean cut, and its percentage at each level."""
    graph, costs, whole = layout.graph, layout.graph.clean_costs(), layout.graph.cost()
    xs = [0, *map(layout.x, layout.cuts), layout.edges[-1]]
    axes.vlines(layout.edges[:-1], 0, 100, color=_FAINT, linewidth=0.8)
    axes.hlines([50, 100], 0, xs[-1], color=_FAINT, linewidth=0.8)
    axes.set(xticks=[], yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    axes.tick_params(length=0, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    axes.spines.bottom.set(visible=True, color=_INK, linewidth=0.8)
    axes.text(0, 1 + 0.1 / _CURVES, "what a cut keeps", transform=axes.transAxes, color=_INK, weight="bold")

    def below(row: int, x: float, text: str, color: str, weight: str = "normal") -> None:
        y = -(0.08 + row * _LINE) / _CURVES
        axes.text(x, y, text, transform=axes.get_xaxis_transform(), ha="center", va="top", color=color, weight=weight)

    labelled: list[float] = []  # a level that is too close to the next one gets no percentages
    for level, node in layout.levels:
        if not labelled or labelled[-1] - layout.x(node) > _PERCENT:
            labelled.append(layout.x(node))
            below(0, labelled[-1], level, _INK, weight="bold")
    for row, (noun, of, color, marker, size) in enumerate(_KINDS, start=1):
        total, width = of(whole), 0.5 + 0.8 * row
        label = f"{short(total)} {noun}" if total else f"{noun} unknown" if total is None else f"no {noun}"
        axes.plot([], [], color=color, marker=marker, markersize=size, linewidth=width, label=label)
        if not total:
            continue
        curve = [0.0, *(100 * (of(costs[node.name]) or 0) / total for node in layout.cuts), 100.0]
        axes.step(xs, curve, where="post", color=color, linewidth=width, clip_on=False, zorder=3 - row / 10)
        for _, node in layout.levels:
            x, share = layout.x(node), 100 * (of(graph.kept(node.name).cost()) or 0) / total
            (mark,) = axes.plot(x, share, marker, color=color, markersize=size, clip_on=False, zorder=5 - row)
            mark.set_markerfacecolor(color if node in graph.clean else "white")
            if x in labelled:
                below(row, x, "<1 %" if 0 < share < 0.5 else f"{share:.0f} %", color)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, labelcolor="linecolor")
