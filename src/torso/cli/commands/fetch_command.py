"""``torso fetch``."""

import shlex
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

import click

from torso.cli.progress import say, step
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import selected, spec_and_names
from torso.cli.text import format_bytes, table
from torso.errors import TorsoError, collect, raise_all
from torso.files.atomic import staged_directory
from torso.files.download import progress_to
from torso.files.hashing import hash_of
from torso.planning import Plan, make_plans
from torso.specs.spec_file import write_spec
from torso.specs.yaml_nodes import MappingNode, from_python

_WEIGHTS: Final = "weights"
_MARK: Final = "# Written by `torso fetch`, with the weights that it names beside it.\n"
_Fetched = dict[str, Any]  # as JSON: name, source, and of the copy in the bundle file, sha256 and bytes


@torso_command("fetch", example="torso fetch backbones.yaml edge --to bundle", codes=(0, 2, 4, 5, 7, 130, 143))
@spec_and_names
@click.option("--to", required=True, type=click.Path(), metavar="DIR", help="Folder for the bundle.")
@click.option("--force", is_flag=True, help="Replace a bundle fetched there before.")
def command(session: Session, spec: str, name: tuple[str, ...], to: str, force: bool) -> Result:
    """Download weights into a portable offline bundle.

    Fetches the weights of every backbone of the SPEC, or only of each NAME. The bundle is a folder with the weights and a
    spec that names them with their hashes. Its spec can be built on a machine without an internet connection.
    DIR is written whole or not at all. TensorFlow is not used.
    """
    backbones = selected(spec, name)
    plans = make_plans(backbones.values(), session.registry())
    place, written = Path(to), f"{Path(spec).stem}.yaml"
    fetched: list[_Fetched] = []
    errors: list[TorsoError] = []
    with staged_directory(place, force=force, ours=_is_bundle) as stage:
        (stage / _WEIGHTS).mkdir()
        copies: dict[Path, _Fetched] = {}  # backbones with the same file share its copy
        for plan in plans.values():
            for warning in plan.warnings:
                say(f"{plan.name}: warning: {warning}")
            if one := collect(errors, _fetch, plan, stage, copies):
                fetched.append(one)
                if one["file"] is not None:
                    weights = from_python({key: one[key] for key in ("file", "sha256")})
                    assert isinstance(weights, MappingNode)  # for the type checker
                    backbones[plan.name] = replace(backbones[plan.name], weights=weights)
        raise_all(errors)
        (stage / written).write_text(_MARK + write_spec(backbones.values()), encoding="utf-8")
    build = shlex.join(["torso", "build", str(place / written), "-o", "backbones"])
    return Result(
        document={"folder": to, "spec": str(place / written), "fetched": fetched},
        text=f"{_text(fetched)}\n\nbuild it offline:\n  {build}",
    )


def _fetch(plan: Plan, stage: Path, copies: dict[Path, _Fetched]) -> _Fetched:
    """Get the verified weights file of a backbone, and copy it into the bundle if it is not there yet."""
    if plan.weights.source is None:  # random initialisation
        return {"name": plan.name, **dict.fromkeys(("source", "file", "sha256", "bytes"))}
    step(f"{plan.name}: getting weights")
    with progress_to(step):
        path = plan.weights.fetch().resolve()
    if path not in copies:
        taken = {Path(copy["file"]).name.casefold() for copy in copies.values()}  # some systems ignore letter case
        names = chain([path.name], (f"{number}-{path.name}" for number in count(2)))
        file = f"{_WEIGHTS}/{next(name for name in names if name.casefold() not in taken)}"
        shutil.copyfile(path, stage / file)
        copies[path] = {"file": file, "sha256": hash_of(stage / file), "bytes": (stage / file).stat().st_size}
    return {"name": plan.name, "source": plan.weights.address, **copies[path]}


def _is_bundle(folder: Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    try:
        (spec,) = (path for path in folder.iterdir() if path.name != _WEIGHTS)
        text = spec.read_text(encoding="utf-8")
        return text.startswith(_MARK) and all(f"{_WEIGHTS}/{file.name}" in text for file in (folder / _WEIGHTS).iterdir())
    except (OSError, ValueError):
        return False


def _text(fetched: Iterable[_Fetched]) -> str:
    rows = []
    for one in fetched:
        size = None if one["bytes"] is None else format_bytes(one["bytes"])
        rows.append((one["name"], Path(one["file"] or "").name, size, one["source"] or "random initialisation"))
    return table(("name", "file", ">size", "from"), rows)
