"""A spec as YAML again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from torso.specs.backbone_spec import INPUT, Choice
from torso.specs.spec_file import VERSION, BackboneSpec, Spec
from torso.specs.yaml_nodes import Node, ScalarNode, SequenceNode, from_python

# Texts that YAML reads as they are; all others are quoted.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*|[-+.][-+.0-9eE_]*[0-9][-+.0-9eE_]*|~|")


def write_spec(spec: Spec) -> str:
    """Write a spec such that reading the text gives an equal one.

    Defaults and what was extended are written out in each backbone. A relative path stays as it is: write the text into
    the folder where the path was read.
    """
    lines = [f"version: {VERSION}", "backbones:"]
    for backbone in spec.backbones.values():
        lines.append(f"  {backbone.name}:")
        lines += [f"    {key}: {value}" for key, value in _keys(backbone)]
    return "\n".join(lines) + "\n"


def _keys(backbone: BackboneSpec) -> Iterator[tuple[str, str]]:
    yield "architecture", _node(backbone.architecture)
    for key, node in ("options", backbone.options), ("weights", backbone.weights):
        if node is not None:
            yield key, _node(node)
    if backbone.input is not None:
        parts = {part: getattr(backbone.input, part) for part in INPUT}
        written = [f"{part}: {_part(value)}" for part, value in parts.items() if value is not None]
        yield "input", f"{{{', '.join(written)}}}"
    if backbone.preprocess is not None:
        yield "preprocess", _node(backbone.preprocess)
    for key, choice in ("truncate", backbone.truncate), ("freeze", backbone.freeze):
        if choice is not None:
            yield key, _choice(choice)


def _part(value: Any) -> str:  # Any: each part of the input has a type of its own
    return _choice(value) if isinstance(value, Choice) else _node(from_python(value))


def _choice(choice: Choice) -> str:
    name = _scalar(ScalarNode(choice.name))
    return name if choice.value is None else f"{{{name}: {_node(choice.value)}}}"


def _node(node: Node) -> str:
    """The node on one line."""
    if isinstance(node, ScalarNode):
        return _scalar(node)
    if isinstance(node, SequenceNode):
        return f"[{', '.join(map(_node, node))}]"
    return f"{{{', '.join(f'{_scalar(key)}: {_node(value)}' for key, value in node)}}}"


def _scalar(scalar: ScalarNode) -> str:
    if not scalar.quoted and _PLAIN.fullmatch(scalar.text):
        return scalar.text
    return json.dumps(scalar.text, ensure_ascii=False)  # which YAML reads as the same text
