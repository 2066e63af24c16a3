"""``torso export``."""

from __future__ import annotations

from pathlib import Path

import click

from torso.api import load
from torso.artifact.documents import Document, read_document
from torso.artifact.manifest_file import read_manifest_json
from torso.cli.completion import export_formats
from torso.cli.progress import say, start_tensorflow, step
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.text import format_bytes, format_shape, table
from torso.contracts.export_format import require_installed, tolerance_of
from torso.export.record import KIND, NAME, VERSION, is_export
from torso.files.atomic import refuse_existing
from torso.files.disk_errors import require_writable

_FORMATS = "saved_model, litert, onnx, openvino, or a format of a plugin."
_BOUND = "Largest relative error allowed, for example 1e-4 (default: the format's)."


@torso_command("export", example="torso export backbones/edge --to onnx", codes=(0, 2, 4, 5, 6, 7, 130, 143))
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--to", required=True, metavar="FORMAT", shell_complete=export_formats, help=_FORMATS)
@click.option("-o", "--output", type=click.Path(), metavar="FOLDER", help="Folder for the files (default DIR-FORMAT).")
@click.option("--images", multiple=True, type=click.Path(), metavar="FILE", help="Compare on this picture. Repeatable.")
@click.option("--bound", type=float, metavar="X", help=_BOUND)
@click.option("--force", is_flag=True, help="Replace files exported there before.")
def command(
    session: Session, folder: str, to: str, output: str | None, images: tuple[str, ...], bound: float | None, force: bool
) -> Result:
    """Convert a saved backbone for another runtime.

    DIR is a folder written by torso build. The converted model runs on test images, or on each FILE, and its features are
    compared with those of Keras. FOLDER is written only if the largest error, divided by the feature's largest value, is
    within the bound. It also gets export.json, which describes the inputs, the outputs and the measured error. A converted
    model computes features; it cannot be trained.
    """
    registry = session.registry()
    chosen = registry.export_formats.resolve(to)
    require_installed(chosen.value)
    tolerance_of(chosen.value, bound)
    named = Path(folder) if Path(folder).name not in ("", "..") else Path(folder).resolve()
    place = Path(output or f"{named}-{chosen.value.name}")
    read_manifest_json(Path(folder))  # before TensorFlow starts: there may be no backbone at all
    refuse_existing(place, force=force, ours=is_export, kind=KIND)
    require_writable(place)
    start_tensorflow()
    step(f"loading {folder}")
    backbone = load(folder)
    backbone.export(place, to=to, images=list(images) or None, bound=bound, force=force, registry=registry, progress=step)
    say(f"{backbone.name}: exported to {place}")
    record = read_document(place / NAME, "export", VERSION)
    return Result(document={"folder": str(place), **record}, text=_text(record, place))


def _text(record: Document, place: Path) -> str:
    bound = f"{record['compared']['bound']:g}"
    rows = [(one["name"], format_shape(one["shape"][1:]), f"{one['error']:.1e}", bound) for one in record["outputs"]]
    size = format_bytes(sum(file["bytes"] for file in record["files"].values()))
    return (
        f"{table(('feature', '>shape', '>error', '>bound'), rows)}\n\n"
        f"{place}, {size}: {', '.join(record['files'])} and {NAME}\ninput: {record['input']['expects']}"
    )
