"""A graph as a picture, SVG or PNG: its resolutions, levels, blocks and clean cuts, and what each cut keeps.

Above, a box for each stage, as high as the logarithm of its resolution. Below, the parameters and multiply-accumulates
that a cut keeps, in percent of the whole. Both run from the input on the left to the end, in topological order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_UNDATED: Final = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}


def refuse_undrawable(path: Path) -> None:
    """Refuse what cannot be drawn, whatever the network.

    Raises:
        OptionError: The file name does not end in ``.svg`` or ``.png``, or matplotlib cannot be imported.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot write a picture to {path.name!r}", notes=[known(f"*{suffix}" for suffix in SUFFIXES)])
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        notes = [("cause", str(error)), ("fix", "pip install 'torso[plot]'")]
        raise OptionError("a picture needs matplotlib, which cannot be imported", notes=notes) from error


def draw(graph: Graph, path: Path) -> None:
    """Draw a graph to a file, which is replaced; the same graph gives the same bytes.

    Raises:
        OptionError: See :func:`refuse_undrawable`.
        OSError: The file cannot be written.
    """
    refuse_undrawable(path)
    import matplotlib

    suffix = path.suffix.lower()
    with matplotlib.rc_context():
        set_up()
        figure = figure_of(graph)
        figure.savefig(path, format=suffix[1:], dpi=160, bbox_inches="tight", pad_inches=0.2, metadata=_UNDATED[suffix])


def set_up() -> None:
    """Set matplotlib up, whatever the user's own settings are."""
    import matplotlib

    matplotlib.rcdefaults()
    # Text that can be searched and selected, and the same ids each time.
    matplotlib.rcParams.update({"font.size": 8.5, "svg.fonttype": "none", "svg.hashsalt": "torso"})


def figure_of(graph: Graph) -> Figure:
    """The figure, without pyplot: no window and no backend."""
    from matplotlib.figure import Figure

    stages = _stages(graph)
    flags = _flags(graph, stages)
    width, bottom = stages[-1].right, -0.2 - 4 * _LINE
    top = max([stage.height + 0.05 for stage in stages] + [flag.height + _FLAG for flag in flags])
    height = _CURVES + _GAP + top - bottom
    figure = Figure(figsize=(width, height))
    network = figure.add_axes((0, 1 - (top - bottom) / height, 1, (top - bottom) / height))
    network.set(xlim=(0, width), ylim=(bottom, top))
    network.set_axis_off()
    _draw_stages(network, graph, stages)
    _draw_flags(network, flags)
    _draw_title(network, graph, flags, top)
    curves = figure.add_axes((0, 0, 1, _CURVES / height))
    curves.set(xlim=(0, width), ylim=(0, 100))
    _draw_costs(curves, graph, stages, flags)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """The nodes from ``first`` to before ``stop``, drawn from ``left`` to ``right`` with these labels below."""

    first: int
    stop: int
    left: float
    right: float
    height: float
    labels: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Flag:
    """A level: the x of its node's end, the height of its flag, and what a cut there keeps."""

    level: str
    name: str
    is_clean: bool
    x: float
    height: float
    cost: Cost


def _stages(graph: Graph) -> list[_Stage]:
    """A stage begins where the stride is first larger than all before it."""
    firsts: list[tuple[int | None, int]] = []
    largest = last = 0
    for index, node in enumerate(graph):
        if node.stride is not None:
            last = index
            if node.stride > largest:
                largest = node.stride
                firsts.append((largest, index))
    if not firsts or firsts[0][1] > 0:
        firsts.insert(0, (None, 0))
    if firsts[-1][0] is not None and last + 1 < len(graph):
        firsts.append((None, last + 1))  # a classification head
    shared = max(_NODES, _LEAST - _STAGE * len(firsts))
    stages: list[_Stage] = []
    left = 0.0
    for (stride, first), (_, stop) in pairwise([*firsts, (None, len(graph))]):
        right = left + _STAGE + shared * (stop - first) / len(graph)
        height, labels = _describe(graph, stride, graph.nodes[first:stop])
        stages.append(_Stage(first=first, stop=stop, left=left, right=right, height=height, labels=labels))
        left = right
    return stages


