"""``torso show``: the card, the levels, the clean cuts, one node and its neighbourhood, and the picture."""

from __future__ import annotations

import pytest
from click import unstyle

from torso.cli.graph_text import cuts_text, levels_text, neighbourhood_text
from torso.graph import Graph, Node

NETWORK = """
import torso

def build(*, input_shape, depth):
    import keras

    layers = keras.layers
    images = layers.Input(input_shape, name="images")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(images)
    for block in range(depth):
        left = layers.Conv2D(8, 3, padding="same", name=f"left{block}")(x)
        gate = layers.Dense(8, name=f"gate{block}")(layers.GlobalAveragePooling2D(keepdims=True, name=f"mean{block}")(left))
        x = layers.Add(name=f"join{block}")([x, layers.Multiply(name=f"scale{block}")([left, gate])])
    return keras.Model(images, layers.MaxPooling2D(name="half")(x))

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="EyeNet", family="Eye", builder=f"{__name__}:build", input=torso.InputRules(default=(16, 16)),
        preprocessing=torso.Preprocessing(), levels={"C1": "join0"}, parameters=1000,
        weights=(torso.Weights(tag="eyes", top1=70.0, files=(torso.WeightsFile(source="url", address="https://a.b/c"),)),),
        options=(torso.Option(name="depth", type=int, default=1, minimum=1),),
    )
"""


@pytest.fixture
def show(torso, tmp_path):
    """Show EyeNet, with rules for its input or another level C1 if given."""
    (tmp_path / "own").mkdir()

    def run(*words, rules="", level="join0"):
        text = NETWORK.replace("default=(16, 16)", f"default=(16, 16), {rules}").replace('"join0"', f'"{level}"')
        (tmp_path / "own" / "acme.py").write_text(text)
        return torso("show", "EyeNet", "--plugins-dir", "own", *words)

    return run


def test_levels_and_clean_cuts_are_shown_with_what_they_keep(show):
    assert "C1          2  8×8×8  left0  not clean      72\n" in show(level="left0").out
    lines = show().out.split("\n")
    assert lines[lines.index("one image") :] == [
        "one image",
        "  nodes   8, 3 clean cuts, 3 blocks",
        "  input   16×16×3",
        "  MACs    50.8k multiply-accumulates",
        "  FLOPs   105k floating-point operations",
        "  memory  6.2 kB peak activations, float32",
        "",
        "level  stride  shape  node   cut    trains",
        "─────  ──────  ─────  ─────  ─────  ──────",
        "C1          2  8×8×8  join0  clean       0",
        "C2          4  4×4×8  half   clean       0",
        "",
        "trains: parameters that train with freeze: {through: LEVEL}",
        "",
        "clean cut  pop  stride  channels  field  params   MACs  level",
        "─────────  ───  ──────  ────────  ─────  ──────  ─────  ─────",
        "stem         6       2         8      3     224  13.8k  -",
        "join0        1       2         8     7*     880  50.8k  C1",
        "half         0       4         8     9*     880  50.8k  C2",
        "",
        "field: receptive field in pixels; params and MACs: what the cut keeps",
        "* plus global context: a global pooling sees the whole image",
        "",
    ]


def test_options_and_size_change_the_network(show):
    graph = show("--set", "depth=3", "--size", "8x32", "--json").json["graph"]
    assert [cut["node"] for cut in graph["clean"]] == ["stem", "join0", "join1", "join2", "half"]
    assert graph["levels"] == {"C1": "join0", "C2": "half"}  # the card declares C1
    assert graph["clean"][0]["shape"] == [4, 16, 8]
    assert graph["cost"]["parameters"] == 224 + 3 * (8 * 73 + 72)
    assert graph["clean"][1]["kept"]["nodes"] == 7


def test_the_card_alone_has_the_declared_levels_and_figures_of_the_default_options(show):
    card = show("--card")
    assert card.out.endswith("levels\n  C1  join0\n")
    assert "  parameters          1,000 without" in card.out
    assert "starting TensorFlow" not in card.err
    deeper = show("--set", "depth=3")
    assert "  parameters          2,192 without" in deeper.out
    assert "top-1    70.0 %" not in deeper.out
    assert "levels\n  C1" not in deeper.out  # they are in the table
    assert show("--set", "depth=3", "--json").json["parameters"] == 2192


def test_a_network_for_any_size_has_open_sides_and_unknown_costs(show):
    result = show("--size", "any", rules="any_size=True")
    assert "16×16 by default; 1 pixel or more; any size as [null, null];" in " ".join(result.out.split())
    for line in (
        "  input   any×any×3",
        "  memory  unknown",
        "C1          2  any×any×8  join0  clean       0",
        "join0        1       2         8     7*     880     -  C1",
    ):
        assert line in result.out.split("\n")


