"""``torso plan``."""

from __future__ import annotations

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of, spec_and_names
from torso.cli.text import key_values, section
from torso.planning import Plan, summary


@torso_command("plan", example="torso plan backbones.yaml edge", codes=(0, 2, 4, 7))
@spec_and_names
def command(session: Session, spec: str, name: tuple[str, ...]) -> Result:
    """Preview a build without TensorFlow.

    Resolves and checks every backbone of the SPEC, or only those named, and shows what torso build would do. No internet
    connection is used.
    """
    plans = plans_of(spec, name, session.registry()).values()
    return Result(document={"plans": [plan.report() for plan in plans]}, text="\n\n".join(map(_text, plans)))


def _text(plan: Plan) -> str:
    described = dict(summary(plan))
    arguments = {"input_shape": (*plan.input_shape[:2], plan.source_channels), **plan.arguments}
    pairs = [
        ("architecture", described.pop("architecture")),
        ("builder", plan.architecture.value.builder),
        ("", ", ".join(f"{name}={value!r}" for name, value in arguments.items())),
        *described.items(),
        *(("warning", text) for text in plan.warnings),
    ]
    return section(plan.name, key_values(pairs))
