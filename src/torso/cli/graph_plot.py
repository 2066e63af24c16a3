"""A graph as a picture, SVG or PNG: its resolutions, levels, blocks and clean cuts, and what each cut keeps.

Above, a box for each stage, as high as the logarithm of its resolution. Below, the parameters and multiply-accumulates
that a cut keeps, in percent of the whole. Both run from the input on the left to the end, in topological order.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torso.cli.text import format_shape, plural, printable, short
from torso.errors import OptionError, known
from torso.graph import EXPANSION, Cost, Graph, Node

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES: Final = (".svg", ".png")

# Matplotlib's defaults in place of the user's own settings. Text can be searched and selected; ids are the same each time.
STYLE: Final = ("default", {"font.size": 8.5, "svg.fonttype": "none", "svg.hashsalt": "torso"})

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
_INK, _FAINT, _PALETTE = "#222222", "#d4d4d4", "YlGnBu"
_KINDS: Final[Sequence[tuple[str, Callable[[Cost], int | None], str, str]]] = (
    ("parameters", lambda cost: cost.parameters, "#c04a00", "o"),
    ("MACs", lambda cost: cost.macs, "#444444", "s"),
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
    save(lambda: figure_of(graph), path)


def save(figure: Callable[[], Figure], path: Path) -> None:
    """Write a figure to a file, without the user's own settings."""
    from matplotlib import style

    suffix = path.suffix.lower()
    undated = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
    with style.context(STYLE):
        figure().savefig(path, format=suffix[1:], dpi=160, bbox_inches="tight", pad_inches=0.2, metadata=undated)


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
    keys = f"{plural(len(layout.cuts), 'clean cut')} (ticks)   {plural(len(graph.blocks), 'block')} (white lines)"
    network.text(0, top + 0.32, printable(graph.name), size=14, weight="bold", color=_INK, va="bottom", parse_math=False)
    network.text(0, top + 0.08, f"{keys}   hollow flag: not a clean cut", color=_INK, va="bottom")
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
        starts = [0]
        for index, node in enumerate(graph):
            if (node.stride or 0) > (graph.nodes[starts[-1]].stride or 0):
                starts.append(index)
        self.bounds = [*starts, len(graph)]  # the index of each stage's first node, and the number of nodes
        shared = max(_NODES, _LEAST - _STAGE * len(starts))
        widths = [_STAGE + shared * (stop - first) / len(graph) for first, stop in pairwise(self.bounds)]
        self.edges = [*accumulate(widths, initial=0.0)]  # the x of each bound
        described = [self._describe(graph.nodes[first:stop]) for first, stop in pairwise(self.bounds)]
        self.heights, self.labels = zip(*described, strict=True)
        # From the last to the first: each above the boxes on its right and the flag before, so that nothing crosses.
        self.flags: list[float] = []
        for _, node in self.levels:
            boxes = max(self.heights[self.stage(node) :]) + _FLAG / 2
            self.flags.append(max(boxes, self.flags[-1] + _FLAG if self.flags else 0))

    def stage(self, node: Node) -> int:
        """The index of a node's stage."""
        return bisect_right(self.bounds, self.graph.position(node.name)) - 1

    def x(self, node: Node) -> float:
        """Where a node ends."""
        import numpy as np

        return float(np.interp(self.graph.position(node.name) + 1, self.bounds, self.edges))

    def _describe(self, nodes: Sequence[Node]) -> tuple[float, list[str]]:
        """The height and labels of a stage, by its smallest feature map (others are padded) and its level's channels."""
        stride, octaves, labels = nodes[0].stride, 1.0, ["no stride"]
        own = [node for node in nodes if node.stride == stride]
        if stride is not None:
            sides = min((node.shape[:-1] for node in own), key=lambda sides: [side or 0 for side in sides])
            labels = [f"stride {stride}", format_shape(sides)]
            octaves = math.log2(min(side or _OPEN_SIZE / stride for side in sides))
        levels = [node for _, node in self.levels]
        typical = [node for node in own if node in levels] or [node for node in own if node in self.cuts] or own
        labels += [plural(typical[-1].channels, "channel")] if typical[-1].channels else []
        return _OCTAVE * max(octaves, 1), [*labels, plural(len(nodes), "node")]


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
        axes.text(x + 0.03, height, level, color=ink, weight="bold", va="center", bbox=box)
        axes.text(x + 0.27, height, printable(node.name), color=_INK, va="center", parse_math=False)


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
    axes.text(0, 100 + 10 / _CURVES, "what a cut keeps", color=_INK, weight="bold")

    def below(row: int, x: float, text: str, color: str, weight: str = "normal") -> None:
        axes.text(x, -100 * (0.08 + row * _LINE) / _CURVES, text, ha="center", va="top", color=color, weight=weight)

    labelled: list[float] = []  # a level that is too close to the next one gets no percentages
    for level, node in layout.levels:
        if not labelled or labelled[-1] - layout.x(node) > _PERCENT:
            labelled.append(layout.x(node))
            below(0, labelled[-1], level, _INK, weight="bold")
    for row, (noun, of, color, marker) in enumerate(_KINDS, start=1):
        total = of(whole)
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3 + 1.5 * row, "clip_on": False}
        axes.plot([], [], label=f"{short(total) or 'unknown'} {noun}", **style)
        if not total:
            continue
        curve = [0.0, *(100 * (of(costs[node.name]) or 0) / total for node in layout.cuts), 100.0]
        axes.step(xs, curve, where="post", color=color, linewidth=0.5 + 0.8 * row, clip_on=False, zorder=3 - row / 10)
        for _, node in layout.levels:
            x, share = layout.x(node), 100 * (of(graph.kept(node.name).cost()) or 0) / total
            face = color if node in graph.clean else "white"
            axes.plot(x, share, markerfacecolor=face, zorder=5 - row, **style)
            if x in labelled:
                below(row, x, "<1 %" if 0 < share < 0.5 else f"{share:.0f} %", color)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, labelcolor="linecolor")
