from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from torso.errors import TorsoError
from torso.specs.json_schema import ArchitectureEntry, Entry, json_schema
from torso.specs.options import Option, read_options
from torso.specs.spec_file import Choice, read_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode

ALPHA = Option(name="alpha", type=float, default=1.0, choices=(0.35, 0.5, 1.0), doc="Width of every layer.")
ARCHITECTURES = {
    entry.name: entry
    for entry in (
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
}
TRUNCATIONS = {
    entry.name: entry
    for entry in (
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
}
FREEZE_POLICIES = {
    entry.name: entry
    for entry in (
        Entry(name="all"),
        Entry(name="none"),
        Entry(name="through", options=(Option(name="node", type=str),), positional="node"),
    )
}
WEIGHT_SOURCES = {
    entry.name: entry
    for entry in (
        Entry(name="file", options=(Option(name="file", type=str), Option(name="sha256", type=str, default=None))),
        Entry(name="url", options=(Option(name="url", type=str), Option(name="sha256", type=str, default=None))),
    )
}
ADAPTERS = {
    entry.name: entry
    for entry in (
        Entry(name="sum", doc="Adds up."),
        Entry(name="mean"),
        Entry(name="map", options=(Option(name="sources", type=str, many=True),), positional="sources"),
        Entry(name="acme/luma", options=(Option(name="gamma", type=float, default=2.2),)),
    )
}

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


def mobilenet(more: str) -> str:
    return f"version: 1\nbackbones:\n  edge: {{architecture: MobileNetV2, {more}}}\n"


def eyenet(options: str) -> str:
    return f"version: 1\nbackbones:\n  edge: {{architecture: acme/eyenet, options: {{{options}}}}}\n"


GOOD = [
    "version: 1\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\nbackbones: {edge: {architecture: ResNet50, options: {}}, 'v1.5': {architecture: MobileNetV2}}",
    "version: 1\ndefaults: {freeze: none, weights: imagenet}\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\ndefaults: {architecture: ResNet50}\nbackbones: {edge: {}}",
    "version: 1\nextends: base.yaml",
    "version: 1\nextends: base.yaml\nbackbones: {base: {freeze: none}}",
    mobilenet("options: {alpha: 0.35}"),
    mobilenet("options: {alpha: 1}").replace("Mob", "keras/Mob"),
    *(mobilenet(f"weights: {weights}") for weights in ("imagenet", "none", "{file: a.h5}", "{url: 'x', sha256: none}")),
    *(mobilenet(f"input: {{{parts}}}") for parts in ("", "size: [96, 1_024]", "channels: 1, adapt: sum")),
    *(mobilenet(f"input: {{size: {size}}}") for size in ("[null, null]", "[~, ~]", "[none, none]")),
    *(
        mobilenet(f"input: {{adapt: {choice}}}")
        for choice in (
            "none",
            "mean",
            "{sum: {}}",
            "{map: [R, 0, none]}",
            "{map: {sources: [R]}}",
            "{acme/luma: {gamma: 2}}",
        )
    ),
    *(mobilenet(f"truncate: {choice}") for choice in ("none", "{none: {}}", "{pop: 3}", "{pop: {count: 3, unit: block}}")),
    *(
        mobilenet(f"truncate: {choice}")
        for choice in ("{levels: [C3, C4]}", "acme/budget", "{acme/budget: {params: 2_000}}")
    ),
    *(mobilenet(f"freeze: {choice}") for choice in ("all", "{through: C2}", "{through: {node: 1.10}}", "{through: no}")),
    *(eyenet(f"depth: {depth}") for depth in ("1", "152", "+3")),
    *(eyenet(f"depth: 1, rate: {rate}") for rate in ("none", "~", "0.5", "1", "1e-3", "1_0.5")),
    *(
        eyenet(f"depth: 1, {option}")
        for option in ("wide: true", "stages: [3]", "label: no", "label: 1.10", "label: ''", "label: null")
    ),
]

BAD = [
    "[]",
    "edge",
    "version: 1",
    "version: 1\nbackbones: {}",
    "version: 1\nbackbones: []",
    "backbones: {edge: {architecture: ResNet50}}",
    "version: 2\nbackbones: {edge: {architecture: ResNet50}}",
    "version: '1'\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\nbackbone: {}\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\nextends: [base.yaml]",
    "version: 1\nextends: ''",
    "version: 1\ndefaults:\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\ndefaults: {weights: none}\nbackbones: {edge: {}}",
    "version: 1\ndefaults: {freeze: some}\nbackbones: {edge: {architecture: ResNet50}}",
    "version: 1\nbackbones: {edge: }",
    "version: 1\nbackbones: {edge: {freeze: all}}",
    "version: 1\nbackbones: {'a/b': {architecture: ResNet50}}",
    "version: 1\nbackbones: {'..': {architecture: ResNet50}}",
    "version: 1\nbackbones: {edge: {architecture: ResNet5O}}",
    "version: 1\nbackbones: {edge: {architecture: [ResNet50]}}",
    "version: 1\nbackbones: {edge: {architecture: acme/eyenet}}",
    "version: 1\nbackbones: {edge: {architecture: ResNet50, options: {alpha: 0.35}}}",
    *(mobilenet(more) for more in ("frozen: all", "options: {alpha: 0.36}", "options: {alhpa: 0.35}", "options: []")),
    *(mobilenet(f"weights: {weights}") for weights in ("imagenette", "fundus", "null", "[imagenet]", "{}")),
    *(mobilenet(f"weights: {weights}") for weights in ("{sha256: x}", "{file: a, md5: x}", "{file: [a]}")),
    *(mobilenet(f"input: {value}") for value in ("224", "[224, 224]", "{size: 224}", "{size: [224]}")),
    *(mobilenet(f"input: {value}") for value in ("{size: [224, 224, 3]}", "{size: [0, 1]}", "{size: [1.5, 1]}")),
    *(mobilenet(f"input: {{size: {size}}}") for size in ("[null, 224]", "[224, ~]", "null", "[null]", "[~, ~, ~]", "any")),
    *(mobilenet(f"input: {value}") for value in ("{channels: '3'}", "{channels: 0}", "{adapt: product}", "{sise: [1, 1]}")),
    *(
        mobilenet(f"input: {{adapt: {choice}}}")
        for choice in ("map", "null", "[R, G]", "{none: {}}", "{map: R}", "{map: {}}", "{mean: 3}", "{sum: {}, mean: {}}")
    ),
    *(mobilenet(f"truncate: {choice}") for choice in ("pop", "null", "{}", "pip", "[pop, 3]", "{pip: 3}", "{none: 3}")),
    *(mobilenet(f"truncate: {choice}") for choice in ("{pop: 3, levels: [C3]}", "{pop: 0}", "{pop: x}", "{pop: [3]}")),
    *(mobilenet(f"truncate: {choice}") for choice in ("{pop: {unit: block}}", "{pop: {count: 3, unit: blocks}}", "{pop: }")),
    *(mobilenet(f"truncate: {choice}") for choice in ("{levels: C3}", "{levels: [[C3]]}", "{acme/budget: 2_000}")),
    *(mobilenet(f"freeze: {choice}") for choice in ("through", "{through: [C2]}", "{through: {level: C2}}", "pop")),
    *(eyenet(options) for options in ("", "wide: true", "depth: 0", "depth: 153", "depth: 1.5", "depth: '3'")),
    *(
        eyenet(f"depth: 1, {option}")
        for option in ("wide: 1", "stages: 3", "wide: 'true'", "rate: -1", "rate: x", "label: [a]")
    ),
]

BAD_FOR_TORSO_ALONE = [
    mobilenet("freeze: all, freeze: none"),
    mobilenet("input: {size: [224.0, 224]}"),
    eyenet("depth: 1, label: "),
    eyenet("depth: 1, wide: yes"),
    "version: 1\nbackbones: {a: {architecture: ResNet50}, A: {architecture: ResNet50}}",
    "version: 1\nextends: missing.yaml",
]

GOOD_FOR_TORSO_ALONE = [mobilenet("truncate: {levels: [2001-12-14]}")]  # a date, for some readers of YAML


@pytest.fixture
def base(spec_file):
    return spec_file("version: 1\nbackbones: {base: {architecture: ResNet50}}", "base.yaml")


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("text", "schema", "torso"),
    [
        *((text, True, True) for text in GOOD),
        *((text, False, False) for text in BAD),
        *((text, True, False) for text in BAD_FOR_TORSO_ALONE),
        *((text, False, True) for text in GOOD_FOR_TORSO_ALONE),
    ],
)
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
    assert not jsonschema.Draft202012Validator(empty).is_valid(yaml.safe_load(GOOD[0]))
