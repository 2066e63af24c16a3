"""``torso check``."""

from __future__ import annotations

import click

from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.spec_argument import plans_of
from torso.cli.text import counted
from torso.errors import TorsoError


@verb("check", example="torso check backbones.yaml", codes=(0, 2, 4, 7))
@click.argument("spec", nargs=-1, required=True, type=click.Path())
def command(session: Session, spec: tuple[str, ...]) -> Outcome:
    """Check each SPEC, and report every error of every file.

    Nothing is built and nothing is downloaded; weights files on this machine are compared with the hashes that the spec
    gives. The exit code is that of the gravest error.
    """
    registry = session.registry()
    lines: list[str] = []
    files: list[dict[str, object]] = []
    errors: list[TorsoError] = []
    for path in spec:
        try:
            plans = plans_of(path, (), registry)
        except TorsoError as error:
            errors += error.parts()
            files.append({"file": path, "ok": False})
        else:
            files.append({"file": path, "ok": True, "backbones": list(plans)})
            lines.append(f"{path}: ok, {counted(len(plans), 'backbone')}")
            lines += [f"  warning: {name}: {text}" for name, plan in plans.items() for text in plan.warnings]
    return Outcome(document={"files": files}, text="\n".join(lines), errors=tuple(errors))
