"""The channel adapters of torso: ``mean``, ``repeat``, ``zero_extra`` and ``map``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from torso.contracts.hookspecs import hookimpl
from torso.contracts.weights import ChannelAdapter
from torso.errors import OptionError, TorsoError, collect, did_you_mean, known, raise_all
from torso.specs.options import Option, Options

Rows = list[list[float]]

_doc = "For each channel: R, G or B, the number of a trained channel from 0, or none for one that is not read."
_SOURCES = Option(name="sources", type=str, many=True, doc=_doc)


@hookimpl
def torso_channel_adapters() -> Iterable[ChannelAdapter]:
    doc = "Every channel gets the mean of the trained kernels, scaled so that a grey image gives the same response."
    yield ChannelAdapter(name="mean", doc=doc, mix=mean)
    doc = "The trained channels in turn: R, G, B, R, …; several copies of one share its kernels."
    yield ChannelAdapter(name="repeat", doc=doc, mix=repeat)
    doc = "The first channels are the trained ones; all others have kernels of zeros."
    yield ChannelAdapter(name="zero_extra", doc=doc, mix=zero_extra)
    doc = "You say which trained channel each channel is: [R, G, B, R]; several copies of one share its kernels."
    yield ChannelAdapter(name="map", doc=doc, options=(_SOURCES,), positional="sources", mix=mapped, channels=in_map)


def mean(have: int, want: int, options: Options) -> Rows:
    return [[1 / want] * have for _ in range(want)]


def repeat(have: int, want: int, options: Options) -> Rows:
    # Where there are fewer channels than trained ones, they are scaled up to stand in for those that are missing.
    return _shared([channel % have for channel in range(want)], have, scale=max(1.0, have / want))


def zero_extra(have: int, want: int, options: Options) -> Rows:
    return _shared([channel if channel < have else None for channel in range(want)], have)


def mapped(have: int, want: int, options: Options) -> Rows:
    sources = cast("tuple[str, ...]", options["sources"])
    if len(sources) != want:
        fix = f"name {want}, or leave out channels: the map says how many there are"
        raise OptionError(f"the map has {len(sources)} channels, and the input {want}", notes=[("fix", fix)])
    errors: list[TorsoError] = []
    chosen = [collect(errors, _index, source, have) for source in sources]
    raise_all(errors)
    if all(source is None for source in chosen):
        raise OptionError("the map names no trained channel, so nothing of an image would be seen")
    return _shared(chosen, have)


def in_map(options: Options) -> int | None:
    return len(cast("tuple[str, ...]", options["sources"])) or None


def _index(source: str, have: int) -> int | None:
    """The number of a trained channel, or None for one that is not read."""
    if source.casefold() == "none":
        return None
    names = {str(number): number for number in range(have)}
    if have == 3:
        names = {"R": 0, "G": 1, "B": 2} | names
    if source.upper() in names:
        return names[source.upper()]
    legal = [*names, "none"]
    notes = [*did_you_mean(source, legal), known(legal)]
    raise OptionError(f"the weights have no channel {source!r}: their input has {have}", notes=notes)


def _shared(sources: Sequence[int | None], have: int, *, scale: float = 1.0) -> Rows:
    """One row for each source, such that the copies of one source add up to it."""
    copies = Counter(sources)
    return [[scale / copies[source] if source == column else 0.0 for column in range(have)] for source in sources]
