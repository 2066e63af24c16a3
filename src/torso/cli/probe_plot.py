"""What a probe found as a picture, SVG or PNG: the accuracy of each cut against its multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torso.cli.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from torso.probing import Probe, ProbedCut


def figure_of_probe(found: Probe) -> Figure:
    """A line with error bars for each backbone, the Pareto front, and the name of the chosen cut."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    for name in dict.fromkeys(cut.backbone for cut in found.cuts):
        cuts = [cut for cut in found.cuts if cut.backbone == name]
        ys, errors = [cut.accuracy for cut in cuts], [cut.standard_error for cut in cuts]
        axes.errorbar(_macs(cuts), ys, errors, marker="o", markersize=4, capsize=2, linewidth=0.8, label=printable(name))
    ys = [cut.accuracy for cut in found.front]
    axes.step(_macs(found.front), ys, "k--", where="post", linewidth=1, label="front")
    chosen = found.chosen
    axes.plot(_macs([chosen]), chosen.accuracy, "k*", markersize=13, label=f"chosen: {printable(chosen.node)}")
    axes.set(xlabel="multiply-accumulates of one image", ylabel="accuracy", xscale="log")
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    return figure


def _macs(cuts: Iterable[ProbedCut]) -> list[float]:
    return [math.nan if cut.macs is None else cut.macs for cut in cuts]
