"""``torso show``."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from torso.cli.architecture_text import architecture_as_json, architecture_text
from torso.cli.completion import architecture_names
from torso.cli.graph_plot import draw, refuse_undrawable
from torso.cli.graph_text import as_json, cuts_text, levels_text, neighbourhood_as_json, neighbourhood_text, nodes_text
from torso.cli.progress import draw_graph
from torso.cli.result import Result, UsageError
from torso.cli.shared_options import Session, command as torso_command
from torso.contracts.architecture import Architecture
from torso.errors import Place
from torso.files.atomic import refuse_existing, staged_file
from torso.graph import Graph
from torso.planning.keywords import plan
from torso.planning.known_graph import known_graph
from torso.plugins.registry import Contribution, Registry
from torso.specs.yaml_nodes import ScalarNode


def _sides(text: str) -> list[int] | list[None]:
    if text == "any":
        return [None, None]
    match = re.fullmatch(r"([0-9]+)(?:[x×]([0-9]+))?", text)
    if not match:
        raise click.BadParameter(f"{text!r} is not a size; write 96, 96x128 (height first), or any")
    return [int(match[1]), int(match[2] or match[1])]


@torso_command("show", example="torso show MobileNetV2 --set alpha=0.35 --at block_12_expand", codes=(0, 2, 4, 5))
@click.argument("architecture", shell_complete=architecture_names)
@click.option("--card", is_flag=True, help="Show only the details and all weights files, without building the network.")
@click.option("--nodes", is_flag=True, help="List all nodes.")
@click.option("--at", metavar="NODE", help="Show one node, its neighbours, and which branches a cut there would drop.")
@click.option("--plot", metavar="FILE", help="Draw the network to a .svg or .png FILE; needs torso[plot].")
@click.option("--force", is_flag=True, help="Let --plot replace a file.")
@click.option("--set", "settings", metavar="OPTION=VALUE", multiple=True, help="Set an option. Repeatable.")
@click.option("--size", type=_sides, metavar="PIXELS", help="Input size: 96, 96x128 (height first), or any.")
def command(
    session: Session,
    architecture: str,
    card: bool,
    nodes: bool,
    at: str | None,
    plot: str | None,
    force: bool,
    settings: tuple[str, ...],
    size: list[int] | list[None] | None,
) -> Result:
    """Show an architecture's details, levels and cut points.

    ARCHITECTURE is a name, or provider/name. The graphs of the built-in ones are known at their default size; other
    networks are drawn without values, which takes TensorFlow. A clean cut is a node that every path through the network
    passes: a cut there drops no branch. Levels C1 to C5 are the last blocks at strides 2, 4, 8, 16 and 32.
    """
    registry = session.registry()
    found = registry.architectures.resolve(architecture)
    if card:
        if nodes or at or plot or settings or size:
            raise UsageError("--card builds nothing: leave it out, or --nodes, --at, --plot, --set and --size")
        return Result(document=architecture_as_json(found), text="\n\n".join(architecture_text(found, files=True)))
    if plot is not None:
        refuse_undrawable(Path(plot))
        refuse_existing(Path(plot), force=force)
    graph = _graph(found, registry, settings, size)
    if settings:  # the figures are of the default options
        weights = tuple(replace(one, top1=None, top5=None) for one in found.value.weights)
        found = replace(found, value=replace(found.value, parameters=graph.cost().parameters, weights=weights))
    document = {**architecture_as_json(found), "graph": as_json(graph)}
    if nodes:
        document["nodes"] = [asdict(node) for node in graph]
    if at is not None:
        document["at"] = neighbourhood_as_json(graph, at)
    text = "\n\n".join(_text(found, graph, nodes=nodes, at=at))
    if plot is not None:
        with staged_file(Path(plot), force=force) as stage:
            draw(graph, stage)
        document["plot"] = plot
        text += f"\n\nplotted to {plot}"
    return Result(document=document, text=text)


def _text(found: Contribution[Architecture], graph: Graph, *, nodes: bool, at: str | None) -> Iterator[str]:
    if at is not None:
        yield neighbourhood_text(graph, at)
    if nodes:
        yield nodes_text(graph)
    if not nodes and at is None:
        yield from architecture_text(found, files=False)
        yield from levels_text(graph)
        yield from cuts_text(graph)


def _graph(found: Contribution[Architecture], registry: Registry, settings: Iterable[str], size: Any) -> Graph:
    spec: dict[str, Any] = {}  # Any: as in a spec
    if settings:
        spec["options"] = dict(map(_setting, settings))
    if size is not None:
        spec["input"] = {"size": size}
    planned = plan(found.qualified, registry=registry, weights="none", **spec)
    return known_graph(planned, sized=True) or draw_graph(planned)


def _setting(text: str) -> tuple[str, ScalarNode]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--set {text!r} has no value", notes=[("fix", "write OPTION=VALUE, as in alpha=0.35")])
    return name, ScalarNode(value, place=Place(f"--set {name}"))
