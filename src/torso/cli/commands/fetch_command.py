"""``torso fetch``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from torso.cli.progress import Progress
from torso.cli.result import Result
from torso.cli.shared_options import Session, command as torso_command
from torso.cli.spec_argument import selected, spec_and_names
from torso.cli.text import format_bytes, table
from torso.errors import IntegrityError, TorsoError, raise_all
from torso.files.atomic import refuse_existing, staged_directory
from torso.files.disk_errors import require_space
from torso.files.download import progress_to
from torso.files.hashing import hash_of
from torso.planning import Plan, make_plans
from torso.plugins.calling import plugin_errors
from torso.specs.writer import write_spec
from torso.specs.yaml_nodes import MappingNode, from_python

_WEIGHTS: Final = "weights"
_BUNDLE: Final = "a bundle that torso fetched"
_MARK: Final = "# Written by `torso fetch`, with the weights that it names beside it.\n"
_Fetched = dict[str, Any]  # as JSON: name, source, and of the copy in the bundle file, sha256 and bytes


@torso_command("fetch", example="torso fetch backbones.yaml edge --to bundle", codes=(0, 2, 4, 5, 7, 130, 143))
@spec_and_names
@click.option("--to", required=True, type=click.Path(), metavar="DIR", help="Folder for the bundle.")
@click.option("--force", is_flag=True, help="Replace a bundle fetched there before.")
def command(session: Session, spec: str, name: tuple[str, ...], to: str, force: bool) -> Result:
    """Download weights into a portable offline bundle.

    Fetches the weights of every backbone of the SPEC, or only of each NAME. The bundle is a folder with the weights and a
    spec that names them with their hashes. It can be moved to a machine without an internet connection and built there.
    DIR is written whole or not at all. TensorFlow is not used.
    """
    registry = session.registry()
    backbones = selected(spec, name)
    plans = make_plans(backbones.values(), registry)
    place, written = Path(to), f"{Path(spec).stem}.yaml"
    refuse_existing(place, force=force, ours=_is_bundle, kind=_BUNDLE)
    with Progress() as progress, progress_to(progress.step):
        files = _local_files(plans.values(), progress)
        require_space(place, sum(file.stat().st_size for file in set(files.values())))
        progress.step(f"copying to {to}")
        with staged_directory(place, force=force, ours=_is_bundle, kind=_BUNDLE) as stage:
            fetched = _copy(plans, files, stage)
            for one in fetched:
                if one["file"] is not None:
                    weights = from_python({key: one[key] for key in ("file", "sha256")})
                    assert isinstance(weights, MappingNode)  # for the type checker
                    backbones[one["name"]] = replace(backbones[one["name"]], weights=weights)
            (stage / written).write_text(_MARK + write_spec(backbones.values()), encoding="utf-8")
    return Result(
        document={"folder": to, "spec": str(place / written), "fetched": fetched},
        text=f"{_text(fetched)}\n\nbuild it offline: torso build {place / written} -o backbones",
    )


def _local_files(plans: Iterable[Plan], progress: Progress) -> dict[str, Path]:
    """The verified local file of each backbone that has weights."""
    files: dict[str, Path] = {}
    errors: list[TorsoError] = []
    for plan in plans:
        for warning in plan.warnings:
            progress.say(f"{plan.name}: warning: {warning}")
        source = plan.weights.source
        if source is None:
            continue
        progress.step(f"{plan.name}: getting weights")
        try:
            with plugin_errors(source.plugin, f"weight source {source.qualified!r}", plan.weights.place):
                files[plan.name] = source.value.fetch(plan.weights.request)
        except TorsoError as error:
            errors.append(error)
    raise_all(errors)
    return files


def _copy(plans: Mapping[str, Plan], files: Mapping[str, Path], stage: Path) -> list[_Fetched]:
    """Copy each file once; backbones with the same file name the same copy."""
    (stage / _WEIGHTS).mkdir()
    copies: dict[Path, _Fetched] = {}
    fetched = []
    for name, plan in plans.items():
        source = plan.weights.source
        if source is None:  # random initialisation
            fetched.append({"name": name, **dict.fromkeys(("source", "file", "sha256", "bytes"))})
            continue
        path = files[name].resolve()
        if path not in copies:
            file = f"{_WEIGHTS}/{_free_name(path.name, [copy['file'] for copy in copies.values()])}"
            expected = source.value.expected_hashes(plan.weights.request)
            shutil.copyfile(path, stage / file)
            found = {algorithm: hash_of(stage / file, algorithm) for algorithm in {"sha256", *expected}}
            if any(found[algorithm] != expected[algorithm] for algorithm in expected):
                raise IntegrityError(f"{str(path)!r} changed while it was copied", notes=[("fix", "try again")])
            copies[path] = {"file": file, "sha256": found["sha256"], "bytes": (stage / file).stat().st_size}
        fetched.append({"name": name, "source": plan.weights.address, **copies[path]})
    return fetched


def _free_name(name: str, taken: Iterable[str]) -> str:
    """A file name that every system can write and that is not taken."""
    plain = free = re.sub(r"[^A-Za-z0-9._+-]", "_", name)
    used = {Path(file).name.casefold() for file in taken}  # some systems ignore letter case
    number = 1
    while free.casefold() in used:
        number += 1
        free = f"{number}-{plain}"
    return free


def _is_bundle(folder: Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    try:
        (spec,) = (path for path in folder.iterdir() if path.name != _WEIGHTS)
        text = spec.read_text(encoding="utf-8")
        named = re.findall(rf"{_WEIGHTS}/([A-Za-z0-9._+-]+)", text)  # see _free_name
        return text.startswith(_MARK) and all(file.name in named for file in (folder / _WEIGHTS).iterdir())
    except (OSError, ValueError):
        return False


def _text(fetched: Iterable[_Fetched]) -> str:
    rows = []
    for one in fetched:
        size = None if one["bytes"] is None else format_bytes(one["bytes"])
        rows.append((one["name"], Path(one["file"] or "").name, size, one["source"] or "random initialisation"))
    return table(("name", "file", ">size", "from"), rows)
