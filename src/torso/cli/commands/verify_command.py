"""``torso verify``."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from torso.artifact.manifest_file import backbones_in
from torso.artifact.verify import Verification, verify
from torso.cli.progress import start_tensorflow, step
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import section, table
from torso.errors import IntegrityError, TorsoError, collect
from torso.files.folder import is_address


@torso_command("verify", example="torso verify backbones/edge backbones/pyramid", codes=(0, 2, 4, 5, 6, 7, 130, 143))
@click.argument("folder", nargs=-1, required=True, type=click.Path(), metavar="DIR...")
def command(session: Session, folder: tuple[str, ...]) -> Result:
    """Check saved backbones against their manifests; report every difference.

    DIR is a saved backbone, or a folder of them as torso build writes; or what torso extract wrote, in a folder or at an
    address, of which every byte is read. First the files are compared with their hashes. A file with a wrong hash is not
    opened. Then torso loads the model. It compares the graph, the variables, what is frozen, the preprocessing, and the
    features of fixed test images. No internet is needed, and plugins only for their own layers.
    """
    found: list[Verification] = []
    errors: list[TorsoError] = []
    registry = session.registry()
    start_tensorflow()
    places: list[str | Path] = []
    for one in folder:
        places += [one] if is_address(one) else backbones_in(Path(one))
    for place in places:
        step(f"verifying {place}")
        act: Callable[[str | Path], Verification] = partial(verify, registry=registry)
        if is_address(place) or Path(place, "extraction.json").exists():
            from torso.extraction.extract import verify_features as act
        if (verification := collect(errors, act, place)) is not None:
            found.append(verification)
            notes = [(check.name, check.words) for check in verification.checks if not check.holds]
            if notes:
                errors.append(IntegrityError(f"{str(place)!r} does not match its manifest", notes=notes))
    document = {"verified": list(map(_as_json, found))}
    return Result(document=document, text="\n\n".join(map(_text, found)), errors=tuple(errors))


def _as_json(one: Verification) -> dict[str, Any]:  # Any: JSON
    checks = []
    for check in one.checks:
        differences = [dict(zip(("fact", "told", "found"), each, strict=True)) for each in check.differences]
        checks.append({**asdict(check), "differences": differences})
    return {"folder": str(one.folder), "name": one.name, "holds": one.holds, "checks": checks}


def _text(one: Verification) -> str:
    title = f"{one.folder}: {'matches' if one.holds else 'does not match'} its manifest"
    rows = [(check.name, "ok" if check.holds else "NO", check.words) for check in one.checks]
    return section(title, table(("check", "", "found"), rows))
