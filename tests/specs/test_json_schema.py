from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from tables import table

from torso.errors import TorsoError
from torso.specs.json_schema import ArchitectureEntry, Entry, json_schema
from torso.specs.options import Option, read_options
from torso.specs.spec_file import Choice, read_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode


def by_name(*entries: Any) -> dict[str, Any]:
    return {entry.name: entry for entry in entries}


ALPHA = Option(name="alpha", type=float, default=1.0, choices=(0.35, 0.5, 1.0), doc="Width of every layer.")
ARCHITECTURES = by_name(
    ArchitectureEntry(name="MobileNetV2", options=(ALPHA,), tags=("imagenet",)),
    ArchitectureEntry(name="keras/MobileNetV2", options=(ALPHA,), tags=("imagenet",)),
    ArchitectureEntry(name="ResNet50", tags=("imagenet",)),
    ArchitectureEntry(
        name="acme/eyenet",
        options=(
            Option(name="depth", type=int, minimum=1, maximum=152),
            Option(name="wide", type=bool, default=False),
            Option(name="rate", type=float, default=None, minimum=0),
            Option(name="label", type=str, default="eye"),
            Option(name="stages", type=int, many=True, default=(2, 2)),
        ),
        tags=("fundus",),
    ),
)
TRUNCATIONS = by_name(
    Entry(name="none", doc="The whole network."),
    Entry(
        name="pop",
        doc="Without its last nodes.",
        options=(
            Option(name="count", type=int, minimum=1),
            Option(name="unit", type=str, default="node", choices=("node", "block")),
        ),
        positional="count",
    ),
    Entry(name="levels", options=(Option(name="levels", type=str, many=True),), positional="levels"),
    Entry(name="acme/budget", options=(Option(name="params", type=int, default=1_000_000),)),
)
FREEZE_POLICIES = by_name(
    Entry(name="all"),
    Entry(name="none"),
    Entry(name="through", options=(Option(name="node", type=str),), positional="node"),
)
WEIGHT_SOURCES = by_name(
    Entry(name="file", options=(Option(name="file", type=str), Option(name="sha256", type=str, default=None))),
    Entry(name="url", options=(Option(name="url", type=str), Option(name="sha256", type=str, default=None))),
)
ADAPTERS = by_name(
    Entry(name="sum", doc="Adds up."),
    Entry(name="mean"),
    Entry(name="map", options=(Option(name="sources", type=str, many=True),), positional="sources"),
    Entry(name="acme/luma", options=(Option(name="gamma", type=float, default=2.2),)),
)

SCHEMA = json_schema(
    architectures=ARCHITECTURES.values(),
    truncations=TRUNCATIONS.values(),
    freeze_policies=FREEZE_POLICIES.values(),
    weight_sources=WEIGHT_SOURCES.values(),
    channel_adapters=ADAPTERS.values(),
)


def schema_takes(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def torso_takes(path: str) -> bool:
    """What the plan would say of the names and options in a spec."""
    try:
        for backbone in read_spec(path).backbones.values():
            card = ARCHITECTURES[backbone.architecture.text]
            read_options(card.name, card.options, backbone.options)
            choose(TRUNCATIONS, backbone.truncate or Choice(name="none"))
            choose(FREEZE_POLICIES, backbone.freeze or Choice(name="all"))
            if isinstance(backbone.weights, MappingNode):
                source = next(WEIGHT_SOURCES[key.text] for key, _ in backbone.weights if key.text in WEIGHT_SOURCES)
                read_options(source.name, source.options, backbone.weights)
            elif isinstance(backbone.weights, ScalarNode) and backbone.weights.text not in (*card.tags, "none"):
                return False
            if backbone.input is not None and backbone.input.adapt is not None:
                choose(ADAPTERS, backbone.input.adapt)
    except (TorsoError, KeyError, StopIteration):
        return False
    return True


def choose(entries: dict[str, Entry], choice: Choice) -> None:
    entry = entries[choice.name]
    read_options(entry.name, entry.options, choice.value, positional=entry.positional)


@pytest.fixture
def base(spec_file):
    return spec_file("version: 1\nbackbones: {base: {architecture: ResNet50}}", "base.yaml")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(("text", "schema", "torso"), table("schema_cases"))
def test_the_schema_and_torso_take_the_same_specs(text, schema, torso, spec_file):
    assert (schema_takes(text), torso_takes(spec_file(text))) == (schema, torso)


def test_the_schema_is_one_and_can_be_printed():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_the_schema_says_what_each_name_means():
    assert SCHEMA["$defs"]["truncate"]["oneOf"][0]["oneOf"][0] == {"const": "none", "description": "The whole network."}
    assert SCHEMA["$defs"]["truncate"]["oneOf"][1]["properties"]["pop"]["description"] == "Without its last nodes."


def test_architectures_with_the_same_options_and_weights_share_a_condition():
    conditions = SCHEMA["$defs"]["backbone"]["allOf"]
    assert [condition["if"]["properties"]["architecture"]["enum"] for condition in conditions] == [
        ["MobileNetV2", "keras/MobileNetV2"],
        ["ResNet50"],
        ["acme/eyenet"],
    ]
    assert conditions[0]["then"]["properties"]["options"]["properties"]["alpha"] == {
        "enum": [0.35, 0.5, 1.0],
        "default": 1.0,
        "description": "Width of every layer.",
    }


def test_a_schema_without_plugins_takes_nothing_that_they_would_add():
    empty = json_schema(architectures=(), truncations=(), freeze_policies=(), weight_sources=())
    jsonschema.Draft202012Validator.check_schema(empty)
    assert jsonschema.Draft202012Validator(empty).is_valid({"version": 1, "extends": "base.yaml"})
    assert not jsonschema.Draft202012Validator(empty).is_valid(
        {"version": 1, "backbones": {"edge": {"architecture": "ResNet50"}}}
    )
