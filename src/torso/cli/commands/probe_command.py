"""``torso probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torso.cli.graph_plot import refuse_undrawable, save
from torso.cli.probe_plot import figure_of_probe
from torso.cli.progress import say, start_tensorflow, step
from torso.cli.result import PARTIAL, Result, UsageError
from torso.cli.shared_options import Names, Session, command as torso_command
from torso.cli.text import plural, short, table
from torso.files.atomic import refuse_existing, staged_file
from torso.planning.keywords import FIRST_TAG

if TYPE_CHECKING:
    from torso.probing import Probe

_TITLES = ("backbone", "cut", "level", ">channels", ">accuracy", ">params", ">MACs", ">ms", "front")
_NOTES = """\
accuracy: share that is right, ± one standard error, over {folds} folds of {pictures}
ms: one image through TensorFlow; front: no other cut is as cheap (by MACs) and better; chosen: the cheapest cut
within one standard error of the best"""


@torso_command("probe", example="torso probe MobileNetV2 photos -o best.yaml", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@click.argument("architecture", nargs=-1, required=True, metavar="ARCHITECTURE|SPEC... SOURCE")
@click.option("--cuts", default="blocks", metavar="WHICH", help="levels, blocks (default) or all clean cuts.")
@click.option("--classifier", default="logistic", metavar="NAME", help="logistic (default) or knn.")
@click.option("--folds", type=int, default=5, metavar="N", help="Of the cross-validation (default 5).")
@click.option("--seed", type=int, default=0, metavar="N", help="Of the folds (default 0).")
@click.option("--weights", default=FIRST_TAG, metavar="TAG", help="Of the architectures; none for random values.")
@click.option("--keep", type=click.Path(), metavar="DIR", help="Keep the features in DIR, and go on there.")
@click.option("--plot", type=click.Path(), metavar="FILE", help="Draw accuracy and MACs to a .svg or .png FILE.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write a spec with the chosen cut.")
@click.option("--force", is_flag=True, help="Let --plot and -o replace files.")
def command(
    session: Session, architecture: Names, plot: str | None, output: str | None, force: bool, weights: str, **options: Any
) -> Result:
    """Find the best cut for your own pictures.

    A classifier is trained on the features at the end of each block, all computed in one pass. An ARCHITECTURE is probed
    whole; the backbones of a SPEC (a .yaml file) up to their own cuts. SOURCE is a folder of pictures, whose first folders
    are the labels; or another source of torso extract. The same picture is never in both training and test.
    """
    registry = session.registry()
    *words, source = architecture
    if not words:
        raise UsageError("ARCHITECTURE SOURCE, or SPEC SOURCE", notes=[("see", "torso probe --help")])
    for file in filter(None, (plot, output)):
        refuse_existing(Path(file), force=force)
    if plot:
        refuse_undrawable(Path(plot))
    from torso.probing import declared, probe

    tag = None if weights == "none" else weights
    for _, plan in declared(words, registry, tag).values():
        for warning in plan.warnings:
            say(f"{plan.name}: warning: {warning}")
    start_tensorflow()
    found = probe(words, source, weights=tag, registry=registry, progress=step, **options)
    text = _text(found, options["folds"])
    if plot:
        with staged_file(Path(plot), force=force) as stage:
            save(lambda: figure_of_probe(found), stage)
        text += f"\nplotted to {plot}"
    if output:
        with staged_file(Path(output), force=force) as stage:
            stage.write_text(found.spec(), "utf-8")
        text += f"\nwritten to {output}: {found.chosen.node} of {found.chosen.backbone}"
    document = {**found.to_json(), "plot": plot, "spec": output}
    return Result(document=document, text=text, code=PARTIAL if found.failed else None)


def _text(found: Probe, folds: int) -> str:
    marks = {"*": found.front, "best": (found.best,), "chosen": (found.chosen,)}
    rows = []
    for cut in found.cuts:
        percent = f"{100 * cut.accuracy:.1f} ± {100 * cut.standard_error:.1f} %"
        costs = short(cut.parameters), short(cut.macs), "" if cut.ms is None else f"{cut.ms:.2f}"
        mark = " ".join(name for name, cuts in marks.items() if cut in cuts)
        rows.append((cut.backbone, cut.node, cut.level, cut.channels, percent, *costs, mark))
    pictures = plural(sum(found.classes.values()) - len(found.failed), "picture")
    text = f"{table(_TITLES, rows)}\n\n{_NOTES.format(folds=folds, pictures=pictures)}"
    if found.failed:
        (path, error), *more = found.failed
        text += f"\n{plural(len(found.failed), 'picture')} left out: {path}: {error}{' and others' if more else ''}"
    return text
