"""Which channels of the weights each channel of the images is made of: the rule is asked, and its answer is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sys import float_info
from typing import Final

from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import ChannelAdapter, Mix
from torso.errors import PluginError, TorsoError
from torso.planning.plan import Chosen, Plan
from torso.plugins.validation import FAULTS, described

MOST_GUESSED: Final = 64
"""Below it, all numbers of channels are tried for weights of the user's own, before a rule is said to suit none."""


def mix_for(plan: Plan, have: int) -> Mix:
    """The mix of a plan for weights whose own input has ``have`` channels, in the order of the user's pixels.

    Raises:
        TorsoError: The plan's rule refuses, or its plugin failed.
    """
    if plan.adapt is None:
        raise ValueError(f"{plan.name} has no channel adapter")  # no user can cause it: ask the plan first
    return mix_of(plan.adapt, have, plan.input_shape[2])


def network_mix(plan: Plan, have: int) -> Mix:
    """The same in the order in which the network reads them: what its first kernels are to be made of."""
    return _numbers(plan, have).network_mix(mix_for(plan, have))


def preprocessing_for(plan: Plan, have: int) -> Preprocessing:
    """What the pixels need where the weights' own input has ``have`` channels.

    Numbers for each channel, and an order, are known for the published weights' number of channels only. For another one
    they are left out: channel 0 of the weights is then whatever the file has first.
    """
    return plan.preprocessing if plan.adapt is None else _numbers(plan, have).adapted(mix_for(plan, have))


def _numbers(plan: Plan, have: int) -> Preprocessing:
    card = plan.architecture.value
    known = have == card.input.weights_channels
    return card.preprocessing if known else card.preprocessing.without_channels()


def channels_of(adapt: Chosen[ChannelAdapter]) -> int | None:
    """How many channels the user's options say themselves, or None.

    Raises:
        PluginError: The rule's plugin failed, or answered something else.
    """
    with _blamed(adapt):
        channels = adapt.contribution.value.channels(adapt.options)
    if channels is None or (isinstance(channels, int) and not isinstance(channels, bool) and channels > 0):
        return channels
    raise _unfit(adapt, f"asks for {channels!r} channels")


def mix_of(adapt: Chosen[ChannelAdapter], have: int, want: int) -> Mix:
    """What a rule answers: ``want`` rows of ``have`` numbers.

    Raises:
        TorsoError: The rule refuses.
        PluginError: Its plugin failed, or answered something else.
    """
    with _blamed(adapt):
        rows = tuple(tuple(row) for row in adapt.contribution.value.mix(have, want, adapt.options))
    if len(rows) != want or any(len(row) != have for row in rows):
        sizes = ", ".join(dict.fromkeys(str(len(row)) for row in rows)) or "no"
        raise _unfit(adapt, f"gave {len(rows)} rows of {sizes} numbers, not {want} rows of {have}")
    for number in (number for row in rows for number in row):
        if (
            isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= float_info.max
        ):  # NaN is not
            raise _unfit(adapt, f"gave {number!r} where a finite number is due")
    return tuple(tuple(map(float, row)) for row in rows)


def takes(adapt: Chosen[ChannelAdapter], have: int, want: int) -> bool:
    """Whether a rule has an answer for weights of ``have`` channels."""
    try:
        return bool(mix_of(adapt, have, want))
    except TorsoError:
        return False


@contextmanager
def _blamed(adapt: Chosen[ChannelAdapter]) -> Iterator[None]:
    """Give the rule's own refusals the user's place, and make whatever else it raises its plugin's fault."""
    plugin = adapt.contribution.plugin
    try:
        yield
    except TorsoError as error:
        for part in error.parts():
            part.notes += (("raised by", str(plugin)),) if plugin.origin != "built-in" else ()
            part.at(adapt.place)
        raise
    except FAULTS as error:
        raise _unfit(adapt, f"failed: {described(error)}") from error


def _unfit(adapt: Chosen[ChannelAdapter], did: str) -> PluginError:
    name, plugin = adapt.contribution.qualified, adapt.contribution.plugin
    return PluginError(f"channel adapter {name!r} {did}", place=adapt.place, notes=[("plugin", str(plugin))])
