"""A graph as a picture, in SVG or PNG: where a network gets coarser, where it can be cut, and what a cut keeps.

The nodes stand in topological order from the image on the left to the end, in two bands:

- The **network**: a box for each stage, as high as the logarithm of its resolution, so that a CNN is a staircase. White
  lines end its blocks, ticks below it are its clean cuts, and hatching says that there is none for long. A flag names the
  node of each level, hollow where that is not clean; expansions (``C4@expansion``) are left out. A stage begins where the
  stride is first larger than all before it, and has some width of its own besides that of its nodes: its words fit.
- The **cost**: the parameters and multiply-accumulates that a cut keeps, in percent of the whole.

matplotlib is imported when something is drawn, and used without pyplot: no window, no backend, no figure that stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from torso.cli.text import counted, printable, short, times
from torso.errors import OptionError, known
from torso.graph import EXPANSION, Cost, Graph, Node

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES: Final = (".svg", ".png")

# Lengths are in inches, and so are the data coordinates of the axes, but for the percent.
_STAGE: Final = 0.95  # width of a stage that has hardly any nodes: its words fit
_SHARED: Final = 4.8  # width that the nodes share, equally
_LEAST: Final = 9.0  # width of all stages
_OCTAVE: Final = 0.27  # height of a box for each doubling of the resolution
_FLAG: Final = 0.25  # from a flag to the one above it
_WORDS: Final = 0.155  # from a line of words to the next
_CURVES: Final = 1.5  # height of the curves
_BETWEEN: Final = 0.45  # from the words of the stages to the curves

_UNKNOWN: Final = 256  # cells at stride 1, where the size of the image is unknown
_PERCENT: Final = 0.5  # width of a percentage
_NAME: Final = 64  # characters of a node name that are written
_LONG: Final = 1 / 8  # of all nodes, without a clean cut among them
_INK, _FAINT = "#222222", "#d4d4d4"
_KINDS: Final[Sequence[tuple[str, Callable[[Cost], int | None], str, str, float]]] = (
    ("parameters", lambda cost: cost.parameters, "#c04a00", "o", 4.5),
    ("MACs", lambda cost: cost.macs, "#444444", "s", 6),
)
_UNDATED: Final = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
_ONE_AT_A_TIME: Final = Lock()  # rc_context changes the settings of all threads, and two at once restore the wrong ones


def refuse_undrawable(path: Path) -> None:
    """Refuse what cannot be drawn whatever the network is.

    Raises:
        OptionError: The file ends in something else than ``.svg`` or ``.png``, or matplotlib cannot be imported.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f"a picture cannot be written as {path.name!r}", notes=[known(f"*{suffix}" for suffix in SUFFIXES)]
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        notes = [("cause", str(error)), ("fix", "pip install 'torso[plot]'")]
        raise OptionError("a picture needs matplotlib, and that cannot be imported", notes=notes) from error


def draw(graph: Graph, path: Path, *, title: str | None = None) -> None:
    """Draw a network into a file: the same bytes each time.

    Args:
        graph: The network.
        path: A file that ends in ``.svg`` or ``.png``; what stands there is replaced.
        title: What stands above the picture; the network's name where it is None.

    Raises:
        OptionError: The file ends in something else, or matplotlib cannot be imported.
        OSError: The file cannot be written.
    """
    refuse_undrawable(path)
    import matplotlib

    suffix = path.suffix.lower()
    with _ONE_AT_A_TIME, matplotlib.rc_context():
        prepare()
        picture = figure_of(graph, title=title)
        picture.savefig(path, format=suffix[1:], dpi=160, bbox_inches="tight", pad_inches=0.2, metadata=_UNDATED[suffix])


def prepare() -> None:
    """Set matplotlib up for a picture, whatever the user's own settings are."""
    import matplotlib

    matplotlib.rcdefaults()
    matplotlib.rc("font", size=8.5)
    matplotlib.rc("hatch", linewidth=1.4)
    matplotlib.rc("svg", fonttype="none", hashsalt="torso")  # text to be searched and selected; the same ids each time


