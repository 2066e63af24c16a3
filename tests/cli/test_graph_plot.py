"""Pictures of networks: what stands in them, that nothing overlaps, and that drawing leaves nothing behind."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from torso.api import read_graph
from torso.cli.graph_plot import draw, figure_of, own_style
from torso.errors import OptionError
from torso.graph import Graph, Node

NETWORKS = ("ResNet50", "MobileNetV3Small", "NASNetMobile", "VGG16")
LARGE = ("ConvNeXtTiny", "InceptionV3", "EfficientNetV2L", "DenseNet121")
ALL = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
SVG = "{http://www.w3.org/2000/svg}"


@cache
def network(name: str) -> Graph:
    return ODD[name] if name in ODD else read_graph(name)


def node(name: str, *inputs: str, shape: tuple[int | None, ...] = (4, 4, 8), stride: int | None = 1, **facts) -> Node:
    return Node(name=name, kind="Conv2D" if inputs else "InputLayer", inputs=inputs, shape=shape, stride=stride, **facts)


ANY = (None, None)
IMAGE = node("image")
ODD = {
    "any size": Graph(
        "Net",
        (
            node("image", shape=(*ANY, 3)),
            node("conv", "image", shape=(*ANY, 8), stride=2, kernel=(3, 3), parameters=216, macs=None),
            node("conv2", "conv", shape=(*ANY, 16), stride=4, kernel=(3, 3), parameters=1152, macs=None),
        ),
    ),
    "one clean cut": Graph("Net", (node("left"), node("right"), node("sum", "left", "right", parameters=3, macs=9))),
    "no stride": Graph("Net", (node("in", stride=None), node("dense", "in", stride=None, shape=(10,), parameters=80))),
    "no shape": Graph("Net", (node("in", stride=None, shape=()), node("out", "in", stride=None, shape=()))),
    "input alone": Graph("Net", (IMAGE,)),
    "a head": Graph("Net", (IMAGE, node("conv", "image", stride=2), node("fc", "conv", stride=None, shape=(9,)))),
    "no square": Graph("Net", (node("image", shape=(64, 1, 3)), node("conv", "image", shape=(32, 1, 8), stride=2))),
    "strange words": Graph("$x_{\\1 <&>", (IMAGE, node("$\\a$ <b>&", "image", stride=2)), known_levels={"C1": "$\\a$ <b>&"}),
    "a long name": Graph("Net", (IMAGE, node("x" * 5000, "image", stride=2)), known_levels={"C1": "x" * 5000}),
    "two levels at one node": Graph("Net", (IMAGE, node("end", "image")), known_levels={"C1": "end", "C2": "end"}),
}


@cache
def picture(name: str) -> Figure:
    """As it is saved, and drawn once: legends find their place only then."""
    with own_style():
        figure = figure_of(network(name))
        FigureCanvasAgg(figure).draw()
    return figure


def words(figure: Figure) -> list[Text]:
    """All that is written in a picture."""
    upper, lower = figure.axes
    legend = lower.get_legend().get_texts()
    return [text for text in (*upper.texts, *lower.texts, *legend, *lower.get_yticklabels()) if text.get_text()]


def written(figure: Figure) -> list[str]:
    return [text.get_text() for text in words(figure)]


def texts_of(path: Path) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_draw_writes_the_same_bytes_each_time(tmp_path: Path, suffix: str) -> None:
    first, second, third = (tmp_path / f"{name}{suffix}" for name in "abc")
    draw(network("ResNet50"), first)
    draw(network("ResNet50"), second)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):  # the user's own
        draw(network("ResNet50"), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_an_svg_is_xml_that_says_levels_nodes_strides_and_costs_as_text(tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    draw(network("ResNet50"), path)
    texts = texts_of(path)
    graph = network("ResNet50")
    for level, name in graph.levels.items():
        assert {level, name} <= set(texts)
    for text in (
        "ResNet50",
        "38 clean cuts (ticks)   18 blocks (white lines)",
        "stride 8",
        "28×28",
        "512 channels",
        "42 nodes",
    ):
        assert text in texts
    assert {"23.6M parameters", "3.9G MACs"} <= set(texts)


def test_a_png_has_its_signature_and_a_size_for_a_screen(tmp_path: Path) -> None:
    path = tmp_path / "net.PNG"
    draw(network("VGG16"), path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 1500 < width < 3000
    assert 700 < height < 1500


@pytest.mark.parametrize("name", ["net.pdf", "net", "net.svg.gz"])
def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError) as caught:
        draw(network("VGG16"), tmp_path / name)
    assert str(caught.value) == (f"cannot write a picture to {name!r}\n  known: *.svg, *.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match="needs matplotlib") as caught:
        draw(network("VGG16"), tmp_path / "net.svg")
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
    graph, texts = network(name), written(picture(name))
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
    assert "4 clean cuts (ticks)   2 blocks (white lines)   hollow flag: not a clean cut" in written(figure)
    flags = [text for text in figure.axes[0].texts if text.get_bbox_patch()]
    hollow = {flag.get_text() for flag in flags if flag.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)}
    assert hollow == {"C2", "C3", "C4"}
    assert not any("hollow" in text for text in written(picture("ResNet50")))


def test_the_boxes_are_a_staircase_that_falls_with_the_resolution() -> None:
    heights = [box.get_height() for box in picture("VGG16").axes[0].patches]
    steps = {round(high - low, 6) for high, low in pairwise(heights)}
    assert len(heights) == 6
    assert len(steps) == 1  # each halves the resolution
    assert steps.pop() > 0


@pytest.mark.parametrize(
    ("case", "suffix"), [*((case, ".svg") for case in ODD), ("a long name", ".png"), ("no shape", ".png")]
)
def test_an_odd_network_is_drawn_too(tmp_path: Path, case: str, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    draw(ODD[case], path)
    if suffix == ".svg":
        assert {"0 %", "100 %", *said(case)} <= set(texts_of(path))
    else:
        assert struct.unpack(">I", path.read_bytes()[16:20])[0] < 4000


def said(case: str) -> Iterator[str]:
    yield from {
        "any size": ("any size", "MACs unknown", "1.4k parameters", "C2", "conv2"),
        "one clean cut": ("1 clean cut (ticks)   0 blocks (white lines)",),
        "no stride": ("no stride", "10 channels", "no MACs"),
        "no shape": ("no stride", "2 nodes"),
        "input alone": ("0 clean cuts (ticks)   0 blocks (white lines)", "1 node"),
        "a head": ("stride 2", "no stride"),
        "no square": ("64×1", "32×1"),
        "strange words": ("$x_{\\1 <&>", "$\\a$ <b>&"),
        "a long name": (f"{'x' * 32}…{'x' * 32}",),
        "two levels at one node": ("C1", "C2"),
    }[case]


def test_drawing_leaves_the_settings_of_matplotlib_as_they_are(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 17, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        draw(ODD["a head"], tmp_path / "net.svg")
        assert dict(matplotlib.rcParams) == before


def test_drawing_needs_no_pyplot_and_importing_the_module_no_matplotlib(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from torso.cli.graph_plot import draw
from torso.graph import Graph, Node
assert "matplotlib" not in sys.modules
graph = Graph("Net", (Node(name="image", kind="InputLayer", shape=(4, 4, 3), stride=1),))
draw(graph, Path({str(tmp_path / "net.png")!r}))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
