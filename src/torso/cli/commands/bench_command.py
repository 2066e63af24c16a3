"""``torso bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from torso.api import load
from torso.cli.progress import start_tensorflow, step
from torso.cli.result import PARTIAL, Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import table
from torso.contracts.export_format import require_installed
from torso.errors import OptionError, TorsoError, collect, raise_all
from torso.files.pictures import files_of

if TYPE_CHECKING:
    from torso.plugins.registry import Registry

T = TypeVar("T")

FEW, MANY = 1, 32  # images in a call
ROUNDS: Final = 5
SECONDS: Final = 0.1  # that one measurement lasts, at least
_TITLES: Final = ("runtime", ">1: images/s", ">CPU ms", ">32: images/s", ">CPU ms", ">error", ">cosine")


class Seconds(NamedTuple):
    """Of one call."""

    cpu: float  # of all threads together
    wall: float


@torso_command("bench", example="torso bench backbones/edge", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--images", type=click.Path(), metavar="FOLDER", help="Measure on the first 32 pictures there.")
def command(session: Session, folder: str, images: str | None) -> Result:
    """Measure how fast each runtime computes features.

    DIR is a saved backbone. Each runtime that is installed computes the mean of every feature map, of test images or of the
    pictures in FOLDER. The table has images per second and CPU time per image, one at a time and 32 at a time. It also has
    how far the features are from those of Keras: the largest error, divided by the largest value, and the mean cosine. The
    last line names the runtime that needs the least CPU time for 32. A lower precision is measured, and never named there.
    """
    registry = session.registry()
    start_tensorflow()
    import numpy as np

    from torso.artifact.reference_outputs import reference_images
    from torso.runtimes import open_runtime

    step(f"loading {folder}")
    backbone = load(folder)
    shape = backbone.record.plan["input_shape"]
    pixels = backbone.transform(files_of(images)[:MANY]) if images else reference_images(*shape)
    pixels = np.resize(pixels, (MANY, *pixels.shape[1:]))  # repeats them
    errors: list[TorsoError] = []
    rows: list[dict[str, Any]] = []
    calls: dict[tuple[int, int], Callable[[], object]] = {}  # by row, and number of images

    def add(name: str, precision: str) -> None:
        run = open_runtime(backbone, name, "avg", None, precision, registry, pixels)
        each = {(len(rows), count): partial(run, pixels[:count]) for count in (FEW, MANY)}
        for call in each.values():  # what fails does so here
            call()
        calls.update(each)
        rows.append({"runtime": name, "precision": precision, "error": run.error, "cosine": run.cosine})

    for name, precision in _installed(registry):
        step(f"opening {name} in {precision}")
        failed = len(errors)
        collect(errors, add, name, precision)
        rows += [{"runtime": name, "precision": precision, "failed": error.fact} for error in errors[failed:]]
    if not calls:
        raise_all(errors)
    step("measuring")
    for (row, count), times in in_turns(calls).items():
        cpu, wall = map(median, zip(*times, strict=True))
        rows[row][f"batch_{count}"] = {"images_per_second": count / wall, "cpu_ms": 1000 * cpu / count}
    possible = [row for row in rows if row["precision"] == "float32" and "failed" not in row]
    take = min(possible, key=_cost, default=None)
    document = {"name": backbone.name, "folder": folder, "take": take and take["runtime"], "runtimes": rows}
    text = table(_TITLES, [[*_cells(row)] for row in rows])
    if take:
        name = take["runtime"]
        text += f"\n\ntake {name}, which needs {_cost(take):.3g} CPU ms for an image: torso extract --runtime {name}"
    return Result(document=document, text=text, errors=errors, code=PARTIAL if errors else None)


def in_turns(calls: Mapping[T, Callable[[], object]], rounds: int = ROUNDS) -> dict[T, list[Seconds]]:
    """What each call takes in each round; there they follow each other, so that what slows one slows all."""
    times: dict[T, list[Seconds]] = {key: [] for key in calls}
    repeats = dict.fromkeys(calls, 1)
    for number in range(1 + rounds):
        for key, call in calls.items():
            cpu, wall = process_time(), perf_counter()
            for _ in range(repeats[key]):
                call()
            taken = Seconds(*((now - then) / repeats[key] for now, then in ((process_time(), cpu), (perf_counter(), wall))))
            if number:
                times[key].append(taken)
            else:  # only to know how often
                repeats[key] = max(1, round(SECONDS / taken.wall))
    return times


def _installed(registry: Registry) -> Iterator[tuple[str, str]]:
    """The names of runtimes, with each precision that they offer."""
    from torso.runtimes import OWN

    yield from ((name, "float32") for name in OWN)
    names = [one.name for one in registry.export_formats]
    for one in registry.export_formats:
        with suppress(OptionError):
            require_installed(one.value)
            name = one.name if names.count(one.name) == 1 else one.qualified
            yield from ((name, precision) for precision in one.value.precisions)


def _cost(row: Mapping[str, Any]) -> float:
    cost: float = row[f"batch_{MANY}"]["cpu_ms"]
    return cost


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    yield row["runtime"] if row["precision"] == "float32" else f"{row['runtime']} {row['precision']}"
    for count in FEW, MANY:
        measured = row.get(f"batch_{count}")
        yield from (_number(measured[key]) for key in ("images_per_second", "cpu_ms")) if measured else ("failed", "")
    yield from (f"{row['error']:.1e}", f"{row['cosine']:.6f}") if "error" in row else ("", "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
