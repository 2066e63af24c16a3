"""Where values come from: published files, and the contract of the sources that bring them here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torso.specs.options import Option, Options, Value


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One file of published weights: which source brings it, from where, and what must be true of it.

    Attributes:
        source: Name of the weight source: ``url`` for a download, ``resource`` for a file inside a package.
        address: What that source is asked for: ``https://…``, or ``package:path/inside``.
        sha256: Hash in hex, or None where the publisher gives none.
        md5: The hash that some publishers give instead.
        when: Options that this file was trained with, and ``size`` for its height and width; an option that is absent
            does not matter.
        cached_as: Name of the file in Keras' cache, where that is not the last part of the address.
    """

    source: str
    address: str
    sha256: str | None = None
    md5: str | None = None
    when: Mapping[str, Value] = field(default_factory=dict)
    cached_as: str | None = None

    @property
    def file_name(self) -> str:
        """What the file is called on a disk."""
        return self.cached_as or self.address.replace(":", "/").rsplit("/", 1)[-1]

    @property
    def request(self) -> dict[str, Value]:
        """The options that the source is asked with."""
        return {self.source: self.address, "sha256": self.sha256, "md5": self.md5, "cached_as": self.cached_as}


@dataclass(frozen=True, kw_only=True)
class WeightSource:
    """A way to get a weights file.

    Attributes:
        name: The key under ``weights:`` that asks for it: ``file`` in ``weights: {file: PATH, sha256: HEX}``. It is an
            option of its own, and the other options stand beside it.
        doc: One sentence for ``torso schema`` and the reference.
        options: What the user can set, ``name`` among them.
        fetch: Takes the checked options; returns the path of a local file, whose hash it has verified where one is known,
            or raises a :class:`torso.TorsoError`. It is called once for each backbone, in several processes at once too:
            the file is whole when it stands at that path, and stays what it is. ``torso fetch`` copies it; ``sha256`` and
            ``md5`` among the options are then held against the copy.
        check: Does the same without network, for the plan: raises what can be known to be wrong already, and what is
            missing where ``TORSO_OFFLINE`` is set. It is quick.
    """

    name: str
    doc: str
    options: tuple[Option, ...]
    fetch: Callable[[Options], Path]
    check: Callable[[Options], None] = lambda options: None


Mix = tuple[tuple[float, ...], ...]
"""For each channel of the new images, how much of each channel of the weights it is: a row of numbers each."""


@dataclass(frozen=True, kw_only=True)
class ChannelAdapter:
    """A rule that turns weights for some number of input channels into weights for another.

    The rule only says which channels are made of which; torso computes. Channel ``c`` of the new images is read with the
    kernels ``sum(row[c][i] * kernel[i])`` over the channels ``i`` of the weights, and its mean, variance and scale are the
    mean of theirs, weighted by the size of the row's numbers; mean 0, variance and scale 1 for a row of zeros.

    Attributes:
        name: The value under ``input: {adapt: …}``; ``provider/name`` where it must be told from another's.
        doc: One sentence for ``torso schema`` and the reference.
        mix: Takes the number of channels that the weights have, the number wanted and the checked options; returns as many
            rows as are wanted, of one number for each channel that the weights have. Both count in the order of the
            pixels that a user has: R, G, B, also where the network reads them as B, G, R. It raises a
            :class:`torso.OptionError` to refuse.
        options: What the user can set.
        main: The option that a bare value stands for: ``{map: [R, G]}`` for ``{map: {sources: [R, G]}}``. None where there
            is none.
        channels: Takes the checked options; returns how many channels they are for where they say that themselves, and
            None otherwise. It counts where ``channels`` is not written.
    """

    name: str
    doc: str
    mix: Callable[[int, int, Options], Sequence[Sequence[float]]]
    options: tuple[Option, ...] = ()
    main: str | None = None
    channels: Callable[[Options], int | None] = lambda options: None
