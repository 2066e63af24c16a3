"""``torso plan``."""

from __future__ import annotations

from typing import TextIO

import click

from torso.cli.completion import backbone_names
from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.spec_argument import plans_of
from torso.cli.text import bold, facts
from torso.planning import Plan, summary


@verb("plan", example="torso plan backbones.yaml edge", codes=(0, 2, 4, 7))
@click.argument("spec", type=click.Path())
@click.argument("name", nargs=-1, shell_complete=backbone_names)
def command(session: Session, spec: str, name: tuple[str, ...]) -> Outcome:
    """Show what would be built of a SPEC: every name resolved, every choice checked.

    Neither TensorFlow nor the network is used. Without NAME, all backbones of the spec are planned.
    """
    plans = plans_of(spec, name, session.registry()).values()
    return Outcome(
        document={"plans": [plan.report() for plan in plans]},
        text="\n\n".join(_text(plan, session.out) for plan in plans),
    )


def _text(plan: Plan, out: TextIO) -> str:
    said = dict(summary(plan))
    arguments = {"input_shape": (*plan.input_shape[:2], plan.source_channels), **plan.arguments}
    pairs = [
        ("architecture", said.pop("architecture")),
        ("builder", plan.architecture.value.builder),
        ("", ", ".join(f"{name}={value!r}" for name, value in arguments.items())),
        *said.items(),
        *(("warning", text) for text in plan.warnings),
    ]
    return f"{bold(plan.name, out)}\n" + facts(pairs, out, indent="  ")