def figure_of(graph: Graph, *, title: str | None = None) -> Figure:
    """The picture before it is saved; words may stand beyond its edges, and are saved all the same."""
    from matplotlib.figure import Figure

    stages = _stages(graph)
    flags = _flags(graph, stages)
    width, floor = stages[-1].right, -0.2 - 4 * _WORDS
    top = max([stage.height + 0.05 for stage in stages] + [flag.height + _FLAG for flag in flags])
    height = _CURVES + _BETWEEN + top - floor
    figure = Figure(figsize=(width, height))
    network = figure.add_axes((0, 1 - (top - floor) / height, 1, (top - floor) / height))
    network.set(xlim=(0, width), ylim=(floor, top))
    network.set_axis_off()
    _draw_stages(network, graph, stages, flags)
    _draw_flags(network, flags)
    name = printable(graph.name if title is None else title)
    network.text(0, top + 0.4, name, size=14, weight="bold", color=_INK, va="bottom", parse_math=False)
    curves = figure.add_axes((0, 0, 1, _CURVES / height))
    curves.set(xlim=(0, width), ylim=(0, 100))
    _draw_costs(curves, graph, stages, flags)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """The nodes from ``first`` to before ``stop``: they stand from ``left`` to ``right``, with these words below."""

    first: int
    stop: int
    left: float
    right: float
    height: float
    words: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Flag:
    """The end of a level's node, the height of its flag, and what a cut there keeps."""

    level: str
    name: str
    is_clean: bool
    x: float
    height: float
    cost: Cost


def _stages(graph: Graph) -> list[_Stage]:
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
        firsts.append((None, last + 1))  # whatever follows the last map of cells
    shared = max(_SHARED, _LEAST - _STAGE * len(firsts))
    stages: list[_Stage] = []
    left = 0.0
    for (stride, first), (_, stop) in pairwise([*firsts, (None, len(graph))]):
        right = left + _STAGE + shared * (stop - first) / len(graph)
        height, words = _about(graph, stride, graph.nodes[first:stop])
        stages.append(_Stage(first=first, stop=stop, left=left, right=right, height=height, words=words))
        left = right
    return stages


def _about(graph: Graph, stride: int | None, nodes: Sequence[Node]) -> tuple[float, Sequence[str]]:
    """The height of a stage and the words for it, by its smallest map (others are padded) and its level's channels."""
    own = [node for node in nodes if node.stride == stride]
    levels = {graph.levels[level] for level in _levels(graph)}
    telling = [node for node in own if node.name in levels] or [node for node in own if node in graph.clean] or own
    channels = telling[-1].channels
    octaves, size = 1.0, ""
    if stride is not None:
        sides = min((node.shape[:-1] for node in own), key=lambda sides: [side or 0 for side in sides])
        if sides and all(sides):
            octaves, size = math.log2(math.prod(side or 0 for side in sides)) / len(sides), times(sides)
        else:
            octaves, size = math.log2(_UNKNOWN / stride), "any size"
    words = [
        "no stride" if stride is None else f"stride {stride}",
        size,
        counted(channels, "channel") if channels else "",
        counted(len(nodes), "node"),
    ]
    return _OCTAVE * max(octaves, 1), [word for word in words if word]


def _flags(graph: Graph, stages: Sequence[_Stage]) -> list[_Flag]:
    """From the last to the first: above the boxes on its right, and above the flag before, so that it crosses nothing."""
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


def _x(stages: Sequence[_Stage], stop: int) -> float:
    """Where so many nodes from the first on end."""
    stage = next(stage for stage in stages if stop <= stage.stop)
    return stage.left + (stage.right - stage.left) * (stop - stage.first) / (stage.stop - stage.first)


def _draw_stages(axes: Axes, graph: Graph, stages: Sequence[_Stage], flags: Sequence[_Flag]) -> None:
    """The boxes with their words, blocks and clean cuts, and a legend that counts these."""
    import matplotlib
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    cuts = [graph.position(node.name) + 1 for node in graph.clean if node.inputs]
    ends = [0, *(graph.position(node.name) + 1 for node in graph.clean), len(graph)]
    long = [(first, stop) for first, stop in pairwise(ends) if stop - first > max(1, _LONG * len(graph))]
    palette = matplotlib.colormaps["YlGnBu"]
    for index, stage in enumerate(stages):
        color = palette(0.3 + 0.6 * index / max(1, len(stages) - 1))
        axes.add_patch(Rectangle((stage.left, 0), stage.right - stage.left, stage.height, facecolor=color))
        for first, stop in long:
            left, right = (_x(stages, min(max(at, stage.first), stage.stop)) for at in (first, stop))
            if left < right:
                box = Rectangle((left, 0), right - left, stage.height, hatch="///", facecolor="none", edgecolor="white")
                axes.add_patch(box).set_linewidth(0)
        for line, words in enumerate(stage.words):
            at = ((stage.left + stage.right) / 2, -0.2 - line * _WORDS)
            axes.text(*at, words, ha="center", va="top", color=_INK, weight="normal" if line else "bold", parse_math=False)
    blocks = [graph.position(node.name) + 1 for node in graph.blocks]
    heights = [next(stage.height for stage in stages if stop <= stage.stop) for stop in blocks]
    axes.vlines([_x(stages, stop) for stop in blocks], 0, heights, color="white", linewidth=0.8)
    axes.vlines([_x(stages, stop) for stop in cuts], -0.15, -0.03, color=_INK, linewidth=0.6, clip_on=False)
    tick, gray = Line2D([], [], linestyle="none", marker="|", markersize=9, color=_INK), Patch(facecolor="#808080")
    keys: dict[str, Artist | tuple[Artist, ...]] = {counted(len(cuts), "clean cut"): tick}
    if blocks:
        keys[counted(len(blocks), "block")] = (gray, gray, gray)
    if long:
        among = counted(sum(stop - first - 1 for first, stop in long), "node")
        keys[f"no clean cut among {among}"] = Patch(facecolor="#808080", edgecolor="white", linewidth=0, hatch="////")
    if not all(flag.is_clean for flag in flags):
        keys["level that is not clean"] = Patch(facecolor="white", edgecolor=_INK)
    axes.legend(
        list(keys.values()),
        list(keys),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.15)},
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(keys),
        frameon=False,
        borderpad=0,
        handlelength=1.8,
        handletextpad=0.5,
        labelcolor=_INK,
    )


