"""A spec as YAML again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torso.specs.backbone_spec import BACKBONE, INPUT, Choice, InputSpec
from torso.specs.spec_file import VERSION, BackboneSpec
from torso.specs.yaml_nodes import ScalarNode, from_python, text_of


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
    return text_of(from_python(value))
