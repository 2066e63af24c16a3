"""``torso export``."""

from itertools import product
from pathlib import Path

import click

from torso.api import load
from torso.artifact.documents import Document, read_document
from torso.artifact.manifest_file import backbones_in, read_manifest_json
from torso.cli.completion import export_formats
from torso.cli.progress import done, start_tensorflow, step
from torso.cli.result import PARTIAL, Result
from torso.cli.shared_options import Names, Session, command as torso_command
from torso.cli.text import format_bytes, format_shape, table
from torso.contracts.export_format import require_installed, tolerance_of
from torso.errors import TorsoError, collect, raise_all
from torso.export.record import NAME, VERSION, is_export
from torso.files.atomic import refuse_existing
from torso.files.disk_errors import require_writable

_FORMATS = "saved_model, litert, onnx, openvino, or a format of a plugin."
_BOUND = "Largest relative error allowed, for example 1e-4 (default: the format's)."


@torso_command("export", example="torso export backbones/edge --to onnx", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@click.argument("folder", nargs=-1, required=True, type=click.Path(), metavar="DIR...")
@click.option("--to", multiple=True, required=True, metavar="FORMAT", shell_complete=export_formats, help=_FORMATS)
@click.option("-o", "--output", type=click.Path(), metavar="FOLDER", help="Folder for the files (default DIR-FORMAT).")
@click.option("--images", multiple=True, type=click.Path(), metavar="FILE", help="Compare on this picture. Repeatable.")
@click.option("--bound", type=float, metavar="X", help=_BOUND)
@click.option("--force", is_flag=True, help="Replace files exported there before.")
def command(
    session: Session, folder: Names, to: Names, output: str | None, images: Names, bound: float | None, force: bool
) -> Result:
    """Convert saved backbones for other runtimes.

    DIR is a saved backbone, or a folder of them as torso build writes. The converted model runs on test images, or on each
    FILE, and its features are compared with those of Keras. FOLDER is written only if the largest error, divided by the
    feature's largest value, is within the bound. It also gets export.json, which describes the inputs, the outputs and the
    measured error. A converted model computes features; it cannot be trained. For several backbones or formats, FOLDER holds
    a folder NAME-FORMAT for each.
    """
    registry = session.registry()
    formats = [registry.export_formats.resolve(name).value for name in to]
    folders = [path for given in folder for path in backbones_in(Path(given))]
    for chosen in formats:
        require_installed(chosen)
        tolerance_of(chosen, bound)
    errors: list[TorsoError] = []
    places: dict[tuple[Path, str], Path] = {}
    for path, chosen in product(folders, formats):
        named = path if path.name not in ("", "..") else path.resolve()
        one = f"{named}-{chosen.name}" if output is None else output
        several = output is not None and len(folders) * len(formats) > 1
        place = places[path, chosen.name] = Path(one, f"{named.name}-{chosen.name}") if several else Path(one)
        collect(errors, read_manifest_json, path)  # before TensorFlow starts: there may be no backbone at all
        collect(errors, refuse_existing, place, force=force, ours=is_export)
        collect(errors, require_writable, place)
    raise_all(errors)
    start_tensorflow()
    exported = []
    for path in folders:
        step(f"loading {path}")
        if (backbone := collect(errors, load, path, registry=registry)) is None:
            continue
        for name, chosen in zip(to, formats, strict=True):
            place = places[path, chosen.name]
            given = {"images": list(images) or None, "bound": bound, "force": force, "registry": registry, "progress": step}
            if collect(errors, backbone.export, place, to=name, **given) is not None:
                done(f"{backbone.name}: exported to {place}")
                exported.append({"folder": str(place), **read_document(place / NAME, "export", VERSION)})
    if not exported:
        raise_all(errors)
    document = exported[0] if len(places) == 1 else {"exported": exported}
    return Result(document=document, text="\n\n".join(map(_text, exported)), errors=errors, code=PARTIAL if errors else None)


def _text(record: Document) -> str:
    place = record["folder"]
    bound = f"{record['compared']['bound']:g}"
    rows = [(one["name"], format_shape(one["shape"][1:]), f"{one['error']:.1e}", bound) for one in record["outputs"]]
    size = format_bytes(sum(file["bytes"] for file in record["files"].values()))
    return (
        f"{table(('feature', '>shape', '>error', '>bound'), rows)}\n\n"
        f"{place}, {size}: {', '.join(record['files'])} and {NAME}\ninput: {record['input']['expects']}"
    )
