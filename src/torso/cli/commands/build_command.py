"""``torso build``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from torso.artifact.manifest import MODEL, is_saved_backbone
from torso.backbone import Backbone, build, lock_on
from torso.cli.completion import backbone_names
from torso.cli.progress import Progress, start_tensorflow
from torso.cli.result import Outcome, errors_of
from torso.cli.shared_options import Session, verb
from torso.cli.spec_argument import plans_of
from torso.cli.text import page_of, short, size_of, table, times
from torso.errors import TorsoError, raise_all
from torso.files.atomic import refuse_existing
from torso.files.disk_errors import require_writable
from torso.files.download import progress_to


@dataclass(frozen=True, kw_only=True)
class _Built:
    """What is told of a backbone on disk, while its model is let go."""

    name: str
    folder: Path
    size: int
    features: list[dict[str, Any]]  # Any: JSON
    frozen: int
    trainable: int
    dropped: dict[str, int]


@verb("build", example="torso build backbones.yaml edge -o backbones", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@click.argument("spec", type=click.Path())
@click.argument("name", nargs=-1, shell_complete=backbone_names)
@click.option(
    "-o", "--output", required=True, type=click.Path(), metavar="DIR", help="Folder for the backbones, each in its own."
)
@click.option("--force", is_flag=True, help="Replace backbones that were built there before.")
@click.option("--locked", is_flag=True, help="Refuse what the lock beside the SPEC does not name (torso lock).")
def command(session: Session, spec: str, name: tuple[str, ...], output: str, force: bool, locked: bool) -> Outcome:
    """Build the backbones of a SPEC: resolve, build, cut, freeze, and save to DIR/NAME.

    Without NAME, all of them are built. Everything is checked first, and nothing is built if anything is wrong. Where
    one backbone fails later, the others are built all the same. A folder appears whole or not at all; until then, what
    stood there before stays. The table at the end counts parameters: those that are frozen, those that train, and those
    dropped by the cut.
    """
    registry = session.registry()
    plans = plans_of(spec, name, registry)
    lock = lock_on(spec, plans.values()) if locked else None
    _check_places([Path(output, name) for name in plans], force=force)
    built: list[_Built] = []
    errors: list[TorsoError] = []
    with Progress() as progress, progress_to(progress.step):
        start_tensorflow(progress)
        for plan in plans.values():
            for warning in plan.warnings:
                progress.say(f"{plan.name}: warning: {warning}")
            try:
                backbone = build(plan, registry, lock=lock, progress=progress.steps_of(plan.name))
                built.append(_save(backbone, Path(output, plan.name), force=force, progress=progress))
            except (Exception, SystemExit) as error:  # noqa: BLE001  # one backbone's failure is not the others'
                errors += errors_of(error)
                progress.say(f"{plan.name}: failed")
    return Outcome(
        document={"built": [{**vars(one), "folder": str(one.folder)} for one in built]},
        text=_text(built, session.out) if built else "",
        errors=tuple(errors),
        partly=bool(built),
    )


def _check_places(places: Sequence[Path], *, force: bool) -> None:
    """Refuse before anything is built what would be refused when it is saved."""
    errors: list[TorsoError] = []
    for place in places:
        try:
            refuse_existing(place, force=force, ours=is_saved_backbone)
        except TorsoError as error:
            errors.append(error)
    if places and not errors:
        require_writable(places[0])
    raise_all(errors)


def _save(backbone: Backbone, place: Path, *, force: bool, progress: Progress) -> _Built:
    progress.step(f"{backbone.name}: saving")
    backbone.save(place, force=force)
    progress.say(f"{backbone.name}: saved in {place}")
    frozen = backbone.manifest["frozen"]
    return _Built(
        name=backbone.name,
        folder=place,
        size=(place / MODEL).stat().st_size,
        features=backbone.manifest["features"],
        frozen=frozen["frozen"],
        trainable=frozen["trainable"],
        dropped=backbone.manifest["dropped"],
    )


def _text(built: Iterable[_Built], out: TextIO) -> str:
    """A table; ``kept``, ``frozen`` and ``dropped`` count parameters."""
    titles = {
        "name": "<",
        "ends at": "<",
        "stride": ">",
        "shape": ">",
        "kept": ">",
        "frozen": ">",
        "dropped": ">",
        "size": ">",
    }
    return table(titles, map(_row, built), out, page=page_of(out))


def _row(one: _Built) -> tuple[str, ...]:
    def joined(words: Iterable[object]) -> str:
        return ", ".join(map(str, words))

    return (
        one.name,
        joined(feature["node"] for feature in one.features),
        joined(feature["stride"] or "-" for feature in one.features),
        joined(times(feature["shape"]) for feature in one.features),
        short(one.frozen + one.trainable),
        short(one.frozen),
        short(one.dropped["parameters"]),
        size_of(one.size),
    )
