"""The contract of engines: where the shards of an extraction are computed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torso.specs.options import Checked

Done = Any  # what the work returns for a shard


@dataclass(frozen=True, kw_only=True)
class Engine(Checked):
    """A way to compute the shards of an extraction.

    Attributes:
        name: The value of ``torso extract --engine``.
        doc: One sentence that helps to choose.
        run: ``run(work, shards, workers)`` calls ``work(shard)`` for each number, anywhere, in any order and as often as it
            likes: the file of a shard has the same bytes each time. It yields what the calls return, one for each shard.
            ``work`` can be pickled; a copy opens the backbone when it is first called, with as many threads as
            ``work.threads`` says. ``workers`` is how many work at a time, or None.
    """

    name: str
    doc: str
    run: Callable[[Callable[[int], Done], Sequence[int], int | None], Iterable[Done]]
