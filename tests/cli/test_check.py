"""``torso check`` means that ``torso build`` refuses nothing that can be known without weights."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest

ACME = """
import torso

def build(input_shape, width):
    import keras
    with open("calls", "a") as calls:
        calls.write("x")
    images = keras.Input(input_shape, name="images")
    x = keras.layers.Conv2D(width, 3, name="one")(images)
    return keras.Model(images, keras.layers.Conv2D(4, 3, name=f"two_{width}")(x))

def narrow(input_shape): ...

def _architecture(name, builder):
    return torso.Architecture(
        name=name, family="Acme", builder=builder, input=torso.InputRules(default=(16, 16)),
        preprocessing=torso.Preprocessing(), options=(torso.Option(name="width", type=int, default=4, minimum=1),),
    )

@torso.hookimpl
def torso_architectures():
    return [_architecture(name, builder) for name, builder in (
        ("Net", f"{__name__}:build"), ("Gone", "acme_gone:build"), ("Unbuilt", f"{__name__}:buidl"),
        ("Other", f"{__name__}:narrow"),
    )]

@torso.hookimpl
def torso_truncations():
    yield torso.Truncation(name="odd", doc="Odd.", select=lambda graph, options: graph.nodes[len(graph) // 10].shape[0])
"""


@pytest.fixture
def check(torso, tmp_path):
    """Check ``nets.yaml`` with these lines of backbones, and a plugin of a few small networks."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "acme.py").write_text(ACME)

    def run(*backbones, words=("nets.yaml",), command="check"):
        lines = ["version: 1", "defaults: {weights: none, freeze: none}", "backbones:"]
        lines += [f"  b{number}: {{{line}}}" for number, line in enumerate(backbones)]
        (tmp_path / "nets.yaml").write_text("\n".join(lines) + "\n")
        return torso(command, *words, "--plugins-dir", "own", plugins=False)

    return run


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr("torso.modeling.draw._run_builder", lambda *arguments: 1 / 0)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("architecture: ResNet50, truncate: {pop: 3}", "a cut at 'conv5_block3_3_conv' would lose a branch of ResNet50"),
        ("architecture: ResNet50, truncate: {layer: conv6}", "node 'conv6' is not in ResNet50"),
        ("architecture: ResNet50, freeze: {through: blok_3}", "'blok_3' is neither a level nor a node of ResNet50"),
        ("architecture: ResNet50, truncate: {level: C3}, freeze: {through: C4}", "ResNet50 has no level C4"),
        ("architecture: ResNet50, freeze: {all_but_last: 99}", "all_but_last 99 leaves nothing frozen"),
        ("architecture: VGG16, truncate: {budget: {macs: 1000}}", "no clean cut of VGG16 keeps within macs 1,000"),
        ("architecture: NASNetMobile, truncate: {level: C1@expansion}", "NASNetMobile has no level C1@expansion"),
        (
            "architecture: MobileNetV2, options: {alpha: 0.35}, input: {size: [96, 64]}, truncate: {layer: block_12_expnd}",
            "node 'block_12_expnd' is not in MobileNetV2",
        ),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "build", "fetch"])
def test_what_a_build_would_refuse_is_refused_without_tensorflow(check, line, error, command):
    words = {"build": ("nets.yaml", "-o", "out"), "fetch": ("nets.yaml", "--to", "bundle")}.get(command, ("nets.yaml",))
    result = check(line, words=words, command=command)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {error}")
    assert " (at nets.yaml:4:" in result.err


