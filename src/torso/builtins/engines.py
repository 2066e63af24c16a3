"""The engine of torso: one shard after the other, in this process."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torso.contracts.engine import Engine
from torso.contracts.hookspecs import hookimpl
from torso.errors import OptionError


@hookimpl
def torso_engines() -> Iterable[Engine]:
    yield Engine(name="local", doc="One shard after the other in this process, which uses all processors.", run=run)


def run(work: Callable[[int], Any], shards: Sequence[int], workers: int | None) -> Iterable[Any]:
    if workers not in (None, 1):
        fix = "leave workers out; or --engine ray of the plugin torso-ray"
        raise OptionError(f"engine 'local' has one worker, not {workers}, which uses all processors", notes=[("fix", fix)])
    return map(work, shards)
