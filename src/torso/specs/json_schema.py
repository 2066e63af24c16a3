"""The JSON Schema of specs, for editors: the shape of a spec, with the names and options of the installed plugins.

A schema sees values that a YAML library has typed already, so it accepts some specs that torso refuses. It knows each name
in one spelling only, where torso's lookup may accept more.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from torso.specs.backbone_spec import BACKBONE_NAME, NONE, POOLING, REGULARIZE
from torso.specs.options import Option
from torso.specs.spec_file import VERSION

Schema = dict[str, Any]  # Any: a JSON value
Named = tuple[str, Any]  # a name in a spec, and what a plugin offers under it; Any: of several kinds

# Numbers for torso that one version of YAML or another takes for text: 2_000_000 and 1e-3.
_NUMERALS = {
    int: "^[-+]?[1-9][0-9]*(_[0-9]+)+$",
    float: "^[-+]?[0-9._]*(_[0-9]|[0-9.][eE])[-+0-9._eE]*$",
}
_TYPES = {bool: "boolean", Path: "string", str: ["string", "number", "boolean", "null"]}  # 1.10, no and null are texts here
_SIDE = Option(name="side", type=int, minimum=1)
MAPPING: Final[Schema] = {"type": "object"}
_ANY_SIZE = [[None, None], ["none", "none"]]


def json_schema(offered: Mapping[str, Iterable[Named]], preprocess: tuple[Option, ...] = ()) -> Schema:
    """The JSON Schema (2020-12) of specs that use only these names; ``none`` is added for ``weights`` and ``adapt``.

    ``offered`` has the names by catalogue of the registry: ``architectures``, ``truncations``, and so on.
    """
    known = tuple(offered["architectures"])
    sides = {"type": "array", "items": _option(_SIDE), "minItems": 2, "maxItems": 2}
    size = {"anyOf": [sides, {"enum": _ANY_SIZE}], "description": "Height and width; [null, null] for images of any size."}
    adapt = _choice(offered["channel_adapters"], {"none": "As if adapt were not set."})
    defaults = {
        "architecture": {"enum": [name for name, _ in known]},
        "weights": _weights(known, offered["weight_sources"]),
        "input": _table({"size": size, "channels": _option(_SIDE), "adapt": adapt}),
        "truncate": _choice(offered["truncations"]),
        "freeze": _choice(offered["freeze_policies"]),
        "preprocess": _options(preprocess),
        "regularize": {"anyOf": [_option(REGULARIZE[0]), _options(REGULARIZE)]},
        "pooling": _option(POOLING),
    }
    backbone = {key: {"$ref": f"#/$defs/{key}"} for key in defaults}
    own: Schema = {"options": MAPPING, "prefix": {"type": "string", "pattern": f"^{BACKBONE_NAME}$"}}
    spec: Schema = {
        "version": {"const": VERSION},
        "extends": {"type": "string", "minLength": 1, "description": "Another spec, relative to this one."},
        "defaults": {**_table(backbone), "description": "Values for all backbones that do not set them."},
        "backbones": {
            **MAPPING,
            "propertyNames": {"pattern": f"^{BACKBONE_NAME}$"},
            "additionalProperties": {"$ref": "#/$defs/backbone"},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "torso spec",
        **_table(spec, required=["version"]),
        # Without extends, each backbone needs an architecture, its own or that of the defaults.
        "if": {"required": ["extends"]},
        "else": {
            "required": ["backbones"],
            "properties": {"backbones": {"minProperties": 1}},
            "if": {"properties": {"defaults": {"required": ["architecture"]}}, "required": ["defaults"]},
            "else": {"properties": {"backbones": {"additionalProperties": {"required": ["architecture"]}}}},
        },
        "$defs": {**defaults, "backbone": {**_table({**backbone, **own}), "allOf": _conditions(known) or [True]}},
    }


def _conditions(architectures: Iterable[Named]) -> list[Schema]:
    """Options and weights by architecture; architectures with the same ones share a condition."""
    names: dict[str, list[str]] = {}
    for name, architecture in architectures:
        tag = {"if": {"type": "string"}, "then": {"enum": [*architecture.tags, "none"]}}
        options = _options(architecture.options)
        required = ["options"] if options.get("required") else []
        then = {"properties": {"options": options, "weights": tag}, "required": required}
        # keyed by their text: a dictionary is no key
        names.setdefault(json.dumps(then), []).append(name)
    return [
        {"if": {"properties": {"architecture": {"enum": same}}, "required": ["architecture"]}, "then": json.loads(then)}
        for then, same in names.items()
    ]


def _weights(architectures: Iterable[Named], sources: Iterable[Named]) -> Schema:
    tags = sorted({tag for _, architecture in architectures for tag in architecture.tags} - {"none"})
    mappings = [_described(_options(source.options), source.doc) for _, source in sources]
    return {"oneOf": [{"enum": [*tags, "none"]}, _table({"none": _options(NONE)}, ["none"]), *mappings]}


def _choice(offered: Iterable[Named], also: Mapping[str, str] = MappingProxyType({})) -> Schema:
    keyed: Schema = {}
    alone = dict(also)  # what can be written by its name: what that means
    for name, one in offered:
        positional = [_option(option) for option in one.options if option.name == one.positional]
        keyed[name] = _described(_mapping_or(_options(one.options), *positional), one.doc)
        if not any(option.required for option in one.options):
            alone[name] = one.doc
    # Editors show the descriptions of an enum by this keyword of theirs.
    names = {"enum": list(alone), "markdownEnumDescriptions": list(alone.values())}
    return _mapping_or({**_table(keyed), "minProperties": 1, "maxProperties": 1}, names)


def _mapping_or(mapping: Schema, other: Schema = MAPPING) -> Schema:
    """A schema for mappings, and one for all else: with anyOf, an editor would name neither mistake."""
    return {"if": MAPPING, "then": mapping, "else": other}


def _options(options: tuple[Option, ...]) -> Schema:
    required = [option.name for option in options if option.required]
    return _table({option.name: _option(option) for option in options}, required)


def _option(option: Option) -> Schema:
    one = {"enum": list(option.choices)} if option.choices else _type(option)
    schema: Schema = {"type": "array", "items": one} if option.many else one
    if option.default is None:
        schema = {"anyOf": [schema, {"enum": ["none", None]}]}
    if not option.required and option.default is not None:
        schema = {**schema, "default": option.default}
    return _described(schema, option.doc)


def _type(option: Option) -> Schema:
    if option.type in _TYPES:
        return {"type": _TYPES[option.type]}
    number: Schema = {"type": ["integer" if option.type is int else "number", "string"], "pattern": _NUMERALS[option.type]}
    for word, limit in ("minimum", option.minimum), ("maximum", option.maximum):
        if limit is not None:
            number[word] = limit
    return number


def _table(properties: Mapping[str, Schema | bool], required: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _described(schema: Schema, doc: str) -> Schema:
    return {**schema, "description": doc} if doc else schema
