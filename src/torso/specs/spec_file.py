"""Read a whole spec, with its defaults and the files that it extends, and write one."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torso.errors import Place, SpecError, TorsoError, collect, known, nearest, raise_all
from torso.specs.backbone_spec import (
    BACKBONE,
    DEFAULTS,
    INPUT,
    Choice,
    InputSpec,
    Readers,
    Values,
    check_backbone_name,
    merge,
    read_keys,
    read_mapping,
    read_name,
)
from torso.specs.options import Option
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, from_python, path_of, text_of
from torso.specs.yaml_reader import read_file

VERSION: Final = 1  # of the shape of specs
MAX_EXTENDS: Final = 8  # files


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One backbone as it was declared; None for what the user does not say. Names and options are not checked yet."""

    name: str
    architecture: ScalarNode
    options: MappingNode | None = None  # of the architecture
    weights: ScalarNode | MappingNode | None = None  # a tag or none, or the options of a weight source
    input: InputSpec | None = None
    truncate: Choice | None = None
    freeze: Choice | None = None
    regularize: Node | None = None  # a mapping, or the number l2
    preprocess: MappingNode | None = None
    pooling: str | None = None
    prefix: str | None = None
    place: Place = field(default=Place(), compare=False)


def read_spec(path: str | os.PathLike[str], found: list[TorsoError] | None = None) -> dict[str, BackboneSpec]:
    """The backbones that a file and those that it extends declare, by name; raises all that is wrong at once.

    The keys of a file replace those of the file that it extends; defaults then fill what a backbone does not say. The keys
    of ``input`` and ``preprocess`` are merged one by one. If a list is given, what is wrong is added to it instead of
    raised, and the backbones come without what is wrong; not those whose architecture or options are wrong.
    """
    nodes, errors = _read_chain(os.fspath(path))
    whole = not errors  # otherwise an architecture may be in a file that could not be read
    defaults: Values = {}
    backbones: dict[str, Values] = {}
    for node in nodes:
        file_defaults, file_backbones = _read_one(node, errors)
        defaults = merge(defaults, file_defaults)
        for name, values in file_backbones.items():
            backbones[name] = merge(backbones.get(name, {}), values)
    errors += _case_clashes(backbones)
    if whole:
        errors += [error for name, values in backbones.items() for error in _missing(name, merge(defaults, values))]
        if not backbones and not errors:
            errors.append(SpecError("the spec declares no backbone", place=nodes[-1].place))
    merged = {name: merge(defaults, values) for name, values in backbones.items()}
    if found is None:
        raise_all(errors)
    elif errors:
        found += errors
        sure = [name for name, one in merged.items() if None not in (one.get("architecture"), one.get("options", 0))]
        said = {name: {key: value for key, value in merged[name].items() if value is not None} for name in sure if whole}
        # Without weights where none could be read: what is meant is not known.
        merged = {name: {"weights": ScalarNode("none"), **values} for name, values in said.items()}
    return {name: BackboneSpec(name=name, **values) for name, values in merged.items()}


def backbone_from_python(name: str, /, **keys: Any) -> BackboneSpec:
    """Declare a backbone with Python values, by the rules of YAML; None is ``none``."""
    errors: list[TorsoError] = []
    node = from_python(keys)
    values = _read_backbone(ScalarNode(name, place=node.place), node, errors)
    raise_all([*errors, *_missing(name, values)])
    return BackboneSpec(name=name, **values)


def _read_chain(file: str) -> tuple[list[Node], list[TorsoError]]:
    """The trees of the files that it extends and of the file itself, and the error that stopped the reading."""
    nodes: list[Node] = []
    place: Place | None = None
    try:
        while len(nodes) <= MAX_EXTENDS:
            nodes.insert(0, read_file(file, place=place))
            extends = nodes[0].get("extends") if isinstance(nodes[0], MappingNode) else None
            if extends is None:
                return nodes, []
            name = read_name("extends", extends)
            file, place = str(path_of(name)), name.place
        return [], [SpecError(f"a spec extends {MAX_EXTENDS} others at most, and itself never", place=place)]
    except TorsoError as error:
        return nodes, [error]


def _read_version(key: str, node: Node) -> int:
    version = Option(name=key, type=int).read(node)
    if version != VERSION:
        raise SpecError(f"this torso reads version {VERSION}, not {version}", place=node.place)
    return VERSION


_SPEC: Final[Readers] = {
    "version": _read_version,
    "extends": lambda key, node: node,  # followed already
    "defaults": read_mapping,
    "backbones": read_mapping,
}


def _read_one(node: Node, errors: list[TorsoError]) -> tuple[Values, dict[str, Values]]:
    """The defaults and backbones of one file."""
    keys = [key.text for key, _ in node] if isinstance(node, MappingNode) else []
    if not isinstance(node, SequenceNode) and not any(nearest(key, _SPEC) for key in keys):  # what it has may be secret
        errors.append(SpecError("this file is no spec: it has no key of one", place=node.place, notes=[known(_SPEC)]))
        return {}, {}
    spec = read_keys("a spec", node, _SPEC, errors) or {}
    if isinstance(node, MappingNode) and "version" not in spec:
        notes = [("fix", f"write version: {VERSION}")]
        errors.append(SpecError("the spec has no version", place=node.place, notes=notes))
    defaults = read_keys("defaults", spec.get("defaults") or MappingNode(()), DEFAULTS, errors)
    backbones = {key.text: _read_backbone(key, below, errors) for key, below in spec.get("backbones") or ()}
    return defaults or {}, backbones


def _read_backbone(key: ScalarNode, node: Node, errors: list[TorsoError]) -> Values:
    collect(errors, check_backbone_name, key)
    values = read_keys(f"backbone {key.text!r}", node, BACKBONE, errors)
    return {"architecture": None, "place": key.place} if values is None else {**values, "place": key.place}


def _missing(name: str, values: Values) -> list[TorsoError]:
    if "architecture" in values:
        return []
    notes = [("fix", "write architecture: NAME; `torso list` knows the names")]
    return [SpecError(f"backbone {name!r} has no architecture", place=values["place"], notes=notes)]


def _case_clashes(backbones: Mapping[str, Values]) -> Iterator[TorsoError]:
    first: dict[str, str] = {}
    for name, values in backbones.items():
        other = first.setdefault(name.casefold(), name)  # one folder, on disks that ignore case
        if other != name:
            fact = f"backbones {other!r} and {name!r} differ only in the case of letters"
            yield SpecError(fact, place=values["place"])


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
