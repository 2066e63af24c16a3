"""The specs that a verb was given, and what of them it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torso.errors import Place, TorsoError, UnknownNameError, did_you_mean, known, raise_all
from torso.planning import Plan, make_plans
from torso.plugins.registry import Registry
from torso.specs.spec_file import BackboneSpec, read_spec


def plans_of(path: str, names: Sequence[str], registry: Registry) -> dict[str, Plan]:
    """Plan the named backbones of a spec; all where none is named.

    Raises:
        TorsoError: All that is wrong with the file, the names or those backbones, at once.
    """
    return make_plans(chosen(path, names).values(), registry)


def chosen(path: str, names: Sequence[str]) -> dict[str, BackboneSpec]:
    """The named backbones of a spec, as they were declared; all where none is named.

    Raises:
        TorsoError: All that is wrong with the file or the names, at once.
    """
    backbones = read_spec(path).backbones
    raise_all([_unknown(name, backbones, path) for name in dict.fromkeys(names) if name not in backbones])
    return {name: backbones[name] for name in dict.fromkeys(names or backbones)}


def _unknown(name: str, backbones: Iterable[str], path: str) -> TorsoError:
    names = list(backbones)
    notes = [*did_you_mean(name, names), known(names)]
    return UnknownNameError(f"no backbone is called {name!r}", place=Place(file=path, path="$.backbones"), notes=notes)
