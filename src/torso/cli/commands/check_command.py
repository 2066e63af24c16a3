"""``torso check``."""

from typing import Any

import click

from torso.artifact.lock import require_fresh
from torso.cli.progress import draw_graph, say
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import plural
from torso.errors import TorsoError, collect
from torso.graph import Graph
from torso.planning import Plan, make_plans
from torso.planning.known_graph import known_graph
from torso.specs.spec_file import read_spec


@torso_command("check", example="torso check backbones.yaml", codes=(0, 2, 4, 6, 7))
@click.argument("spec", nargs=-1, required=True, type=click.Path())
@click.option("--fast", is_flag=True, help="Draw no network; then some cuts, freeze policies and builders are not checked.")
@click.option("--locked", is_flag=True, help="Check the SPEC's lock file too, and draw no network.")
def command(session: Session, spec: tuple[str, ...], fast: bool, locked: bool) -> Result:
    """Check specs and report every error at once.

    After ok, torso build refuses nothing that can be known without weights. Nothing is built or downloaded. The networks
    of the built-in architectures are known; others are drawn without values, which takes TensorFlow. Local weights files
    are compared with the hashes in the SPEC. SPEC - is stdin. If there are several errors, the exit code is the highest.
    """
    registry = session.registry()
    drawn: dict[str, Graph | None] = {}

    def graph_of(plan: Plan) -> Graph | None:
        key = repr((plan.architecture.qualified, plan.arguments, plan.input_shape[:2], plan.source_channels))
        if (known := known_graph(plan)) is None and key not in drawn and not (fast or locked):
            drawn[key] = None  # that drawing it fails is reported once
            drawn[key] = draw_graph(plan)
        return known or drawn.get(key)

    lines: list[str] = []
    files: list[dict[str, Any]] = []  # Any: JSON
    errors: list[TorsoError] = []
    for path in spec:
        before = len(errors)
        plans = collect(errors, make_plans, read_spec(path, errors).values(), registry, graph_of) or {}
        if locked and len(errors) == before:
            collect(errors, require_fresh, path, plans, say)
        if len(errors) > before:
            files.append({"file": path, "ok": False})
            continue
        not_drawn = [name for name, plan in plans.items() if known_graph(plan) is None] if fast and not locked else []
        files.append({"file": path, "ok": True, "backbones": list(plans), "not_drawn": not_drawn})
        lines.append(f"{path}: ok, {plural(len(plans), 'backbone')}")
        lines += [f"  warning: {name}: {text}" for name, plan in plans.items() for text in plan.warnings]
        lines += [f"  not checked (--fast): cut, freeze policy and builder of {name}" for name in not_drawn]
    return Result(document={"files": files}, text="\n".join(lines), errors=tuple(errors))