def _describe(graph: Graph, stride: int | None, nodes: Sequence[Node]) -> tuple[float, Sequence[str]]:
    """The height and the labels of a stage, by its smallest feature map (others are padded) and its level's channels."""
    own = [node for node in nodes if node.stride == stride]
    levels = {graph.levels[level] for level in _levels(graph)}
    typical = [node for node in own if node.name in levels] or [node for node in own if node in graph.clean] or own
    channels = typical[-1].channels
    octaves, size = 1.0, ""
    if stride is not None:
        sides = min((node.shape[:-1] for node in own), key=lambda sides: [side or 0 for side in sides])
        if sides and all(sides):
            octaves, size = math.log2(math.prod(side or 0 for side in sides)) / len(sides), format_shape(sides)
        else:
            octaves, size = math.log2(_OPEN_SIZE / stride), "any size"
    labels = [
        "no stride" if stride is None else f"stride {stride}",
        size,
        plural(channels, "channel") if channels else "",
        plural(len(nodes), "node"),
    ]
    return _OCTAVE * max(octaves, 1), [label for label in labels if label]


def _flags(graph: Graph, stages: Sequence[_Stage]) -> list[_Flag]:
    """From the last to the first: each above the boxes on its right and the flag before, so that nothing crosses."""
    flags: list[_Flag] = []
    height = 0.0
    for level in sorted(_levels(graph), key=lambda level: graph.position(graph.levels[level]), reverse=True):
        node = graph[graph.levels[level]]
        stop = graph.position(node.name) + 1
        height = max([height, *(stage.height + _FLAG / 2 for stage in stages if stop <= stage.stop)])
        is_clean, x, cost = node in graph.clean, _x(stages, stop), graph.kept(node.name).cost()
        flags.append(_Flag(level=level, name=node.name, is_clean=is_clean, x=x, height=height, cost=cost))
        height += _FLAG
    return flags


def _levels(graph: Graph) -> list[str]:
    return [level for level in graph.levels if not level.endswith(EXPANSION)]


def _cuts(graph: Graph) -> list[Node]:
    return [node for node in graph.clean if node.inputs]


def _x(stages: Sequence[_Stage], stop: int) -> float:
    """Where the first ``stop`` nodes end."""
    stage = next(stage for stage in stages if stop <= stage.stop)
    return stage.left + (stage.right - stage.left) * (stop - stage.first) / (stage.stop - stage.first)


def _draw_stages(axes: Axes, graph: Graph, stages: Sequence[_Stage]) -> None:
    """The boxes with their labels, white lines at the ends of blocks, and ticks at the clean cuts."""
    import matplotlib
    from matplotlib.patches import Rectangle

    for index, stage in enumerate(stages):
        color = matplotlib.colormaps[_PALETTE](0.3 + 0.6 * index / max(1, len(stages) - 1))
        axes.add_patch(Rectangle((stage.left, 0), stage.right - stage.left, stage.height, facecolor=color))
        for line, label in enumerate(stage.labels):
            x, y = (stage.left + stage.right) / 2, -0.2 - line * _LINE
            axes.text(x, y, label, ha="center", va="top", color=_INK, weight="normal" if line else "bold")
    blocks = [graph.position(node.name) + 1 for node in graph.blocks]
    heights = [next(stage.height for stage in stages if stop <= stage.stop) for stop in blocks]
    axes.vlines([_x(stages, stop) for stop in blocks], 0, heights, color="white", linewidth=0.8)
    cuts = [_x(stages, graph.position(node.name) + 1) for node in _cuts(graph)]
    axes.vlines(cuts, -0.15, -0.03, color=_INK, linewidth=0.6, clip_on=False)


