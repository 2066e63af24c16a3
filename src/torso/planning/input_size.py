"""Which size of images a backbone is planned for: what the user says, held against the card and against reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from torso.contracts.architecture import Architecture, InputRules
from torso.errors import OptionError
from torso.specs.backbone_spec import InputSpec, Size

MOST_VALUES: Final = 2**30
"""That one image may have, 4 GiB of float32: twice as many are more than an index of 32 bits counts."""


def checked_size(architecture: Architecture, given: InputSpec, channels: int) -> Size:
    """The size that the user says, or else the card's own, for images of so many channels.

    Raises:
        OptionError: The architecture cannot take images of that size, or nobody could hold them.
    """
    rules, place = architecture.input, given.places.get("size", given.place)
    size = given.size or rules.default
    legal = legal_sizes(rules)
    if size[0] is None:
        if rules.any_size and not rules.fixed:
            _refuse_absurd((rules.minimum, rules.minimum), channels, given)
            return size
        fix = f"write a size, as [{rules.default[0]}, {rules.default[1]}]"
        fact = f"{architecture.name} cannot be built for images of any size"
        raise OptionError(fact, place=place, notes=[("known", legal), ("fix", fix)])
    if not (size == rules.default if rules.fixed else _keeps(rules, size)):
        fact = f"{architecture.name} cannot take images of {in_words(size)}"
        raise OptionError(fact, place=place, notes=[("known", legal)])
    _refuse_absurd(size, channels, given)
    return size


def warnings_for(rules: InputRules, size: Size) -> Iterator[str]:
    """What to know of a network for any size: where it is not the one that would be built for one."""
    if size[0] is None and rules.any_size_divisor > 1:
        yield (
            f"images whose sides are not multiples of {rules.any_size_divisor} pixels get other features than from a "
            "network that is built for their size: it pads otherwise"
        )


def legal_sizes(rules: InputRules) -> str:
    """Which sides an architecture takes: ``32 pixels or more``."""
    if rules.fixed:
        return f"{in_words(rules.default)} only"
    least = f"{rules.minimum} pixel{'s' if rules.minimum > 1 else ''} or more"
    return f"{least}, multiples of {rules.divisor} pixels" if rules.divisor > 1 else least


def in_words(size: Sequence[int | None]) -> str:
    """``224×224 pixels``, or ``any size``."""
    return "any size" if None in size else f"{size[0]}×{size[1]} pixels"


def _keeps(rules: InputRules, size: tuple[int, int]) -> bool:
    return min(size) >= rules.minimum and not any(side % rules.divisor for side in size)


def _refuse_absurd(size: tuple[int, int], channels: int, given: InputSpec) -> None:
    values = size[0] * size[1] * channels
    if values > MOST_VALUES:
        place = given.places.get("size") or given.places.get("channels") or given.place
        raise OptionError(
            f"one image of {in_words(size)} and {channels} channels would take {4 * values / 2**30:,.1f} GiB of float32",
            place=place,
            notes=[("known", f"{4 * MOST_VALUES // 2**30} GiB at most")],
        )
