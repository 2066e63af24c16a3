"""``torso show``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import click

from torso.backbone import read_graph
from torso.cli.architecture_text import card_text
from torso.cli.completion import architecture_names
from torso.cli.graph_plot import draw, refuse_undrawable
from torso.cli.graph_text import as_json, cuts_text, levels_text, neighbourhood_as_json, neighbourhood_text, nodes_text
from torso.cli.progress import Progress, start_tensorflow
from torso.cli.result import Outcome, UsageError
from torso.cli.shared_options import Session, verb
from torso.contracts.architecture import Architecture
from torso.errors import Place
from torso.files.atomic import refuse_existing_file, staged_file
from torso.graph import Graph
from torso.plugins.registry import Contribution, Registry
from torso.specs.options import Option, Value
from torso.specs.yaml_nodes import ScalarNode


@verb("show", example="torso show MobileNetV2 --set alpha=0.35 --at block_12_expand", codes=(0, 2, 4, 5))
@click.argument("architecture", shell_complete=architecture_names)
@click.option("--card", is_flag=True, help="Show the card alone, with all its files: nothing is built.")
@click.option("--nodes", is_flag=True, help="List all nodes instead of the clean cuts.")
@click.option("--at", metavar="NODE", help="Show one node, what is around it, and what a cut there would lose.")
@click.option("--plot", metavar="FILE", help="Draw the network to FILE.svg or FILE.png; needs torso[plot].")
@click.option("--force", is_flag=True, help="Let --plot replace a file.")
@click.option("--set", "settings", metavar="OPTION=VALUE", multiple=True, help="Set an option. Repeatable.")
@click.option("--size", metavar="PIXELS", help="Size of the images, as 96 or 96x128 (height first), or any.")
def command(
    session: Session,
    architecture: str,
    card: bool,
    nodes: bool,
    at: str | None,
    plot: str | None,
    force: bool,
    settings: tuple[str, ...],
    size: str | None,
) -> Outcome:
    """Show what is known of an ARCHITECTURE, its levels, and where it can be cut cleanly.

    Its name is written as in a spec: bare, or as provider/name where several plugins offer it. The network is built
    without values to be looked at; its weights are not needed.
    """
    registry = session.registry()
    found = registry.architectures.resolve(architecture)
    if card:
        _refuse_with_card(nodes=nodes, at=at, plot=plot, settings=settings, size=size)
        return Outcome(document=_card_as_json(found), text="\n\n".join(card_text(found, session.out, files=True)))
    if plot is not None:
        refuse_undrawable(Path(plot))
        refuse_existing_file(Path(plot), force=force)
    graph = _graph(found, registry, settings, size)
    document: dict[str, Any] = {**_card_as_json(found), "graph": as_json(graph)}  # Any: JSON
    if nodes:
        document["nodes"] = [asdict(node) for node in graph]
    if at is not None:
        document["at"] = neighbourhood_as_json(graph, at)
    text = "\n\n".join(_text(found, graph, session.out, nodes=nodes, at=at))
    if plot is not None:
        _draw(graph, Path(plot), force=force)
        document["plot"] = plot
        text += f"\n\ndrawn in {plot}"
    return Outcome(document=document, text=text)


def _text(found: Contribution[Architecture], graph: Graph, out: TextIO, *, nodes: bool, at: str | None) -> Iterator[str]:
    if at is not None:
        yield from neighbourhood_text(graph, at, out)
    if nodes:
        yield from nodes_text(graph, out)
    if not nodes and at is None:
        yield from card_text(found, out, files=False)
        yield from levels_text(graph, out)
        yield from cuts_text(graph, out)


def _graph(found: Contribution[Architecture], registry: Registry, settings: Iterable[str], size: str | None) -> Graph:
    spec: dict[str, Any] = {}  # Any: as in a spec
    if settings:
        spec["options"] = dict(_setting(setting, found.value.options) for setting in settings)
    if size is not None:
        spec["input"] = {"size": _sides(size)}
    with Progress() as progress:
        start_tensorflow(progress)
        progress.step(f"reading {found.value.name}")
        return read_graph(found.qualified, registry=registry, **spec)


def _setting(text: str, options: Iterable[Option]) -> tuple[str, Value]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--set {text!r} sets nothing", notes=[("fix", "write OPTION=VALUE, as alpha=0.35")])
    option = next((option for option in options if option.name == name), None)
    return name, value if option is None else option.read(ScalarNode(value, place=Place(f"--set {name}")))


def _sides(text: str) -> list[int] | list[None]:
    if text == "any":
        return [None, None]
    match = re.fullmatch(r"([0-9]+)(?:[x×]([0-9]+))?", text)
    if not match:
        raise UsageError(f"--size {text!r} is no size", notes=[("fix", "write 96, 96x128 with the height first, or any")])
    return [int(match[1]), int(match[2] or match[1])]


def _refuse_with_card(**asked: object) -> None:
    given = [f"--{'set' if name == 'settings' else name}" for name, value in asked.items() if value]
    if given:
        raise UsageError(f"--card builds nothing, and {given[0]} needs the network", notes=[("fix", "leave out --card")])


def _draw(graph: Graph, place: Path, *, force: bool) -> None:
    with staged_file(place, force=force) as stage:
        draw(graph, stage)


def _card_as_json(contribution: Contribution[Architecture]) -> dict[str, Any]:  # Any: JSON
    card, plugin = contribution.value, contribution.plugin
    document = asdict(card)
    document["options"] = [_option_as_json(option) for option in card.options]
    return {
        "qualified": contribution.qualified,
        "provider": {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "origin": plugin.origin,
            "location": plugin.location,
        },
        **document,
    }


def _option_as_json(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type.__name__,
        "many": option.many,
        "required": option.required,
        "default": None if option.required else option.default,
        "choices": list(option.choices),
        "minimum": option.minimum,
        "maximum": option.maximum,
        "doc": option.doc,
    }
