from __future__ import annotations

from pathlib import Path

import pytest
from refusals import refusal
from tables import table

from torso.errors import Place, SpecError, TorsoError
from torso.specs.backbone_spec import Choice, InputSpec
from torso.specs.spec_file import BackboneSpec, backbone_from_python, read_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode, SequenceNode

EXAMPLES = Path(__file__).parent / "examples"


def messages(path: str) -> list[str]:
    with pytest.raises(TorsoError) as caught:
        read_spec(path)
    return [str(part) for part in caught.value.parts()]


def mapping(**entries: str) -> MappingNode:
    return MappingNode(tuple((ScalarNode(key), ScalarNode(text)) for key, text in entries.items()))


def test_read_spec_keeps_what_each_backbone_says_and_puts_defaults_in():
    """The file that extends this one is held against its text in test_writer."""
    edge, pyramid, in_house = read_spec(EXAMPLES / "three.yaml").values()
    assert edge == BackboneSpec(
        name="edge",
        architecture=ScalarNode("MobileNetV2"),
        options=mapping(alpha="0.35"),
        weights=ScalarNode("imagenet"),
        input=InputSpec(size=(224, 224)),
        truncate=Choice(name="layer", value=ScalarNode("block_13_expand_relu")),
        freeze=Choice(name="all"),
    )
    levels = SequenceNode((ScalarNode("C3"), ScalarNode("C4"), ScalarNode("C5")))
    assert pyramid.truncate == Choice(name="levels", value=levels)
    assert (pyramid.weights, pyramid.input) == (None, InputSpec(size=(224, 224)))
    assert in_house.freeze is None


def test_read_spec_keeps_the_place_of_each_part_also_where_it_was_extended():
    pyramid = read_spec(EXAMPLES / "smaller.yaml")["pyramid"]
    below, above = str(EXAMPLES / "three.yaml"), str(EXAMPLES / "smaller.yaml")
    assert pyramid.place == Place("$.backbones.pyramid", below, 11, 3)
    assert pyramid.architecture.place == Place("$.backbones.pyramid.architecture", below, 12, 19)
    assert pyramid.freeze is not None
    assert pyramid.freeze.place == Place("$.backbones.pyramid.freeze.through", below, 14, 14)
    assert pyramid.input is not None
    assert pyramid.input.places == {
        "size": Place("$.defaults.input.size", below, 3, 17),
        "channels": Place("$.defaults.input.channels", above, 4, 21),
        "adapt": Place("$.defaults.input.adapt", above, 4, 31),
    }
    assert pyramid.input.place == Place("$.defaults.input", above, 4, 10)


def test_read_spec_says_all_that_is_wrong_at_once(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent / "data")
    assert "\n".join(messages("all_wrong.yaml")) + "\n" == Path("all_wrong.txt").read_text("utf-8")


@pytest.mark.parametrize(("text", "expected"), table("wrong_specs"))
def test_read_spec_says_what_is_wrong(text, expected, spec_file):
    assert messages(spec_file(text)) == [expected]


def test_a_backbone_has_a_name_that_a_folder_can_have():
    for name in "a", "_", "0", "1.10", "a.b-c_d", "no", "a" * 100:
        assert backbone_from_python(name, architecture="X").name == name
    other = ("", ".", "..", "a/b", "a\\b", "-a", ".a", "a.", "a b", "caf\u00e9", "a\n", "a\0", "a" * 101, "a:b", "\u0663")
    for name in other:
        with pytest.raises(SpecError, match=r"^a backbone cannot be called "):
            backbone_from_python(name, architecture="X")


