"""The check of channel adapters: an answer of the right form for the numbers of channels that people have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torso.contracts.weights import ChannelAdapter
from torso.errors import TorsoError
from torso.planning import Chosen
from torso.planning.channel_mix import channels_of, mix_of
from torso.plugins.registry import Registry
from torso.specs.options import read_options
from torso.specs.yaml_nodes import from_python


def check_channel_adapter(
    adapter: str,
    *,
    registry: Registry | None = None,
    options: Mapping[str, Any] | None = None,  # as in a spec
    have: int = 3,
    channels: Iterable[int] = (1, 2, 4, 13),
) -> None:
    """Check what a rule answers, and report all that is wrong with it at once.

    Args:
        adapter: Its name, ``provider/name``.
        registry: Where it is offered; all that is installed otherwise.
        options: What is set.
        have: Number of channels of the weights.
        channels: The numbers of channels to ask it for, where the options do not say one themselves.

    Raises:
        AssertionError: It refuses or fails, its answer has another form, is not the same each time, or reads nothing of an
            image; a line each.
    """
    contribution = (registry or Registry.load()).channel_adapters.resolve(adapter)
    value = contribution.value
    read = read_options(
        f"channel adapter {adapter!r}", value.options, from_python(dict(options or {})), positional=value.positional
    )
    chosen: Chosen[ChannelAdapter] = Chosen(contribution=contribution, options=read)
    own = channels_of(chosen)
    failed = []
    for want in channels if own is None else (own,):
        try:
            mix = mix_of(chosen, have, want)
            again = mix_of(chosen, have, want)
        except TorsoError as error:
            failed.append(f"for {want} channels: {error}")
            continue
        if mix != again:
            failed.append(f"for {want} channels: it answers {mix}, and then {again}")
        if not any(map(any, mix)):
            failed.append(f"for {want} channels: it reads nothing of an image")
    if failed:
        raise AssertionError("\n".join(failed))
