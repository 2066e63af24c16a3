"""The JSON Schema of specs, for editors: the shape of a spec, with the names and options of the installed plugins.

A schema sees values that a YAML library has typed already, so it accepts some specs that torso refuses. It knows each name
in one spelling only, where torso's lookup may accept more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torso.specs.backbone_spec import BACKBONE_NAME
from torso.specs.options import Option
from torso.specs.spec_file import VERSION

Schema = dict[str, Any]  # Any: a JSON value

_NUMERALS = {
    int: "^[-+]?[1-9][0-9]*(_[0-9]+)+$",
    float: "^[-+]?[0-9._]*(_[0-9]|[0-9.][eE])[-+0-9._eE]*$",
}
"""Numbers for torso that one version of YAML or another takes for text: 2_000_000 and 1e-3."""

_SIDE = Option(name="side", type=int, minimum=1)
_ANY_SIZE = [[None, None], ["none", "none"]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A truncation strategy, freeze policy, weight source or channel adapter, by its name in a spec."""

    name: str
    doc: str = ""
    options: tuple[Option, ...] = ()
    positional: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """An architecture by its name in a spec, with the tags of its weights."""

    name: str
    options: tuple[Option, ...] = ()
    tags: tuple[str, ...] = ()


def json_schema(
    *,
    architectures: Iterable[ArchitectureEntry],
    truncations: Iterable[Entry],
    freeze_policies: Iterable[Entry],
    weight_sources: Iterable[Entry],
    channel_adapters: Iterable[Entry] = (),
    preprocess: tuple[Option, ...] = (),
) -> Schema:
    """The JSON Schema (2020-12) of specs that use only these names; ``none`` is added for ``weights`` and ``adapt``."""
    known = tuple(architectures)
    sides = {"type": "array", "items": _option(_SIDE), "minItems": 2, "maxItems": 2}
    size = {"anyOf": [sides, {"enum": _ANY_SIZE}], "description": "Height and width; [null, null] for images of any size."}
    defaults = {
        "architecture": {"enum": [one.name for one in known]},
        "weights": _weights(known, weight_sources),
        "input": _table({"size": size, "channels": _option(_SIDE), "adapt": _adapter(channel_adapters)}),
        "truncate": _choice(truncations),
        "freeze": _choice(freeze_policies),
        "preprocess": _options(preprocess),
    }
    backbone = {key: {"$ref": f"#/$defs/{key}"} for key in defaults}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "torso spec",
        **_table(
            {
                "version": {"const": VERSION},
                "extends": {"type": "string", "minLength": 1, "description": "Another spec, relative to this one."},
                "defaults": {**_table(backbone), "description": "Values for all backbones that do not set them."},
                "backbones": {
                    "type": "object",
                    "propertyNames": {"pattern": f"^{BACKBONE_NAME}$"},
                    "additionalProperties": {"$ref": "#/$defs/backbone"},
                },
            },
            required=["version"],
        ),
        # Without extends, each backbone needs an architecture, its own or that of the defaults.
        "if": {"required": ["extends"]},
        "else": {
            "required": ["backbones"],
            "properties": {"backbones": {"minProperties": 1}},
            "if": {"properties": {"defaults": {"required": ["architecture"]}}, "required": ["defaults"]},
            "else": {"properties": {"backbones": {"additionalProperties": {"required": ["architecture"]}}}},
        },
        "$defs": {
            **defaults,
            "backbone": {**_table({**backbone, "options": {"type": "object"}}), "allOf": _conditions(known) or [True]},
        },
    }


def _conditions(architectures: Iterable[ArchitectureEntry]) -> list[Schema]:
    """Options and weights by architecture; architectures with the same ones share a condition."""
    names: dict[str, list[str]] = {}
    for one in architectures:
        tag = {"if": {"type": "string"}, "then": {"enum": [*one.tags, "none"]}}
        options = _options(one.options)
        required = ["options"] if options.get("required") else []
        then = {"properties": {"options": options, "weights": tag}, "required": required}
        # keyed by their text: a dictionary is no key
        names.setdefault(json.dumps(then), []).append(one.name)
    return [
        {"if": {"properties": {"architecture": {"enum": same}}, "required": ["architecture"]}, "then": json.loads(then)}
        for then, same in names.items()
    ]


def _weights(architectures: Iterable[ArchitectureEntry], sources: Iterable[Entry]) -> Schema:
    tags = sorted({tag for one in architectures for tag in one.tags} - {"none"})
    mappings = [_described(_options(source.options), source.doc) for source in sources]
    return {"oneOf": [{"enum": [*tags, "none"]}, *mappings]}


def _adapter(entries: Iterable[Entry]) -> Schema:
    return {"oneOf": [_described({"const": "none"}, "As if adapt were not set."), *_choice(entries)["oneOf"]]}


def _choice(entries: Iterable[Entry]) -> Schema:
    entries = tuple(entries)
    keyed = _table({entry.name: _described(_value(entry), entry.doc) for entry in entries})
    alone = [entry for entry in entries if not any(option.required for option in entry.options)]
    return {"oneOf": [_names(alone), {**keyed, "minProperties": 1, "maxProperties": 1}]}


def _value(entry: Entry) -> Schema:
    positional = [_option(option) for option in entry.options if option.name == entry.positional]
    return {"anyOf": [*positional, _options(entry.options)]}


def _names(entries: Iterable[Entry]) -> Schema | bool:
    names = [_described({"const": entry.name}, entry.doc) for entry in entries]
    return {"oneOf": names} if names else False


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
    if option.type is bool:
        return {"type": "boolean"}
    if option.type is Path:
        return {"type": "string"}
    if option.type is str:
        return {"type": ["string", "number", "boolean", "null"]}  # 1.10, no and null are texts here
    number: Schema = {"type": "integer" if option.type is int else "number"}
    for word, limit in ("minimum", option.minimum), ("maximum", option.maximum):
        if limit is not None:
            number[word] = limit
    return {"anyOf": [number, {"type": "string", "pattern": _NUMERALS[option.type]}]}


def _table(properties: Mapping[str, Schema | bool], required: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _described(schema: Schema, doc: str) -> Schema:
    return {**schema, "description": doc} if doc else schema
