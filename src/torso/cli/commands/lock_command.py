"""``torso lock``."""

import click

from torso.api import build
from torso.artifact.differences import differences, short_value
from torso.artifact.lock import Lock, lock_path, require_fresh
from torso.cli.progress import say, start_tensorflow, steps_of
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of, spec_and_names
from torso.files.atomic import staged_file


@torso_command("lock", example="torso lock backbones.yaml", codes=(0, 2, 4, 5, 6, 7, 130, 143))
@spec_and_names
@click.option("--force", is_flag=True, help="Replace the file even if it is not a lock file, or was edited.")
@click.option("--check", is_flag=True, help="Build nothing; fail if the lock file is stale.")
def command(session: Session, spec: str, name: tuple[str, ...], force: bool, check: bool) -> Result:
    """Write a lock file for reproducible builds.

    Builds every backbone of the SPEC, or only those named, and records it beside the SPEC, as in backbones.lock.json:
    options, versions, weight hashes, graph, features and what is frozen. If a NAME is given, the file's other entries
    stay. Commit the file with the SPEC. Then torso build --locked refuses to build anything else.
    """
    place = lock_path(spec)
    registry = session.registry()
    plans = plans_of(spec, name, registry)
    if check:
        require_fresh(spec, plans, say, whole=not name)
        return Result(document={"lock": str(place), "stale": False}, text=f"{place}: up to date")
    before = Lock.read(place).entries if place.exists() and not force else {}
    start_tensorflow()
    records = [build(plan, registry, progress=steps_of(plan.name)).record for plan in plans.values()]
    for record in records:
        if record.weights_file is None:
            say(f"{record.name}: warning: its weights are random, so they are not locked")
    now = Lock.of(place, records).entries
    after = {**before, **now} if name else now
    with staged_file(place, force=True) as stage:
        stage.write_text(Lock(place, after).text(), encoding="utf-8")
    gone = [one for one in before if one not in after]
    lines, locked = [str(place)], {}
    for one, entry in now.items():
        found = differences(before[one], entry) if one in before else ()
        lines.append(f"{one}: {'locked' if one not in before else 'changed' if found else 'unchanged'}")
        lines += [f"  {fact}: {short_value(old)}, now {short_value(new)}" for fact, old, new in found]
        changed = [dict(zip(("fact", "before", "now"), each, strict=True)) for each in found]
        locked[one] = {"new": one not in before, "changed": changed}
    lines += [f"{one}: removed, it is not in the spec any more" for one in gone]
    return Result(document={"lock": str(place), "locked": locked, "gone": gone}, text="\n".join(lines))