def test_extends_goes_eight_files_deep_and_not_in_a_circle(spec_file):
    spec_file("version: 1\nbackbones: {a: {architecture: X}}", "0.yaml")
    for number in range(1, 10):
        spec_file(f"version: 1\nextends: {number - 1}.yaml", f"{number}.yaml")
    assert list(read_spec("8.yaml")) == ["a"]
    assert messages("9.yaml") == ["a spec extends 8 others at most, and itself never (at 1.yaml:2:10, $.extends)"]
    spec_file("version: 2\nextends: 0.yaml", "0.yaml")
    assert messages("0.yaml") == ["a spec extends 8 others at most, and itself never (at 0.yaml:2:10, $.extends)"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "bases.yaml",
            "there is no file 'bases.yaml' (at spec.yaml:2:10, $.extends)\n"
            "  did you mean: 'base.yaml', 'spec.yaml'\n"
            "  known: base.yaml, spec.yaml",
        ),
        (".", "'.' cannot be read: it is a directory, a pipe or a device, not a file (at spec.yaml:2:10, $.extends)"),
        (
            "base.yaml",
            "not YAML: mapping values are not allowed here (at base.yaml:1:5, $)\n"
            "  fix: write it in braces, as truncate: {level: C4}",
        ),
    ],
)
def test_extends_says_why_a_file_is_not_read_beside_what_else_is_wrong(value, expected, spec_file):
    spec_file("a: b: c", "base.yaml")
    path = spec_file(f"version: 1\nextends: {value}\nbackbones: {{edge: {{freeze: []}}}}")
    assert messages(path) == [
        expected,
        "freeze must be a name, or a mapping with one key, not an empty list (at spec.yaml:3:28, $.backbones.edge.freeze)\n"
        "  fix: put the options under the name, as in {pop: {count: 1, allow_partial: true}}",
    ]


def test_backbone_from_python_equals_the_same_yaml(spec_file):
    keys = """architecture: MobileNetV2, options: {alpha: 0.35, include: [a, 1, true], name: '1'}, weights: none,
      freeze: none, input: {size: [96, 128], channels: 1, adapt: sum}, truncate: {pop: {count: 1, unit: block}}"""
    assert read_spec(spec_file(f"version: 1\nbackbones:\n  edge: {{{keys}}}\n"))["edge"] == backbone_from_python(
        "edge",
        architecture="MobileNetV2",
        options={"alpha": 0.35, "include": ("a", 1, True), "name": "1"},
        weights="none",
        input={"size": (96, 128), "channels": 1, "adapt": "sum"},
        truncate={"pop": {"count": 1, "unit": "block"}},
        freeze=None,
    )


def test_an_open_size_goes_over_a_default_and_under_it(spec_file):
    text = """\
version: 1
defaults: {architecture: VGG16, input: {size: [~, NULL], channels: 1}}
backbones:
  any: {}
  one: {input: {size: [96, 96]}}
"""
    backbones = read_spec(spec_file(text))
    assert backbones["any"].input == InputSpec(size=(None, None), channels=1)
    assert backbones["one"].input == InputSpec(size=(96, 96), channels=1)
    assert backbone_from_python("edge", architecture="VGG16", input={"size": [None, None]}).input == InputSpec(
        size=(None, None)
    )


@pytest.mark.parametrize(("size", "text"), table("wrong_sizes"), ids=str)
def test_a_size_that_is_half_open_or_no_size_is_refused(size, text):
    assert refusal(backbone_from_python, "edge", architecture="VGG16", input={"size": size}) == text


def test_an_adapter_is_a_choice_and_its_place_is_that_of_its_name(spec_file):
    text = """\
version: 1
defaults:
  input: {size: [64, 64], channels: 4, adapt: mean}
backbones:
  plain: {architecture: ResNet50}
  mapped: {architecture: ResNet50, input: {adapt: {map: [R, G, B, R]}}}
  three: {architecture: ResNet50, input: {channels: 3, adapt: none}}
"""
    path = spec_file(text)
    plain, mapped, three = (backbone.input for backbone in read_spec(path).values())
    four = Choice(name="map", value=SequenceNode(tuple(map(ScalarNode, "RGBR"))))
    assert plain == InputSpec(size=(64, 64), channels=4, adapt=Choice(name="mean"))
    assert mapped == InputSpec(size=(64, 64), channels=4, adapt=four)
    assert three == InputSpec(size=(64, 64), channels=3, adapt=None)
    assert plain.adapt.place == Place("$.defaults.input.adapt", path, 3, 47)
    assert mapped.adapt.place == Place("$.backbones.mapped.input.adapt.map", path, 6, 52)