def _draw_flags(axes: Axes, flags: Sequence[_Flag]) -> None:
    for flag in flags:
        face, ink, line = (_INK, "white", "solid") if flag.is_clean else ("white", _INK, (0, (3, 2)))
        axes.vlines(flag.x, 0, flag.height, color="white", linewidth=3, clip_on=False)  # a dark pole is seen on a dark box
        axes.vlines(flag.x, 0, flag.height + _FLAG / 2, color=_INK, linewidth=1, linestyle=line, clip_on=False)
        box = {"boxstyle": "square,pad=0.25", "facecolor": face, "edgecolor": _INK, "linewidth": 0.9}
        axes.text(flag.x + 0.03, flag.height, flag.level, color=ink, weight="bold", va="center", bbox=box)
        axes.text(flag.x + 0.27, flag.height, _shortened(flag.name), color=_INK, va="center", parse_math=False)


def _shortened(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 :]}"


def _draw_costs(axes: Axes, graph: Graph, stages: Sequence[_Stage], flags: Sequence[_Flag]) -> None:
    """For each kind of cost a curve with a step at each clean cut and a mark at each level, whose percent stand below."""
    costs, whole = graph.clean_costs(), graph.cost()
    cuts = [node for node in graph.clean if node.inputs]
    xs = [0, *(_x(stages, graph.position(node.name) + 1) for node in cuts), stages[-1].right]
    axes.vlines([stage.left for stage in stages], 0, 100, color=_FAINT, linewidth=0.8)
    axes.hlines([50, 100], 0, xs[-1], color=_FAINT, linewidth=0.8)
    axes.set(xticks=[], yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    axes.tick_params(length=0, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    axes.spines.bottom.set(visible=True, color=_INK, linewidth=0.8)
    axes.text(0, 1 + 0.1 / _CURVES, "what a cut keeps", transform=axes.transAxes, color=_INK, weight="bold")
    told: list[_Flag] = []
    for flag in flags:
        if not told or told[-1].x - flag.x > _PERCENT:
            told.append(flag)
            _below(axes, 0, flag.x, flag.level, _INK, weight="bold")
    for row, (noun, of, color, marker, size) in enumerate(_KINDS, start=1):
        total = of(whole)
        label = f"{short(total)} {noun}" if total else f"{noun} unknown" if total is None else f"no {noun}"
        axes.plot([], [], color=color, marker=marker, markersize=size, linewidth=0.5 + 0.8 * row, label=label)
        if not total:
            continue
        curve = [0.0, *(100 * (of(costs[node.name]) or 0) / total for node in cuts), 100.0]
        axes.step(xs, curve, where="post", color=color, linewidth=0.5 + 0.8 * row, clip_on=False, zorder=3 - row / 10)
        for flag in flags:
            share = 100 * (of(flag.cost) or 0) / total
            (mark,) = axes.plot(flag.x, share, marker, color=color, markersize=size, clip_on=False, zorder=5 - row)
            mark.set_markerfacecolor(color if flag.is_clean else "white")
            if flag in told:
                _below(axes, row, flag.x, "<1 %" if 0 < share < 0.5 else f"{share:.0f} %", color)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, borderpad=0, labelcolor="linecolor")


def _below(axes: Axes, row: int, x: float, text: str, color: str, *, weight: str = "normal") -> None:
    """Write in a row below the curves."""
    at = -(0.08 + row * _WORDS) / _CURVES
    axes.text(x, at, text, transform=axes.get_xaxis_transform(), ha="center", va="top", color=color, weight=weight)
