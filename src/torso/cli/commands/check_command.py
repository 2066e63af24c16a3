"""``torso check``."""

from __future__ import annotations

from typing import Any

import click

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of
from torso.cli.text import plural
from torso.errors import TorsoError, collect


@torso_command("check", example="torso check backbones.yaml", codes=(0, 2, 4, 7))
@click.argument("spec", nargs=-1, required=True, type=click.Path())
def command(session: Session, spec: tuple[str, ...]) -> Result:
    """Check specs and report every error at once.

    Nothing is built or downloaded. Local weights files are compared with the hashes in the SPEC. If there are
    several errors, the exit code is the highest one.
    """
    registry = session.registry()
    lines: list[str] = []
    files: list[dict[str, Any]] = []  # Any: JSON
    errors: list[TorsoError] = []
    for path in spec:
        if (plans := collect(errors, plans_of, path, (), registry)) is None:
            files.append({"file": path, "ok": False})
            continue
        files.append({"file": path, "ok": True, "backbones": list(plans)})
        lines.append(f"{path}: ok, {plural(len(plans), 'backbone')}")
        lines += [f"  warning: {name}: {text}" for name, plan in plans.items() for text in plan.warnings]
    return Result(document={"files": files}, text="\n".join(lines), errors=tuple(errors))
