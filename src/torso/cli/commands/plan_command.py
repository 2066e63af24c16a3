"""``torso plan``."""

from dataclasses import asdict

from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of, spec_and_names
from torso.cli.text import key_values, plural, section, short
from torso.graph import Graph, describe
from torso.planning import Plan, summary
from torso.planning.known_graph import known_graph
from torso.planning.selection import truncated


@torso_command("plan", example="torso plan backbones.yaml edge", codes=(0, 2, 4, 7))
@spec_and_names
def command(session: Session, spec: str, name: tuple[str, ...]) -> Result:
    """Preview a build without TensorFlow.

    Resolves and checks every backbone of the SPEC, or only those named, and shows what torso build would do. The outputs
    and what they cost are known of the built-in architectures. No internet connection is used.
    """
    plans = plans_of(spec, name, session.registry()).values()
    kept = [_kept(plan) for plan in plans]
    known = [part and {"ends": part.ends, "cost": asdict(part.cost())} for part in kept]
    document = {"plans": [{**plan.report(), "kept": each} for plan, each in zip(plans, known, strict=True)]}
    return Result(document=document, text="\n\n".join(map(_text, plans, kept)))


def _text(plan: Plan, kept: Graph | None) -> str:
    described = dict(summary(plan))
    arguments = {"input_shape": (*plan.input_shape[:2], plan.source_channels), **plan.arguments}
    pairs = [
        ("architecture", described.pop("architecture")),
        ("builder", plan.architecture.value.builder_name),
        ("", ", ".join(f"{name}={value!r}" for name, value in arguments.items())),
        *described.items(),
    ]
    if kept:
        cost = kept.cost()
        numbers = f"{plural(cost.nodes, 'node')}, {short(cost.parameters)} parameters, {short(cost.macs) or 'unknown'} MACs"
        pairs += [*(("output", f"{name!r}  ({describe(kept[name])})") for name in kept.ends), ("kept", numbers)]
    pairs += [("warning", text) for text in plan.warnings]
    return section(plan.name, key_values(pairs))


def _kept(plan: Plan) -> Graph | None:
    """What the cut keeps, if that is known before it is drawn, and nothing changes it afterwards."""
    graph = None if plan.adapt or plan.include_preprocessing else known_graph(plan)
    return graph and truncated(plan, graph)
