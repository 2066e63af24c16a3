"""``torso export``."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from torso.artifact.manifest import parse_manifest
from torso.backbone import load
from torso.cli.completion import export_formats
from torso.cli.progress import Progress, start_tensorflow
from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.text import page_of, size_of, table, times, wrapped
from torso.contracts.export_format import require_installed, tolerance_of
from torso.export.record import KIND, NAME, Record, is_export, read_record
from torso.files.atomic import refuse_existing
from torso.files.disk_errors import require_writable


@verb(
    "export",
    example="torso export backbones/edge --to onnx",
    codes=(0, 2, 4, 5, 6, 7, 130, 143),
)
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "--to",
    required=True,
    metavar="FORMAT",
    shell_complete=export_formats,
    help="saved_model, litert, onnx, openvino, or a plugin's.",
)
@click.option(
    "-o", "--output", type=click.Path(), metavar="FOLDER", help="Folder for the files; DIR-FORMAT where it is not given."
)
@click.option(
    "--images",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="A picture to compare on, instead of torso's own patterns. Repeatable.",
)
@click.option(
    "--bound",
    type=float,
    metavar="X",
    help="How far a feature may be off, relative to its largest value, as 1e-4; the format's own otherwise.",
)
@click.option("--force", is_flag=True, help="Replace what was exported there before.")
def command(
    session: Session, folder: str, to: str, output: str | None, images: tuple[str, ...], bound: float | None, force: bool
) -> Outcome:
    """Write the backbone saved in DIR for another runtime, and compare what it gives there with what it gives in Keras.

    The files are run in a process of their own, on the same images, and their features are compared by name. FOLDER appears
    whole or not at all: not where a feature is further off than is tolerated, nor where the weights are not in the files.
    export.json beside them says what goes in, what comes out, and how far it is off. What is written computes features;
    it cannot be trained.
    """
    registry = session.registry()
    chosen = registry.export_formats.resolve(to)
    require_installed(chosen.value)
    tolerance_of(chosen.value, bound)
    place = Path(output) if output is not None else _beside(Path(folder), chosen.value.name)
    parse_manifest(Path(folder))  # whether there is a backbone at all is known before TensorFlow starts
    refuse_existing(place, force=force, ours=is_export, kind=KIND)
    require_writable(place)
    with Progress() as progress:
        start_tensorflow(progress)
        progress.step(f"loading {folder}")
        backbone = load(folder)
        backbone.export(
            place,
            to=chosen.qualified,
            images=list(images) or None,
            bound=bound,
            force=force,
            registry=registry,
            progress=progress.step,
        )
        progress.say(f"{backbone.name}: exported to {place}")
    record = read_record(place)
    return Outcome(document={"folder": str(place), **record}, text=_text(record, place, session.out))


def _beside(folder: Path, name: str) -> Path:
    """``backbones/edge-onnx`` for ``backbones/edge``."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}-{name}")


def _text(record: Record, place: Path, out: TextIO) -> str:
    titles = {"feature": "<", "shape": ">", "off by": ">", "tolerated": ">"}
    bound = record["compared"]["bound"]
    rows = [
        (output["name"], times(output["shape"][1:]), f"{output['error']:.1e}", f"{bound:g}") for output in record["outputs"]
    ]
    size = size_of(sum(facts["bytes"] for facts in record["files"].values()))
    goes_in = f"{place}, {size}: {', '.join(record['files'])} and {NAME}. It takes {record['input']['expects']}."
    return f"{table(titles, rows, out, page=page_of(out))}\n\n{wrapped(goes_in, page_of(out))}"
