"""Pictures of networks: what is written in them, and that nothing overlaps."""

from __future__ import annotations

import sys
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from torso.api import read_graph
from torso.cli.graph_plot import STYLE, draw, figure_of, refuse_undrawable
from torso.errors import OptionError
from torso.graph import Graph, Node

NETWORKS = ("ResNet50", "MobileNetV3Small", "NASNetMobile", "VGG16")
LARGE = ("ConvNeXtTiny", "InceptionV3", "EfficientNetV2L", "DenseNet121")
ALL = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


def node(name: str, *inputs: str, shape: tuple[int | None, ...] = (4, 4, 8), stride: int | None = 1, **facts) -> Node:
    return Node(name=name, kind="Conv2D" if inputs else "InputLayer", inputs=inputs, shape=shape, stride=stride, **facts)


ANY = (None, None)
IMAGE = node("image")
CONV = node("conv", "image", shape=(*ANY, 8), stride=2, kernel=(3, 3), parameters=216, macs=None)
DENSE = node("dense", "in", stride=None, shape=(10,), parameters=80)
STRANGE = "$\\a$ <b>&"
# Odd networks, each with what its picture says.
ODD = {
    "any size": (
        Graph("Net", (node("image", shape=(*ANY, 3)), CONV, node("conv2", "conv", shape=(*ANY, 16), stride=4))),
        ("any×any", "unknown MACs", "216 parameters", "C2", "conv2"),
    ),
    "one clean cut": (
        Graph("Net", (node("left"), node("right"), node("sum", "left", "right", parameters=3, macs=9))),
        ("1 clean cut (ticks)   0 blocks (white lines)   hollow flag: not a clean cut",),
    ),
    "no stride": (Graph("Net", (node("in", stride=None), DENSE)), ("no stride", "80 parameters", "0 MACs")),
    "input alone": (Graph("Net", (node("in", stride=None, shape=()),)), ("no stride", "1 node")),
    "no square": (
        Graph("Net", (node("image", shape=(64, 1, 3)), node("conv", "image", shape=(32, 1, 8), stride=2))),
        ("64×1", "32×1"),
    ),
    "strange words": (
        Graph("$x_{\\1 <&>", (IMAGE, node(STRANGE, "image", stride=2)), known_levels={"C1": STRANGE}),
        ("$x_{\\1 <&>", STRANGE),
    ),
    "two levels at one node": (
        Graph("Net", (IMAGE, node("end", "image")), known_levels={"C1": "end", "C2": "end"}),
        ("C1", "C2"),
    ),
}


@cache
def network(name: str) -> Graph:
    return ODD[name][0] if name in ODD else read_graph(name)


@cache
def picture(name: str) -> Figure:
    """As it is saved, and drawn once: legends find their place only then."""
    with matplotlib.style.context(STYLE):
        figure = figure_of(network(name))
        FigureCanvasAgg(figure).draw()
    return figure


def words(figure: Figure) -> list[Text]:
    """All that is written in a picture."""
    upper, lower = figure.axes
    legend = lower.get_legend().get_texts()
    return [text for text in (*upper.texts, *lower.texts, *legend, *lower.get_yticklabels()) if text.get_text()]


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".PNG", b"\x89PNG\r\n\x1a\n")])
def test_draw_writes_the_same_bytes_each_time(tmp_path: Path, suffix: str, start: bytes) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
    draw(network("ResNet50"), first)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):  # the user's own
        draw(network("ResNet50"), second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["ResNet50", *ODD])
def test_an_svg_says_levels_nodes_strides_and_costs_as_text(tmp_path: Path, name: str) -> None:
    draw(network(name), tmp_path / "net.svg")
    root = ElementTree.parse(tmp_path / "net.svg")
    texts = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"0 %", "100 %"} <= texts
    if name in ODD:
        assert texts.issuperset(ODD[name][1])
        return
    keys = "38 clean cuts (ticks)   18 blocks (white lines)   hollow flag: not a clean cut"
    assert {name, keys, "stride 8", "28×28", "512 channels", "42 nodes", "23.6M parameters", "3.9G MACs"} <= texts
    for level, end in network(name).levels.items():
        assert {level, end} <= texts


def test_without_matplotlib_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match="needs matplotlib") as caught:
        refuse_undrawable(tmp_path / "net.svg")
    assert caught.value.notes[-1] == ("fix", "pip install 'torso[plot]'")


@pytest.mark.parametrize("name", [*ALL, *ODD])
def test_no_two_words_overlap_and_no_pole_crosses_a_name(name: str) -> None:
    figure = picture(name)
    boxes = {text: (text.get_bbox_patch() or text).get_window_extent() for text in words(figure)}
    assert len(boxes) > (7 if name in ODD else 30)
    for text, other in combinations(boxes, 2):
        assert not boxes[text].overlaps(boxes[other]), f"{text.get_text()!r} and {other.get_text()!r}"
    upper = figure.axes[0]
    poles = [line for lines in upper.collections for line in lines.get_segments() if line[1][1] > 0]
    names = [box for text, box in boxes.items() if text.get_text() in network(name).levels.values()]
    assert names or name in ODD
    for pole in poles:
        (x, low), (_, high) = upper.transData.transform(pole)
        assert not any(box.x0 < x < box.x1 and low < box.y1 and high > box.y0 for box in names)


@pytest.mark.parametrize("name", ALL)
def test_each_level_is_named_with_what_it_keeps_and_expansions_are_left_out(name: str) -> None:
    graph, texts = network(name), [text.get_text() for text in words(picture(name))]
    whole = graph.cost().parameters
    for level, end in graph.levels.items():
        if level.endswith("@expansion"):
            assert level not in texts
            continue
        assert texts.count(level) == 2  # at its flag, and above its percentages
        assert end in texts
        share = 100 * graph.kept(end).cost().parameters / whole
        assert ("<1 %" if share < 0.5 else f"{share:.0f} %") in texts


def test_levels_that_are_not_clean_have_hollow_flags() -> None:
    figure = picture("NASNetMobile")
    flags = [text for text in figure.axes[0].texts if text.get_bbox_patch()]
    hollow = {flag.get_text() for flag in flags if flag.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)}
    assert hollow == {"C2", "C3", "C4"}


def test_the_boxes_are_a_staircase_that_falls_with_the_resolution() -> None:
    heights = [box.get_height() for box in picture("VGG16").axes[0].patches]
    steps = {round(high - low, 6) for high, low in pairwise(heights)}
    assert len(heights) == 6
    assert len(steps) == 1  # each halves the resolution
    assert steps.pop() > 0
