"""The arguments SPEC and NAME of a command, and the backbones that they mean."""

from collections.abc import Callable, Sequence

import click

from torso.cli.completion import backbone_names
from torso.cli.result import Result
from torso.errors import Place, UnknownNameError, did_you_mean, known
from torso.planning import Plan, make_plans
from torso.plugins.registry import Registry
from torso.specs.spec_file import BackboneSpec, read_spec


def spec_and_names(function: Callable[..., Result]) -> Callable[..., Result]:
    """Add the arguments: a spec, and any number of its backbones."""
    names = click.argument("name", nargs=-1, shell_complete=backbone_names)
    return click.argument("spec", type=click.Path())(names(function))


def plans_of(path: str, names: Sequence[str], registry: Registry) -> dict[str, Plan]:
    """The plans of the named backbones of a spec, of all if none is named; or all their errors at once."""
    return make_plans(selected(path, names).values(), registry)


def selected(path: str, names: Sequence[str]) -> dict[str, BackboneSpec]:
    """The named backbones of a spec, as declared; all if none is named."""
    backbones = read_spec(path)
    for name in names:
        if name not in backbones:
            place, notes = Place(file=path, path="$.backbones"), [*did_you_mean(name, backbones), known(backbones)]
            raise UnknownNameError(f"no backbone {name!r}", place=place, notes=notes)
    return {name: backbones[name] for name in names or backbones}
