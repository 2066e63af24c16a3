"""Published weights files, and the contracts of weight sources and channel adapters."""

from __future__ import annotations  # an error about a field has its type as it is written here

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torso.contracts.renamed import with_old_keywords
from torso.specs.options import Checked, Option, Options, Value


@dataclass(frozen=True, kw_only=True)
class WeightsFile(Checked):
    """One file of published weights.

    Attributes:
        source: Name of the weight source: ``url`` for a download, ``resource`` for a file inside a package.
        address: Where that source finds it: ``https://…``, or ``package:path/inside``.
        sha256: Hash in hex, or None where the publisher gives none.
        md5: The hash that some publishers give instead.
        when: Options that this file was trained with, as far as they matter, and ``size`` for its height and width.
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
        """Name of the file on disk."""
        return self.cached_as or self.address.replace(":", "/").rsplit("/", 1)[-1]

    @property
    def request(self) -> dict[str, Value]:
        """The options for the source."""
        return {self.source: self.address, "sha256": self.sha256, "md5": self.md5, "cached_as": self.cached_as}


@dataclass(frozen=True, kw_only=True)
class WeightSource(Checked):
    """A way to get a weights file.

    Attributes:
        name: The key under ``weights:``, and the option with the address: ``file`` in ``{file: PATH, sha256: HEX}``.
        doc: One sentence for ``torso schema`` and the reference.
        options: What the user can set, ``name`` among them.
        fetch: Takes the checked options; returns the path of a local file that is complete, does not change, and has the
            hash where one is given. Called once for each backbone, also in several processes at once.
        check: Called while planning, without an internet connection, and quick: raises what is wrong already, and what is
            missing where ``TORSO_OFFLINE`` is set.
        hashes: Those of the options that are hashes of the file, in hex, each named as in :mod:`hashlib`.
    """

    name: str
    doc: str
    options: tuple[Option, ...]
    fetch: Callable[[Options], Path]
    check: Callable[[Options], object] = lambda options: None
    hashes: tuple[Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b"], ...] = ("sha256", "md5")

    def __post_init__(self) -> None:
        super().__post_init__()
        names = {option.name for option in self.options}
        if self.name not in names:
            raise TypeError(f"weight source {self.name!r} has no option of its name, for the address")
        object.__setattr__(self, "hashes", tuple(name for name in self.hashes if name in names))

    def expected_hashes(self, request: Options) -> dict[str, str]:
        """The hashes that a request gives, in lower case, by algorithm."""
        return {name: str(request[name]).lower() for name in self.hashes if request.get(name) is not None}


# For each channel of the new images, a row of numbers: how much of each channel of the weights it is
Mix = tuple[tuple[float, ...], ...]


@with_old_keywords
@dataclass(frozen=True, kw_only=True)
class ChannelAdapter(Checked):
    """A rule that turns weights for some number of input channels into weights for another.

    Channel ``c`` of the new images gets the kernel ``sum(row[c][i] * kernel[i])`` over the channels ``i`` of the weights.
    Its mean, variance and scale are the average of theirs, weighted by the size of the row's numbers; a row of zeros gives
    mean 0, variance 1 and scale 1.

    Attributes:
        name: The value of ``input: {adapt: …}``.
        doc: One sentence for ``torso schema`` and the reference.
        mix: Takes the number of channels of the weights, the number wanted and the checked options. Returns as many rows as
            are wanted, each with one number for each channel of the weights. Channels count in the order of the user's
            pixels (R, G, B), even if the network reads B, G, R.
        options: What the user can set.
        positional: The option that a bare value sets: ``{map: [R, G]}`` for ``{map: {sources: [R, G]}}``.
        channels: Takes the checked options; returns the number of channels that they imply, or None.
    """

    name: str
    doc: str
    mix: Callable[[int, int, Options], Sequence[Sequence[float]]]
    options: tuple[Option, ...] = ()
    positional: str | None = None
    channels: Callable[[Options], int | None] = lambda options: None
