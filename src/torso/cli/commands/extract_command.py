"""``torso extract``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from torso.api import build, load
from torso.cli.progress import start_tensorflow, step, steps_of
from torso.cli.result import PARTIAL, Result, UsageError
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import plans_of
from torso.cli.text import is_interactive, plural, table

if TYPE_CHECKING:
    from torso.backbone import Backbone
    from torso.plugins.registry import Registry

_RUNTIME = "tensorflow, keras, litert, onnx, openvino, or a format of a plugin (default tensorflow)."
_SHOWN = 5  # errors


@torso_command("extract", example="torso extract backbones/edge photos -o features", codes=(0, 2, 3, 4, 5, 6, 7, 130, 143))
@click.argument("backbone", nargs=-1, required=True, metavar="BACKBONE SOURCE")
@click.option("-o", "--output", required=True, metavar="OUT", help="Folder for the files, or an address as s3://….")
@click.option("--pool", type=click.Choice(["avg", "max", "none"]), default="avg", help="none: whole maps (default avg).")
@click.option("--runtime", default="tensorflow", metavar="NAME", help=_RUNTIME)
@click.option("--precision", default="float32", metavar="NAME", help="bfloat16: faster and coarser, where there is such.")
@click.option("--dtype", default="float32", metavar="NAME", help="Of the numbers in the files: float32 or float16.")
@click.option("--shard", type=int, default=512, metavar="N", help="Pictures in a file (default 512).")
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@click.option("--retry", is_flag=True, help="Compute the files with errors again.")
@click.option("--engine", default="local", metavar="NAME", help="Where to compute: local, or what a plugin offers.")
@click.option("--workers", type=int, metavar="N", help="How many work at a time, where the engine lets choose.")
def command(session: Session, backbone: tuple[str, ...], output: str, pool: str, **options: Any) -> Result:
    """Compute the features of many pictures.

    BACKBONE is a saved backbone; or a SPEC, and a NAME if it has several. SOURCE is a folder of pictures, whose first
    folders are the labels; a .txt file with a path in each line; or a .parquet file with a column path or image (bytes),
    and perhaps label. OUT gets extraction.json, listing.parquet, and files with a row for each picture: path, label,
    sha256, error and the features. What cannot be read has an error there, and the exit code is 3. The same command goes on
    where an interrupted one was.
    """
    registry = session.registry()
    *words, source = backbone
    if len(words) not in (1, 2):
        raise UsageError("BACKBONE SOURCE, or SPEC NAME SOURCE", notes=[("see", "torso extract --help")])
    start_tensorflow()
    from torso.extraction.extract import extract

    made = _backbone(words, registry)
    step("listing the pictures")
    given = {"pool": None if pool == "none" else pool, "registry": registry, **options}
    bar = is_interactive(sys.stderr) and not session.quiet
    features = extract(made, source, output, **given, progress=None if bar else _say_counts)
    document = {"folder": output, **features.manifest}
    failed = features.failed()
    rows = [(one["name"], "×".join(map(str, one["shape"])), options["dtype"]) for one in document["features"]]
    end = f"{output}: {plural(document['pictures'], 'picture')} in {plural(document['shards'], 'file')}"
    text = f"{table(('feature', '>shape', 'type'), rows)}\n\n{end}"
    if failed:
        lines = [f"  {path}: {error}" for path, error in failed[:_SHOWN]]
        lines += [f"  and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
        text += "\n".join([f"; {len(failed)} failed, with the reason in column 'error':", *lines])
    if not session.quiet:
        off = f"off by {document['runtime_error']:.1e} from Keras, mean cosine {document['runtime_cosine']:.6f}"
        text += f"\n{options['runtime']} in {options['precision']}: {off}"
    return Result(document=document, text=text, code=PARTIAL if failed else None)


def _backbone(words: list[str], registry: Registry) -> Backbone:
    first, *names = words
    if not names and not first.lower().endswith((".yaml", ".yml")):
        step(f"loading {first}")
        return load(first)
    plan, *others = plans_of(first, names, registry).values()
    if others:
        fix = f"torso extract {first} {plan.name} SOURCE -o OUT"
        raise UsageError(f"{first!r} has {1 + len(others)} backbones", notes=[("fix", fix)])
    return build(plan, registry, progress=steps_of(plan.name))


def _say_counts(done: int, pictures: int, failed: int) -> None:
    step(f"{done} of {pictures} pictures, {failed} failed")
