"""``torso build``."""

import warnings
from pathlib import Path
from typing import Any

import click

from torso.api import build
from torso.artifact.lock import read_lock
from torso.artifact.manifest_file import MODEL, is_saved_backbone, read_manifest_json
from torso.backbone import Backbone
from torso.cli.progress import done, say, start_tensorflow, step, steps_of
from torso.cli.result import PARTIAL, Result, errors_of
from torso.cli.shared_options import Names, Session, command as torso_command
from torso.cli.spec_argument import plans_of, spec_and_names
from torso.cli.text import in_bold
from torso.errors import TorsoError, collect, raise_all
from torso.files.atomic import refuse_existing
from torso.files.disk_errors import require_writable
from torso.planning import Plan
from torso.tables import row_of, table_of_backbones


@torso_command("build", example="torso build backbones.yaml edge -o backbones", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@spec_and_names
@click.option("-o", "--output", required=True, type=click.Path(), metavar="DIR", help="Save each backbone to DIR/NAME.")
@click.option("--force", is_flag=True, help="Replace backbones saved there before.")
@click.option("--locked", is_flag=True, help="Refuse to build anything that differs from the SPEC's lock file.")
@click.option("--strict", is_flag=True, help="As --locked, and refuse other versions of Keras, torso and plugins, too.")
def command(session: Session, spec: str, name: Names, output: str, force: bool, locked: bool, strict: bool) -> Result:
    """Build, truncate, freeze and save backbones.

    Builds every backbone of the SPEC, or only those named. Nothing is built if the SPEC has an error. If one backbone fails
    later, the others are still built. A backbone is saved whole or not at all. In the table at the end, kept, trains and
    dropped count parameters; what is kept and does not train is frozen.
    """
    registry = session.registry()
    plans = plans_of(spec, name, registry)
    lock = read_lock(spec, plans.values(), strict=strict, warn=say) if locked or strict else None
    errors: list[TorsoError] = []
    # What could not be saved is refused now, not after minutes of building.
    for place in (Path(output, name) for name in plans):
        collect(errors, refuse_existing, place, force=force, ours=is_saved_backbone)
        require_writable(place)
    raise_all(errors)
    built: list[dict[str, Any]] = []  # Any: JSON; the model of one is freed before the next is built
    start_tensorflow()
    for plan in plans.values():
        for warning in plan.warnings:
            say(f"{plan.name}: warning: {warning}")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda text, *_, name=plan.name, **__: say(f"{name}: warning: {text}")
                backbone = build(plan, registry, lock=lock, progress=steps_of(plan.name))
                built.append(_save(backbone, Path(output, plan.name), force=force))
            if lock is None:  # which has the hash
                _say_if_trusted(plan, backbone)
        except Exception as error:  # noqa: BLE001  # the other backbones are still built
            errors += errors_of(error)
            say(f"{plan.name}: failed")
    text = in_bold(table_of_backbones(built)) if built else ""
    return Result(document={"built": built}, text=text, errors=errors, code=PARTIAL if built and errors else None)


def _save(backbone: Backbone, place: Path, *, force: bool) -> dict[str, Any]:
    """Save a backbone and describe it."""
    step(f"{backbone.name}: saving")
    backbone.save(place, force=force)
    done(f"{backbone.name}: saved in {place}")
    if custom := read_manifest_json(place).get("custom_objects"):
        modules = {one["module"] or f"a module that registers {one['name']}" for one in custom}
        say(f"{backbone.name}: before plain Keras can load it, import {', '.join(sorted(modules))}")
    return {**row_of(backbone.manifest), "folder": str(place), "size": (place / MODEL).stat().st_size}


def _say_if_trusted(plan: Plan, backbone: Backbone) -> None:
    """Say how the user's own weights file can be checked from now on."""
    source, file = plan.weights.source, backbone.record.weights_file
    chosen = source and file and plan.weights.label == source.value.name and "sha256" in source.value.hashes
    if source and file and chosen and not source.value.expected_hashes(plan.weights.request):
        say(f"{plan.name}: {file.path} was taken on trust; to have it checked from now on, add to weights in the spec:")
        say(f"sha256: {file.hashed().sha256 or 'unknown, for the file was changed or replaced after it was read'}")
