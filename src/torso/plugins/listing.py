"""Which architectures a search leaves, and in which order."""

from collections.abc import Iterable
from math import inf
from typing import Any, Final
from warnings import warn

from torso.contracts.architecture import Architecture
from torso.errors import OptionError, UnknownNameError, did_you_mean, known
from torso.plugins.registry import Catalogue, Contribution

SORTS: Final = ("name", "parameters", "macs", "top1")


def select(
    catalogue: Catalogue[Architecture],
    patterns: Iterable[str] = ("*",),
    *,
    exclude: Iterable[str] = (),
    limits: Iterable[tuple[str, float | None, float | None]] = (),
    sort: str = "name",
    **words: str | None,
) -> list[Contribution[Architecture]]:
    """The architectures of some names and words, within limits; what is unknown is within none, and a warning names it.

    Args:
        catalogue: All architectures.
        patterns: As :meth:`Catalogue.search` takes them.
        exclude: Patterns of those to leave out.
        limits: Attributes with the least and the most; None for no limit.
        sort: One of ``SORTS``; the best accuracy comes first, and what is unknown comes last.
        words: The ``provider``, ``family``, ``weights`` (a tag) or ``licence`` (of the weights); letter case does not count.
    """
    if sort not in SORTS:
        raise OptionError(f"sort cannot be {sort!r}", notes=[*did_you_mean(sort, SORTS), known(SORTS)])
    without = {one.qualified for one in catalogue.search(*exclude)}
    found = [one for one in catalogue.search(*patterns) if one.qualified not in without]
    for key, wanted in words.items():
        found = found if wanted is None else _with(found, key, wanted)
    for key, least, most in limits:
        if least is None and most is None:
            continue
        values = {one.qualified: getattr(one.value, key) for one in found}
        if unknown := [name for name, value in values.items() if value is None]:
            warn(f"left out, as their {key} are unknown: {', '.join(unknown)}", stacklevel=3)
        least, most = least or 0, inf if most is None else most
        found = [one for one in found if (value := values[one.qualified]) is not None and least <= value <= most]
    return found if sort == "name" else sorted(found, key=lambda one: _rank(one.value, sort))


def _rank(architecture: Architecture, sort: str) -> float:
    if sort == "top1":
        return min((-(weights.top1 or 0) for weights in architecture.weights[:1]), default=0)
    value = getattr(architecture, sort)
    return inf if value is None else float(value)


def _words(one: Contribution[Architecture], key: str) -> Iterable[str]:
    words: dict[str, Any] = {
        "provider": (one.plugin.name,),
        "family": (one.value.family,),
        "weights": one.value.tags,
        "licence": filter(None, (one.value.license.weights,)),
    }
    return tuple(words[key])


def _with(found: list[Contribution[Architecture]], key: str, wanted: str) -> list[Contribution[Architecture]]:
    kept = [one for one in found if wanted.casefold() in map(str.casefold, _words(one, key))]
    if not kept:
        everything = sorted({word for one in found for word in _words(one, key)}, key=str.casefold)
        notes = [*did_you_mean(wanted, everything), known(everything, most=30)]
        raise UnknownNameError(f"no architecture here has the {key} {wanted!r}", notes=notes)
    return kept