@pytest.mark.usefixtures("undrawn")
def test_no_error_of_a_file_hides_another(check):
    result = check(
        "architecture: ResNet50, weights: imagnet, input: {size: [9, 9]}, truncate: {layer: x}, freeze: {through: y}",
        "architecture: ResNet50, truncate: {pops: 1}, freeze: {through: y}, freze: all",
        "architecture: MobileNetV2, options: {alpha: 0}, input: {size: [9, 9]}, truncate: {pop: 999}",
        "architecture: VGG16, weights: {file: none.h5}, preprocess: {crop: 7}, truncate: {level: C5}, freeze: {match: '('}",
        "architecture: VGG16, options: 3, truncate: {layer: x}",
    )
    found = [line for line in result.err.split("\n") if line.startswith("error:")]
    assert [line.rpartition("$.backbones.")[2].rstrip(")") for line in found] == [
        "b1.freze", "b4.options",
        "b0.input.size", "b0.weights", "b0.truncate.layer", "b0.freeze.through",
        "b1.truncate.pops", "b1.freeze.through",
        "b2.input.size", "b2.options",
        "b3.preprocess.crop", "b3.weights", "b3.freeze.match",
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_what_defaults_do_wrong_is_said_once(torso, tmp_path):
    text = "version: 1\ndefaults: {architecture: VGG16, truncate: {layer: x}}\nbackbones: {a: {}, b: {}, c: {freze: all}}\n"
    (tmp_path / "nets.yaml").write_text(text)
    facts = [error["fact"] for error in torso("check", "nets.yaml", "--json").json["errors"]]
    assert facts == ["backbone 'c' has no key 'freze'", "node 'x' is not in VGG16"]


def test_another_network_is_drawn_once_for_its_options(check, tmp_path):
    line = "architecture: Net, options: {width: 5}, truncate: {layer: two_%s}"
    result = check(line % 5, line % 5, line % 6, "architecture: Net, truncate: {layer: one}, freeze: {through: two_4}")
    assert [line.partition(" (")[0] for line in result.errors.split("\n") if line.startswith("error")] == [
        "error: node 'two_6' is not in Net",
        "error: 'two_4' is neither a level nor a node of Net",
    ]
    assert (tmp_path / "calls").read_text() == "x" * 4  # each time a second network tells whether its names are the same
    result = check(line % 6, words=("nets.yaml", "--fast"))
    assert (result.code, result.err) == (0, "")
    assert result.out == "nets.yaml: ok, 1 backbone\n  not checked (--fast): cut, freeze policy and builder of b0\n"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("architecture: Gone", "the builder of 'acme/Gone' failed: ModuleNotFoundError: No module named 'acme_gone'"),
        ("architecture: Unbuilt", "the builder of 'acme/Unbuilt' failed: AttributeError: "),
        ("architecture: Other", "the builder of 'acme/Other' failed: TypeError: narrow() got an unexpected keyword"),
        ("architecture: VGG16, truncate: odd", "truncation strategy 'acme/odd' returned 224, and that is no cut of VGG16"),
    ],
)
def test_what_a_plugin_does_wrong_is_found_once(check, line, error):
    result = check(line, line.replace("odd", "{pop: 1}"))
    assert result.code == 4
    assert result.errors.startswith(f"error: {error}")
    assert result.errors.count("error: ") == 1


@pytest.mark.usefixtures("undrawn")
def test_a_spec_can_come_from_stdin(check, monkeypatch):
    text = b"version: 1\nbackbones: {a: {architecture: VGG16, truncate: {layer: x}}}\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert check(words=("-",)).err.startswith("error: node 'x' is not in VGG16 (at <stdin>:2:")
    assert "a spec on stdin has no lock" in check(words=("-",), command="lock").err


def test_a_stale_lock_is_found_without_a_build(check, tmp_path, monkeypatch):
    net, cut = "architecture: Net", "architecture: Net, truncate: {layer: one}"
    assert check(net, net, words=("nets.yaml",), command="lock").code == 0
    monkeypatch.setattr("torso.modeling.draw._run_builder", lambda *arguments: 1 / 0)

    def both(*backbones):
        locked = check(*backbones, words=("nets.yaml", "--locked"))
        result = check(*backbones, words=("nets.yaml", "--check"), command="lock")
        assert (locked.code, locked.err) == (result.code, result.err)
        return result.err

    assert both(net, net) == ""
    assert both(net, cut).startswith(
        "error: backbone 'b1' is not the one that 'nets.lock.json' names\n  plan.truncate.name: "
    )
    assert both(net, net, net).startswith("error: 'nets.lock.json' does not name the backbone 'b2'\n")
    assert both(net).startswith("error: 'nets.lock.json' names 'b1', which is not in the spec\n")
    assert check(net, words=("nets.yaml", "b0", "--check"), command="lock").out == "nets.lock.json: up to date\n"
    (tmp_path / "nets.lock.json").unlink()
    assert both(net).startswith("error: there is no lock 'nets.lock.json'")


@pytest.mark.usefixtures("undrawn")
def test_the_plan_of_a_known_network_says_what_is_kept(check):
    line = "architecture: MobileNetV2, options: {alpha: 0.5}, truncate: {levels: [C3, C4]}"
    result = check(line, f"{line}, input: {{size: [96, 96]}}", command="plan")
    assert result.out.count("  output        'block_5_add'  (Add, stride 8, 16 channels)\n") == 2
    assert "  kept          116 nodes, 160k parameters, 68.0M MACs\n" in result.out
    assert "  kept          116 nodes, 160k parameters, unknown MACs\n" in result.out
    kept = check(line, words=("nets.yaml", "--json"), command="plan").json["plans"][0]["kept"]
    assert kept["ends"] == ["block_5_add", "block_12_add"]
    assert kept["cost"]["parameters"] == 159_664
    assert check("architecture: Net", words=("nets.yaml", "--json"), command="plan").json["plans"][0]["kept"] is None


@pytest.mark.usefixtures("undrawn")
def test_a_known_network_is_shown_without_tensorflow(torso):
    assert "C4         16  14×14×1024  conv4_block6_out  clean   15.0M\n" in torso("show", "ResNet50").out
    assert json.loads(torso("show", "MobileNet", "--set", "alpha=0.25", "--json").out)["graph"]["cost"]["nodes"] == 86


def test_a_plugin_that_changes_models_may_add_what_is_frozen(check, tmp_path):
    (tmp_path / "own" / "late.py").write_text("import torso\n\n@torso.hookimpl\ndef torso_before_freeze(model): ...\n")
    assert check("architecture: VGG16, freeze: {through: added}").code == 0
