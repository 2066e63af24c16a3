"""Which channels of the weights each channel of the images is made of: ask the rule, and check its answer."""

from contextlib import AbstractContextManager
from math import isfinite

from torso.contracts.preprocessing import Preprocessing
from torso.contracts.weights import ChannelAdapter, Mix
from torso.planning.plan import Chosen, Plan
from torso.plugins.calling import plugin_errors


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
    with _errors(adapt):
        channels = adapt.contribution.value.channels(adapt.options)
        if channels is not None and (not isinstance(channels, int) or channels < 1):
            raise ValueError(f"it asks for {channels!r} channels")
    return channels


def mix_of(adapt: Chosen[ChannelAdapter], have: int, want: int) -> Mix:
    """What a rule returns: ``want`` rows of ``have`` numbers."""
    with _errors(adapt):
        rows = tuple(tuple(map(float, row)) for row in adapt.contribution.value.mix(have, want, adapt.options))
        if len(rows) != want or any(len(row) != have for row in rows):
            sizes = ", ".join(dict.fromkeys(str(len(row)) for row in rows)) or "no"
            raise ValueError(f"it gave {len(rows)} rows of {sizes} numbers, not {want} rows of {have}")
        if not all(isfinite(number) for row in rows for number in row):
            raise ValueError("it gave a number that is not finite")
    return rows


def _errors(adapt: Chosen[ChannelAdapter]) -> AbstractContextManager[None]:
    return plugin_errors(adapt.contribution.plugin, f"channel adapter {adapt.contribution.qualified!r}", adapt.place)
