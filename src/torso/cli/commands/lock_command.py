"""``torso lock``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from torso.api import build
from torso.artifact.diff import differences, short_value
from torso.artifact.lock import Lock, lock_path
from torso.artifact.manifest import Difference
from torso.cli.progress import say, start_tensorflow, steps_of
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of, spec_and_names
from torso.files.atomic import staged_file


@torso_command("lock", example="torso lock backbones.yaml", codes=(0, 2, 4, 5, 6, 7, 130, 143))
@spec_and_names
@click.option("--force", is_flag=True, help="Replace the file even if it is not a lock file, or was edited.")
def command(session: Session, spec: str, name: tuple[str, ...], force: bool) -> Result:
    """Write a lock file for reproducible builds.

    Builds every backbone of the SPEC, or only each NAME, and records it in SPEC.lock.json: options, versions, weight
    hashes, graph, features and what is frozen. If a NAME is given, the file's other entries stay. Commit the file with the
    SPEC. Then torso build --locked refuses to build anything else.
    """
    place = lock_path(spec)
    registry = session.registry()
    plans = plans_of(spec, name, registry)
    before = Lock.read(place).entries if place.exists() and not force else {}
    for plan in plans.values():
        if plan.weights.source is None:
            say(f"{plan.name}: warning: its weights are random, so they are not locked")
    start_tensorflow()
    records = [build(plan, registry, progress=steps_of(plan.name)).record for plan in plans.values()]
    now = Lock.of(place, records).entries
    after = {**before, **now} if name else now
    with staged_file(place, force=True) as stage:
        stage.write_text(Lock(place, after).text(), encoding="utf-8")
    changes = {one: differences(before[one], entry) if one in before else None for one, entry in now.items()}
    gone = [one for one in before if one not in after]
    keys = ("fact", "before", "now")
    locked = {
        one: {"new": found is None, "changed": [dict(zip(keys, each, strict=True)) for each in found or ()]}
        for one, found in changes.items()
    }
    text = "\n".join([str(place), *_lines(changes, gone)])
    return Result(document={"lock": str(place), "locked": locked, "gone": gone}, text=text)


def _lines(changes: Mapping[str, tuple[Difference, ...] | None], gone: list[str]) -> Iterator[str]:
    for name, found in changes.items():
        yield f"{name}: {'locked' if found is None else 'changed' if found else 'unchanged'}"
        for fact, was, now in found or ():
            yield f"  {fact}: {short_value(was)}, now {short_value(now)}"
    for name in gone:
        yield f"{name}: removed, it is not in the spec any more"
