"""A spec as YAML again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from torso.specs.backbone_spec import BACKBONE, INPUT, Choice, InputSpec
from torso.specs.spec_file import VERSION, BackboneSpec
from torso.specs.yaml_nodes import MappingNode, ScalarNode, SequenceNode, from_python

# Texts that YAML reads as they are; all others are quoted, as JSON: YAML reads that as the same text.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*|[-+.][-+.0-9eE_]*[0-9][-+.0-9eE_]*|~|")


def write_spec(backbones: Iterable[BackboneSpec]) -> str:
    """The text of a spec with these backbones; defaults and what was extended are written out in each of them.

    A relative path stays as it is: write the text into the folder where the path was read.
    """
    lines = [f"version: {VERSION}", "backbones:"]
    for backbone in backbones:
        lines.append(f"  {backbone.name}:")
        values = {key: getattr(backbone, key) for key in BACKBONE}
        lines += [f"    {key}: {_text(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:  # Any: each key has a type of its own
    """A value on one line."""
    if isinstance(value, InputSpec):
        parts = [(part, getattr(value, part)) for part in INPUT]
        return f"{{{', '.join(f'{part}: {_text(one)}' for part, one in parts if one is not None)}}}"
    if isinstance(value, Choice):
        name = _text(ScalarNode(value.name))
        return name if value.value is None else f"{{{name}: {_text(value.value)}}}"
    if isinstance(value, ScalarNode):
        plain = not value.quoted and _PLAIN.fullmatch(value.text)
        return value.text if plain else json.dumps(value.text, ensure_ascii=False)
    if isinstance(value, SequenceNode):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, MappingNode):
        return f"{{{', '.join(f'{_text(key)}: {_text(one)}' for key, one in value)}}}"
    return _text(from_python(value))
