"""A whole spec: which backbones a file declares, with what it extends and its defaults put in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from torso.errors import Place, SpecError, TorsoError, raise_all
from torso.spec.keys import BACKBONE, DEFAULTS, Choice, InputSpec, Readers, Values, check_names, read_keys
from torso.spec.nodes import Node, Scalar, Table, from_python
from torso.spec.options import Option
from torso.spec.reader import read_file

VERSION: Final = 1
"""The version of the spec's own shape."""

MAX_EXTENDS: Final = 8
"""How many files may extend one another."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One backbone as declared; None where the user says nothing.

    Attributes:
        name: What the user calls it.
        architecture: Name of what is built.
        options: Options of the architecture, unchecked.
        weights: A tag or ``none`` as a scalar, or a mapping for a weight source.
        input: Which images it takes.
        truncate: Where it ends.
        freeze: What does not train.
        place: Where it is declared.
    """

    name: str
    architecture: Scalar
    options: Table | None = None
    weights: Scalar | Table | None = None
    input: InputSpec | None = None
    truncate: Choice | None = None
    freeze: Choice | None = None
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a file declares.

    Attributes:
        backbones: By name, in the order of their declaration.
        file: As the user named it.
    """

    backbones: Mapping[str, BackboneSpec]
    file: str | None = field(default=None, compare=False)


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read a spec with all that it extends.

    A file's defaults and backbones are put over those of the file that it extends, key by key; defaults then hold for
    each backbone that does not set the key itself. The parts of ``input`` count as keys here.

    Raises:
        TorsoError: All that is wrong with the spec, at once.
    """
    file = os.fspath(path)
    errors: list[TorsoError] = []
    whole = True
    ...


def backbone_from_python(name: str, **keys: Any) -> BackboneSpec:
    """Declare a backbone with Python values, by the rules of YAML.

    Args:
        name: What to call it.
        **keys: The keys of a backbone and what would stand under them; None is ``none``. ``Any``: they are checked here.

    Raises:
        TorsoError: All that is wrong with them, at once.
    """
    errors: list[TorsoError] = []
    table = from_python(keys)
    ...


def path_of(text: Scalar) -> Path:
    """The file that a text in a spec names: a relative path starts at the spec that it stands in."""
    return Path(text.place.file or "").parent / text.text
