"""The backbones of a spec that a command was given."""

from __future__ import annotations

from collections.abc import Sequence

from torso.errors import Place, UnknownNameError, did_you_mean, known, raise_all
from torso.planning import Plan, make_plans
from torso.plugins.registry import Registry
from torso.specs.spec_file import BackboneSpec, read_spec


def plans_of(path: str, names: Sequence[str], registry: Registry) -> dict[str, Plan]:
    """The plans of the named backbones of a spec, of all if none is named; or all their errors at once."""
    return make_plans(selected(path, names).values(), registry)


def selected(path: str, names: Sequence[str]) -> dict[str, BackboneSpec]:
    """The named backbones of a spec, as declared; all if none is named."""
    backbones = read_spec(path)
    place = Place(file=path, path="$.backbones")
    raise_all(
        [
            UnknownNameError(f"no backbone {name!r}", place=place, notes=[*did_you_mean(name, backbones), known(backbones)])
            for name in dict.fromkeys(names)
            if name not in backbones
        ]
    )
    return {name: backbones[name] for name in names or backbones}
