"""Which channels of the weights each channel of the images is made of: ask the rule, and check its answer."""

from __future__ import annotations

from sys import float_info
from typing import Final

from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import ChannelAdapter, Mix
from torso.errors import PluginError, TorsoError
from torso.planning.plan import Chosen, Plan
from torso.plugins.calling import plugin_errors

# All channel counts below it are tried for the user's own weights, before a rule is refused for fitting none.
MOST_GUESSED: Final = 64


def network_mix(plan: Plan, have: int) -> Mix:
    """The adapter's mix for weights of ``have`` input channels, in the order in which the network reads the channels."""
    assert plan.adapt is not None
    return _numbers(plan, have).network_mix(mix_of(plan.adapt, have, plan.input_shape[2]))


def preprocessing_for(plan: Plan, have: int) -> Preprocessing:
    """What the pixels need for weights of ``have`` input channels."""
    if plan.adapt is None:
        return plan.preprocessing
    return _numbers(plan, have).adapted(mix_of(plan.adapt, have, plan.input_shape[2]))


def _numbers(plan: Plan, have: int) -> Preprocessing:
    # Numbers for each channel, and their order, are known for the published weights' number of channels only.
    architecture = plan.architecture.value
    known = have == architecture.input.weights_channels
    return architecture.preprocessing if known else architecture.preprocessing.without_channels()


def channels_of(adapt: Chosen[ChannelAdapter]) -> int | None:
    """The number of channels that the user's options imply, or None."""
    with plugin_errors(adapt.contribution.plugin, _named(adapt), adapt.place):
        channels = adapt.contribution.value.channels(adapt.options)
    if channels is not None and (not isinstance(channels, int) or isinstance(channels, bool) or channels < 1):
        raise _wrong(adapt, f"asks for {channels!r} channels")
    return channels


def mix_of(adapt: Chosen[ChannelAdapter], have: int, want: int) -> Mix:
    """What a rule returns: ``want`` rows of ``have`` numbers."""
    with plugin_errors(adapt.contribution.plugin, _named(adapt), adapt.place):
        rows = tuple(tuple(row) for row in adapt.contribution.value.mix(have, want, adapt.options))
    if len(rows) != want or any(len(row) != have for row in rows):
        sizes = ", ".join(dict.fromkeys(str(len(row)) for row in rows)) or "no"
        raise _wrong(adapt, f"gave {len(rows)} rows of {sizes} numbers, not {want} rows of {have}")
    for number in (number for row in rows for number in row):
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not is_number or not abs(number) <= float_info.max:  # which NaN is not, either
            raise _wrong(adapt, f"gave {number!r} where a finite number is needed")
    return tuple(tuple(map(float, row)) for row in rows)


def takes(adapt: Chosen[ChannelAdapter], have: int, want: int) -> bool:
    """Whether a rule has an answer for weights of ``have`` channels."""
    try:
        return bool(mix_of(adapt, have, want))
    except TorsoError:
        return False


def _named(adapt: Chosen[ChannelAdapter]) -> str:
    return f"channel adapter {adapt.contribution.qualified!r}"


def _wrong(adapt: Chosen[ChannelAdapter], did: str) -> PluginError:
    notes = [("plugin", str(adapt.contribution.plugin))]
    return PluginError(f"{_named(adapt)} {did}", place=adapt.place, notes=notes)