def _draw_flags(axes: Axes, flags: Sequence[_Flag]) -> None:
    """A pole at each level's node, with a flag that is hollow where the level is not clean."""
    for flag in flags:
        face, ink, line = (_INK, "white", "solid") if flag.is_clean else ("white", _INK, (0, (3, 2)))
        axes.vlines(flag.x, 0, flag.height, color="white", linewidth=3, clip_on=False)  # shows the pole on a dark box
        axes.vlines(flag.x, 0, flag.height + _FLAG / 2, color=_INK, linewidth=1, linestyle=line, clip_on=False)
        box = {"boxstyle": "square,pad=0.25", "facecolor": face, "edgecolor": _INK, "linewidth": 0.9}
        name = printable(flag.name)
        name = name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 :]}"
        axes.text(flag.x + 0.03, flag.height, flag.level, color=ink, weight="bold", va="center", bbox=box)
        axes.text(flag.x + 0.27, flag.height, name, color=_INK, va="center", parse_math=False)


def _draw_title(axes: Axes, graph: Graph, flags: Sequence[_Flag], top: float) -> None:
    keys = [f"{plural(len(_cuts(graph)), 'clean cut')} (ticks)", f"{plural(len(graph.blocks), 'block')} (white lines)"]
    if not all(flag.is_clean for flag in flags):
        keys.append("hollow flag: not a clean cut")
    name = printable(graph.name)
    axes.text(0, top + 0.32, name, size=14, weight="bold", color=_INK, va="bottom", parse_math=False)
    axes.text(0, top + 0.08, "   ".join(keys), color=_INK, va="bottom")


def _draw_costs(axes: Axes, graph: Graph, stages: Sequence[_Stage], flags: Sequence[_Flag]) -> None:
    """For each kind of cost a curve with a step at each clean cut, and its percentage at each level."""
    costs, whole, cuts = graph.clean_costs(), graph.cost(), _cuts(graph)
    xs = [0, *(_x(stages, graph.position(node.name) + 1) for node in cuts), stages[-1].right]
    axes.vlines([stage.left for stage in stages], 0, 100, color=_FAINT, linewidth=0.8)
    axes.hlines([50, 100], 0, xs[-1], color=_FAINT, linewidth=0.8)
    axes.set(xticks=[], yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    axes.tick_params(length=0, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    axes.spines.bottom.set(visible=True, color=_INK, linewidth=0.8)
    axes.text(0, 1 + 0.1 / _CURVES, "what a cut keeps", transform=axes.transAxes, color=_INK, weight="bold")
    labelled: list[_Flag] = []  # levels that are too close to the next one get no percentages
    for flag in flags:
        if not labelled or labelled[-1].x - flag.x > _PERCENT:
            labelled.append(flag)
            _below(axes, 0, flag.x, flag.level, _INK, weight="bold")
    for row, (noun, of, color, marker, size) in enumerate(_KINDS, start=1):
        total, width = of(whole), 0.5 + 0.8 * row
        label = f"{short(total)} {noun}" if total else f"{noun} unknown" if total is None else f"no {noun}"
        axes.plot([], [], color=color, marker=marker, markersize=size, linewidth=width, label=label)
        if not total:
            continue
        curve = [0.0, *(100 * (of(costs[node.name]) or 0) / total for node in cuts), 100.0]
        axes.step(xs, curve, where="post", color=color, linewidth=width, clip_on=False, zorder=3 - row / 10)
        for flag in flags:
            share = 100 * (of(flag.cost) or 0) / total
            (mark,) = axes.plot(flag.x, share, marker, color=color, markersize=size, clip_on=False, zorder=5 - row)
            mark.set_markerfacecolor(color if flag.is_clean else "white")
            if flag in labelled:
                _below(axes, row, flag.x, "<1 %" if 0 < share < 0.5 else f"{share:.0f} %", color)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, labelcolor="linecolor")


def _below(axes: Axes, row: int, x: float, text: str, color: str, *, weight: str = "normal") -> None:
    """Write in a row below the curves."""
    y = -(0.08 + row * _LINE) / _CURVES
    axes.text(x, y, text, transform=axes.get_xaxis_transform(), ha="center", va="top", color=color, weight=weight)
