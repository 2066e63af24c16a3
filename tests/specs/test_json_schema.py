from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from tables import table

from torso.errors import TorsoError
from torso.specs.backbone_spec import NONE, Choice, read_choice
from torso.specs.json_schema import json_schema
from torso.specs.options import Option, read_options
from torso.specs.spec_file import read_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode


def offered(*options: Option, doc: str = "", positional: str | None = None, tags: tuple[str, ...] = ("imagenet",)) -> Any:
    """What a plugin offers, as far as a schema needs it."""
    return SimpleNamespace(doc=doc, options=options, positional=positional, tags=tags)


ALPHA = Option(name="alpha", type=float, default=1.0, choices=(0.35, 0.5, 1.0), doc="Width of every layer.")
SHA256 = Option(name="sha256", type=str, default=None)
ARCHITECTURES = {
    "MobileNetV2": offered(ALPHA),
    "keras/MobileNetV2": offered(ALPHA),
    "ResNet50": offered(),
    "acme/eyenet": offered(
        Option(name="depth", type=int, minimum=1, maximum=152),
        Option(name="wide", type=bool, default=False),
        Option(name="rate", type=float, default=None, minimum=0),
        Option(name="label", type=str, default="eye"),
        Option(name="stages", type=int, many=True, default=(2, 2)),
        tags=("fundus",),
    ),
}
TRUNCATIONS = {
    "none": offered(doc="The whole network."),
    "pop": offered(
        Option(name="count", type=int, minimum=1),
        Option(name="unit", type=str, default="node", choices=("node", "block")),
        doc="Without its last nodes.",
        positional="count",
    ),
    "levels": offered(Option(name="levels", type=str, many=True), positional="levels"),
    "acme/budget": offered(Option(name="params", type=int, default=1_000_000)),
}
FREEZE_POLICIES = {
    "all": offered(),
    "none": offered(),
    "through": offered(Option(name="node", type=str), positional="node"),
}
WEIGHT_SOURCES = {
    "file": offered(Option(name="file", type=str), SHA256),
    "url": offered(Option(name="url", type=str), SHA256),
}
ADAPTERS = {
    "sum": offered(doc="Adds up."),
    "mean": offered(),
    "map": offered(Option(name="sources", type=str, many=True), positional="sources"),
    "acme/luma": offered(Option(name="gamma", type=float, default=2.2)),
}

KINDS = {
    "architectures": ARCHITECTURES,
    "truncations": TRUNCATIONS,
    "freeze_policies": FREEZE_POLICIES,
    "weight_sources": WEIGHT_SOURCES,
    "channel_adapters": ADAPTERS,
}
SCHEMA = json_schema({kind: named.items() for kind, named in KINDS.items()})


def schema_takes(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def torso_takes(path: str) -> bool:
    """What the plan would say of the names and options in a spec."""
    try:
        for backbone in read_spec(path).values():
            card = ARCHITECTURES[backbone.architecture.text]
            read_options("it", card.options, backbone.options)
            choose(TRUNCATIONS, backbone.truncate or Choice(name="none"))
            choose(FREEZE_POLICIES, backbone.freeze or Choice(name="all"))
            if isinstance(backbone.weights, MappingNode) and backbone.weights.get("none"):
                choose({"none": offered(*NONE)}, read_choice("weights", backbone.weights))
            elif isinstance(backbone.weights, MappingNode):
                source = next(WEIGHT_SOURCES[key.text] for key, _ in backbone.weights if key.text in WEIGHT_SOURCES)
                read_options("it", source.options, backbone.weights)
            elif isinstance(backbone.weights, ScalarNode) and backbone.weights.text not in (*card.tags, "none"):
                return False
            if backbone.input is not None and backbone.input.adapt is not None:
                choose(ADAPTERS, backbone.input.adapt)
    except (TorsoError, KeyError, StopIteration):
        return False
    return True


def choose(entries: dict[str, Any], choice: Choice) -> None:
    entry = entries[choice.name]
    read_options("it", entry.options, choice.value, positional=entry.positional)


@pytest.fixture
def base(spec_file):
    return spec_file("version: 1\nbackbones: {base: {architecture: ResNet50}}", "base.yaml")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(("text", "schema", "torso"), table("schema_cases"))
def test_the_schema_and_torso_take_the_same_specs(text, schema, torso, spec_file):
    assert (schema_takes(text), torso_takes(spec_file(text))) == (schema, torso)


def test_the_schema_is_one_that_can_be_printed_and_says_what_each_name_means():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    names = SCHEMA["$defs"]["truncate"]["else"]
    assert (names["enum"][0], names["markdownEnumDescriptions"][0]) == ("none", "The whole network.")
    assert SCHEMA["$defs"]["truncate"]["then"]["properties"]["pop"]["description"] == "Without its last nodes."


@pytest.mark.parametrize(
    ("truncate", "message"),
    [
        ("popp", "'popp' is not one of ['none'"),
        ({"popp": 1}, "Additional properties are not allowed ('popp' was unexpected)"),
        ({"pop": {"cuont": 1}}, "Additional properties are not allowed ('cuont' was unexpected)"),
        ({"pop": -1}, "-1 is less than the minimum of 1"),
        ({"pop": [1]}, "[1] is not of type 'integer', 'string'"),
    ],
)
def test_the_first_error_names_the_mistake_in_a_strategy(truncate, message):
    spec = {"version": 1, "backbones": {"edge": {"architecture": "ResNet50", "truncate": truncate}}}
    errors = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(spec)]
    assert any(error.startswith(message) for error in errors), errors


def test_a_schema_without_plugins_takes_nothing_that_they_would_add():
    empty = json_schema(dict.fromkeys(KINDS, ()))
    jsonschema.Draft202012Validator.check_schema(empty)
    assert jsonschema.Draft202012Validator(empty).is_valid({"version": 1, "extends": "base.yaml"})
    assert not jsonschema.Draft202012Validator(empty).is_valid(
        {"version": 1, "backbones": {"edge": {"architecture": "ResNet50"}}}
    )
