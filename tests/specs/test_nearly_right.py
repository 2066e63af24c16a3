"""What a Keras user guesses wrong gets the line to write. Each such line works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import torso
from torso.planning import make_plans
from torso.specs.spec_file import read_spec

REGISTRY = torso.Registry.load(discover=False)
CUTS = "\n  known: budget, layer, layers, level, levels, match, none, pop, stride\n  fix: "
POLICIES = "\n  known: adapt_norm, all, all_but_last, all_but_norm, layers, match, none, through\n  fix: "
KEYS = "architecture, options, weights, input, preprocess, truncate, freeze, regularize, pooling, prefix"
KEYWORDS = (
    "alpha, input_shape, truncate, freeze, pooling, weights, options, input, preprocess, prefix, seed, regularize, name"
)
TAGS = "\n  known: imagenet, none\n  fix: "


def no_parameter(name: str, fix: str) -> str:
    fact = f"no parameter and no option of MobileNetV2 is called {name!r} (argument {name})"
    return f"{fact}\n  known: {KEYWORDS}\n  fix: {fix}"


def no_shape(was: str, fix: str) -> str:
    return f"input_shape must be (height, width, channels), not {was} (argument input_shape)\n  fix: {fix}"


PYTHON: list[tuple[str, Any, str]] = [
    ("truncate", "block_8_add",
     f'unknown truncation strategy \'block_8_add\' (argument truncate){CUTS}write truncate={{"layer": "block_8_add"}}'),
    ("truncate", "C4", f'unknown truncation strategy \'C4\' (argument truncate){CUTS}write truncate={{"level": "C4"}}'),
    ("truncate", -2, f'unknown truncation strategy \'-2\' (argument truncate){CUTS}write truncate={{"pop": 2}}'),
    ("truncate", ["C3", "C4"], "truncate must be a name, or a mapping with one key, not a list (argument truncate)\n"
     '  fix: write truncate={"levels": ["C3", "C4"]}'),
    ("freeze", True, f"unknown freeze policy 'true' (argument freeze){POLICIES}write freeze=\"all\""),
    ("freeze", False, f"unknown freeze policy 'false' (argument freeze){POLICIES}write freeze=\"none\""),
    ("freeze", "C3", f'unknown freeze policy \'C3\' (argument freeze){POLICIES}write freeze={{"through": "C3"}}'),
    ("freeze", "block_8_add",
     f'unknown freeze policy \'block_8_add\' (argument freeze){POLICIES}write freeze={{"through": "block_8_add"}}'),
    ("input", (96, 96, 3), "input must be a mapping, not a list (argument input)\n  fix: write input_shape=(96, 96, 3)"),
    ("input", 224, "input must be a mapping, not the text '224' (argument input)\n"
     '  fix: write input={"size": [224, 224]}'),
    ("input", {"size": "224x224"}, "size must be a list of two whole numbers, not the text '224x224' (argument input.size)\n"
     '  fix: write input={"size": [224, 224]}'),
    ("input_shape", (96, 96), no_shape("a list", 'write input={"size": [96, 96]}')),
    ("input_shape", 96, no_shape("the text '96'", 'write input={"size": [96, 96]}')),
    ("input_shape", (None, 96, 96, 3), no_shape("a list", "write input_shape=(96, 96, 3)")),
    ("weights", True, f"MobileNetV2 has no weights 'true' (argument weights){TAGS}leave weights out: published weights are "
     "the default"),
    ("weights", __file__ + ".h5",
     f"MobileNetV2 has no weights '{__file__}.h5' (argument weights){TAGS}write weights={{\"file\": \"{__file__}.h5\"}}"),
    ("weights", "None", f"MobileNetV2 has no weights 'None' (argument weights){TAGS}write weights=\"none\""),
    ("weights", "random", f"MobileNetV2 has no weights 'random' (argument weights){TAGS}write weights=\"none\""),
    ("preprocess", True, "preprocess must be a mapping, not the text 'true' (argument preprocess)\n"
     '  fix: write preprocess={"include": True}'),
    ("layers", ["block_2_add"], no_parameter("layers", 'write truncate={"layers": ["block_2_add"]}')),
    ("pooling", "average", "pooling cannot be 'average' (argument pooling)\n  known: avg, max, none\n"
     '  fix: write pooling="avg"'),
    ("pooling", True, "pooling cannot be 'true' (argument pooling)\n  known: avg, max, none\n  fix: write pooling=\"avg\""),
    ("classes", 10, no_parameter("classes", "leave classes out: it is for the head, which you add yourself")),
    ("include_top", False, no_parameter("include_top", "leave include_top out: it is so already")),
    ("include_top", True,
     no_parameter("include_top", "leave include_top out, and add a head of your own: keras.layers.Dense")),
    ("dtype", "float16",
     no_parameter("dtype", 'leave dtype out, and call keras.config.set_dtype_policy("float16") first')),
    ("input_tensor", object(),
     no_parameter("input_tensor", "leave input_tensor out, and call the model on it: backbone.model(x)")),
    ("pop_layers", 3, no_parameter("pop_layers", 'write truncate={"pop": 3}')),
    ("trainable", False, no_parameter("trainable", 'write freeze="all"')),
    ("size", 224, no_parameter("size", 'write input={"size": [224, 224]}')),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), PYTHON, ids=[f"{key}={value!s:.20}" for key, value, _ in PYTHON])
def test_a_wrong_guess_in_python_gets_a_line_that_works(key: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        torso.plan("MobileNetV2", registry=REGISTRY, **{key: value})
    assert str(caught.value) == message
    verb, _, line = message.rpartition("  fix: ")[2].partition(" ")
    assert verb == "write" or line.startswith(f"{key} out")
    keywords = eval(f"dict({line})") if verb == "write" else {}
    if "file" in str(keywords):  # it is not there: the line is understood
        with pytest.raises(torso.TorsoError, match=r"cannot be read|not found|no file"):
            torso.plan("MobileNetV2", registry=REGISTRY, **keywords)
        return
    torso.plan("MobileNetV2", registry=REGISTRY, **keywords)


def no_key(name: str, column: int, fix: str) -> str:
    return f"backbone 'a' has no key {name!r} (at s.yaml:3:{column}, $.backbones.a.{name})\n  known: {KEYS}\n  fix: {fix}"


YAML = [
    ("truncate: C4", f"unknown truncation strategy 'C4' (at s.yaml:3:44, $.backbones.a.truncate){CUTS}"
     "write truncate: {level: C4}"),
    ("truncate: ", "truncate must be a name, not nothing (at s.yaml:3:43, $.backbones.a.truncate)\n"
     "  fix: write truncate: none"),
    ("freeze: True", f"unknown freeze policy 'True' (at s.yaml:3:42, $.backbones.a.freeze){POLICIES}write freeze: all"),
    ("alpha: 0.35", no_key("alpha", 34, "write options: {alpha: 0.35}")),
    ("input: 224", "input must be a mapping, not the text '224' (at s.yaml:3:41, $.backbones.a.input)\n"
     "  fix: write input: {size: [224, 224]}"),
    ("input: {size: 224x224}", "size must be a list of two whole numbers, not the text '224x224' "
     "(at s.yaml:3:48, $.backbones.a.input.size)\n  fix: write input: {size: [224, 224]}"),
    ("input_shape: [96, 96, 3]", no_key("input_shape", 34, "write input: {size: [96, 96], channels: 3}")),
    ("shape: [96, 96, 3]", no_key("shape", 34, "write input: {size: [96, 96], channels: 3}")),
    ("freeze: yes", f"unknown freeze policy 'yes' (at s.yaml:3:42, $.backbones.a.freeze){POLICIES}write freeze: all"),
    ("weights: random",
     f"MobileNetV2 has no weights 'random' (at s.yaml:3:43, $.backbones.a.weights){TAGS}write weights: none"),
    ("preprocess: none", "preprocess must be a mapping, not the text 'none' (at s.yaml:3:46, $.backbones.a.preprocess)\n"
     "  fix: leave preprocess out: it is so already"),
    ("include_top: false", no_key("include_top", 34, "leave include_top out: it is so already")),
    ("dtype: float16",
     no_key("dtype", 34, 'leave dtype out, and call keras.config.set_dtype_policy("float16") first')),
    ("pooling: gap", "pooling cannot be 'gap' (at s.yaml:3:43, $.backbones.a.pooling)\n  known: avg, max, none\n"
     "  fix: write pooling: avg"),
    ("level: C4", no_key("level", 34, "write truncate: {level: C4}")),
    ("seed: 7", no_key("seed", 34, "write weights: {none: {seed: 7}}")),
    ("weights: ~", f"MobileNetV2 has no weights '~' (at s.yaml:3:43, $.backbones.a.weights){TAGS}write weights: none"),
    ("classes: 10", no_key("classes", 34, "leave classes out: it is for the head, which you add yourself")),
    ("name: b", no_key("name", 34, "leave name out: the key above is the name")),
]  # fmt: skip


def messages(text: str) -> list[str]:
    Path("s.yaml").write_text(text)
    try:
        make_plans(read_spec("s.yaml").values(), REGISTRY)
    except torso.TorsoError as error:
        return [str(part) for part in error.parts()]
    return []


@pytest.mark.parametrize(("wrong", "message"), YAML, ids=[wrong for wrong, _ in YAML])
def test_a_wrong_guess_in_yaml_gets_a_line_that_works(
    wrong: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "version: 1\nbackbones:\n  a: {{architecture: MobileNetV2, {}}}\n"
    assert messages(text.format(wrong)) == [message]
    verb, _, line = message.rpartition("  fix: ")[2].partition(" ")
    assert messages(text.format(line if verb == "write" else "")) == []


def test_backbones_in_a_list_and_options_in_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (text,) = messages("version: 1\nbackbones:\n- {name: edge, architecture: VGG16}\n- {name: b, architecture: VGG19}\n")
    assert text == (
        "backbones must be a mapping, not a list (at s.yaml:3:1, $.backbones)\n"
        "  fix: write backbones: {edge: {architecture: VGG16}}"
    )
    assert messages(f"version: 1\n{text.rpartition('fix: write ')[2]}\n") == []
    (text,) = messages("version: 1\nbackbones: {a: MobileNetV2}\n")
    assert text == (
        "backbone 'a' must be a mapping, not the text 'MobileNetV2' (at s.yaml:2:16, $.backbones.a)\n"
        "  fix: write a: {architecture: MobileNetV2}"
    )
    (text,) = messages("version: 1\nbackbones: {a: {architecture: ResNet50, alpha: 0.35}}\n")
    assert "\n  fix: " not in text, "ResNet50 has no alpha"
    assert messages("version: 1\nbackbones: MobileNetV2\n")[0].endswith(
        "fix: write backbones: {MobileNetV2: {architecture: MobileNetV2}}"
    )
    defaults = "version: 1\ndefaults: {options: {alpha: 0.35}}\nbackbones: {a: {architecture: MobileNetV2}}\n"
    assert messages(defaults) == [
        "defaults has no key 'options' (at s.yaml:2:12, $.defaults.options)\n"
        "  known: architecture, weights, input, preprocess, truncate, freeze, regularize, pooling\n"
        "  fix: move options: {alpha: 0.35} to each backbone: they are of one architecture"
    ]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"freeze": None}, "freeze is None (argument freeze)\n"
         '  fix: write freeze="none" if everything is to train, or leave it out'),
        ({"seed": 3}, "seed is of random initialisation only (argument seed)\n  fix: write weights=None, or leave seed out"),
        ({"alpha": 0.35, "options": {"alpha": 0.5}}, "alpha is given twice (argument options)\n  fix: write it once"),
        ({"input_shape": (96, 96, 3), "input": {"size": [96, 96]}},
         "input_shape and input both set the size (argument input_shape)\n  fix: leave size out of input"),
        ({"input_shape": (8, 96, 3)}, "MobileNetV2 cannot take images of 8×96 pixels (argument input_shape)\n"
         "  known: 32 pixels or more"),
        ({"poling": "avg", "alpha": "x"}, "no parameter and no option of MobileNetV2 is called 'poling' (argument poling)\n"
         f"  did you mean: 'pooling'\n  known: {KEYWORDS}\nalpha must be a number, not the text 'x' (argument alpha)"),
        ({"truncate": "lvel"}, "unknown truncation strategy 'lvel' (argument truncate)\n  did you mean: 'level', 'levels'"
         + CUTS.removesuffix("\n  fix: ")),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        torso.plan("mobilenet_v2", registry=REGISTRY, **keywords)
    assert str(caught.value) == message


def test_the_keywords_of_keras_are_the_keys_of_a_spec() -> None:
    keras = {"alpha": 0.35, "input_shape": (96, 64, 3), "weights": None, "pooling": "max"}
    plan = torso.plan("mobilenet_v2", registry=REGISTRY, seed=7, **keras)
    assert plan.name == "MobileNetV2"
    assert yaml.safe_load(plan.declared)["backbones"]["MobileNetV2"] == {
        "architecture": "MobileNetV2", "options": {"alpha": 0.35}, "weights": {"none": {"seed": 7}},
        "input": {"size": [96, 64], "channels": 3}, "pooling": "max",
    }  # fmt: skip
    other = torso.plan(
        "MobileNetV2", registry=REGISTRY, options={"alpha": 0.35}, input={"size": [96, 64]}, pooling="max",
        weights={"none": {"seed": 7}},
    )  # fmt: skip
    assert plan.report() == other.report()
    assert torso.plan("VGG16", registry=REGISTRY).weights.label == "imagenet"
