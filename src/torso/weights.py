"""Where values come from: published files, and the contract of the sources that bring them here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torso.spec.options import Option, Options, Value


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
            or raises a :class:`torso.TorsoError`.
        check: Does the same without network, for the plan: raises what can be known to be wrong already.
    """

    name: str
    doc: str
    options: tuple[Option, ...]
    fetch: Callable[[Options], Path]
    check: Callable[[Options], None] = lambda options: None


@dataclass(frozen=True, kw_only=True)
class ChannelAdapter:
    """A rule that turns weights for some number of input channels into weights for another.

    Attributes:
        name: The value under ``input: {adapt: …}``.
        doc: One sentence for ``torso schema`` and the reference.
        adapt: Takes an array whose second to last axis is the input channel, and the number of channels wanted; returns
            the array for those. (``Any``: a numpy array; numpy is not imported before one is read.)
    """

    name: str
    doc: str
    adapt: Callable[[Any, int], Any]