def test_all_nodes_are_listed_with_what_they_read(show):
    result = show("--nodes")
    assert result.out.split("\n") == [
        "node    kind                      shape  stride  field  params   MACs  clean  reads",
        "──────  ──────────────────────  ───────  ──────  ─────  ──────  ─────  ─────  ────────────",
        "images  InputLayer              16×16×3       1      1       0      0  -      -",
        "stem    Conv2D                    8×8×8       2      3     224  13.8k  clean  images",
        "left0   Conv2D                    8×8×8       2      7     584  36.9k  -      stem",
        "mean0   GlobalAveragePooling2D    1×1×8       -      -       0      0  -      left0",
        "gate0   Dense                     1×1×8       -      -      72     64  -      mean0",
        "scale0  Multiply                  8×8×8       2     7*       0      0  -      left0, gate0",
        "join0   Add                       8×8×8       2     7*       0      0  clean  stem, scale0",
        "half    MaxPooling2D              4×4×8       4     9*       0      0  clean  join0",
        "",
    ]
    assert [node["name"] for node in show("--nodes", "--json").json["nodes"]][:2] == ["images", "stem"]


def test_one_node_is_shown_with_what_a_cut_there_would_lose(show):
    assert show("--at", "left0").out == (
        "left0\n"
        "  kind          Conv2D\n"
        "  shape         8×8×8\n"
        "  stride        2\n"
        "  field         7\n"
        "  parameters    584\n"
        "  MACs          36,864\n"
        "  reads         'stem'  (Conv2D, stride 2, 8 channels)\n"
        "  read by       'mean0'  (GlobalAveragePooling2D, 8 channels)\n"
        "                'scale0'  (Multiply, stride 2, 8 channels)\n"
        "  pop           5 nodes after it\n"
        "  cut here      drops 1 branch\n"
        "    dropped     'stem', which feeds all 8 channels of 'join0'\n"
        "  clean before  'stem'  (Conv2D, stride 2, 8 channels, pop 6)\n"
        "  clean after   'join0'  (Add, stride 2, 8 channels, pop 1)\n"
    )
    there = show("--at", "join0").out
    assert "  level         C1\n" in there
    assert "  cut here      clean\n" in there
    assert "  cut here      drops 2 branches\n" in show("--at", "gate0").out
    told = show("--at", "gate0", "--json").json["at"]
    assert [branch["source"] for branch in told["lost"]] == ["left0", "stem"]
    assert (told["clean_before"], told["clean_after"], told["pop"]) == ("stem", "join0", 3)


def test_a_picture_is_drawn_and_replaced_with_force_only(show, tmp_path):
    result = show("--plot", "eye.svg")
    assert result.out.endswith("plotted to eye.svg\n")
    drawn = (tmp_path / "eye.svg").read_bytes()
    assert b"join0" in drawn
    (tmp_path / "eye.svg").write_text("mine")
    refused = show("--plot", "eye.svg")
    assert (refused.code, (tmp_path / "eye.svg").read_text()) == (2, "mine")
    assert refused.err.startswith("error: 'eye.svg' already exists\n")  # before anything is built
    assert show("--plot", "eye.svg", "--force", "--json").json["plot"] == "eye.svg"
    assert (tmp_path / "eye.svg").read_bytes() == drawn


FLAT = Graph(
    "FlatNet",
    (
        Node(name="images", kind="InputLayer", shape=(16, 16, 3), stride=1),
        Node(name="mean", kind="GlobalAveragePooling2D", inputs=("images",), shape=(3,)),
        Node(name="own", kind="Own", inputs=("mean",), shape=(3,), macs=None, flops=None),
        Node(name="multiply", kind="Multiply", inputs=("own",), shape=(3,), is_op=True),
    ),
)


def test_a_network_without_levels_and_without_cuts_says_so():
    assert unstyle("\n".join([*levels_text(FLAT), *cuts_text(FLAT)])) == (
        "one image\n"
        "  nodes   4, 0 clean cuts, 0 blocks\n"
        "  input   16×16×3\n"
        "  MACs    unknown\n"
        "  FLOPs   unknown\n"
        "  memory  3.1 kB peak activations, float32\n"
        "levels\n"
        "  none: no block ends at stride 2, 4, 8, 16 or 32\n"
        "clean cuts\n"
        "  none: every node is bypassed by a parallel branch, or is not a feature map"
    )


def test_a_node_that_no_backbone_ends_at_is_said_to_be_one():
    assert unstyle(neighbourhood_text(FLAT, "multiply")) == (
        "multiply\n"
        "  kind        Multiply (a bare op)\n"
        "  shape       3\n"
        "  parameters  0\n"
        "  MACs        0\n"
        "  reads       'own'  (Own, 3 channels)\n"
        "  pop         the last node\n"
        "  cut here    not possible: a backbone ends at a feature map"
    )
    assert "  MACs        unknown\n" in neighbourhood_text(FLAT, "own")
