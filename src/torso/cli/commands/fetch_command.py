"""``torso fetch``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TextIO

import click

from torso.cli.completion import backbone_names
from torso.cli.progress import Progress
from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.spec_argument import chosen
from torso.cli.text import page_of, size_of, table, wrapped
from torso.errors import IntegrityError, TorsoError, raise_all
from torso.files.atomic import refuse_existing, staged_directory
from torso.files.disk_errors import require_space
from torso.files.download import progress_to
from torso.files.hashing import copy_file
from torso.planning import Plan, make_plans
from torso.plugins.calling import plugin_errors
from torso.specs.spec_file import BackboneSpec, Spec, read_spec
from torso.specs.writer import write_spec
from torso.specs.yaml_nodes import MappingNode, ScalarNode

WEIGHTS: Final = "weights"
_BUNDLE: Final = "a bundle that torso fetched"
_MARK: Final = "# Written by `torso fetch`, with the weights that it names beside it.\n"


@dataclass(frozen=True, kw_only=True)
class _Fetched:
    """What one backbone got: where its weights are from, and the copy in the bundle; None for random values."""

    name: str
    source: str | None = None
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None


@verb("fetch", example="torso fetch backbones.yaml edge --to bundle", codes=(0, 2, 4, 5, 7, 130, 143))
@click.argument("spec", type=click.Path())
@click.argument("name", nargs=-1, shell_complete=backbone_names)
@click.option("--to", required=True, type=click.Path(), metavar="DIR", help="Folder for the spec and its weights.")
@click.option("--force", is_flag=True, help="Replace a bundle that was fetched there before.")
def command(session: Session, spec: str, name: tuple[str, ...], to: str, force: bool) -> Outcome:
    """Bring the weights of a SPEC to DIR, with a spec that names them: for machines without a connection.

    Without NAME, the weights of all its backbones are fetched. The spec in DIR says the same as SPEC, with what it extends
    and its defaults written out; only weights name the files beside it, with their hashes. DIR appears whole or not at all,
    and can be moved anywhere. TensorFlow is not used.
    """
    registry = session.registry()
    declared = chosen(spec, name)
    plans = make_plans(declared.values(), registry)
    place = Path(to)
    refuse_existing(place, force=force, ours=_is_bundle, kind=_BUNDLE)
    with Progress() as progress, progress_to(progress.step):
        files = _local_files(plans.values(), progress)
        require_space(place, sum(file.stat().st_size for file in set(files.values())))
        progress.step(f"copying to {to}")
        with staged_directory(place, force=force, ours=_is_bundle, kind=_BUNDLE) as stage:
            fetched = _copy(plans, files, stage)
            backbones = {one.name: _with_file(declared[one.name], one) for one in fetched}
            text = _MARK + write_spec(Spec(backbones=backbones))
            written = Path(f"{Path(spec).stem}.yaml")
            Path(stage, written).write_text(text, encoding="utf-8")
    return Outcome(
        document={"folder": to, "spec": str(place / written), "fetched": [asdict(one) for one in fetched]},
        text=f"{_text(fetched, session.out)}\n\n{_next(place / written, session.out)}",
    )


def _local_files(plans: Iterable[Plan], progress: Progress) -> dict[str, Path]:
    """The verified local file of each backbone that has one."""
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
    """Copy each file once, and say what each backbone has of them."""
    Path(stage, WEIGHTS).mkdir()
    copies: dict[Path, _Fetched] = {}
    fetched = []
    for name, plan in plans.items():
        if name not in files:
            fetched.append(_Fetched(name=name))
            continue
        path = files[name].resolve()
        if path not in copies:
            copies[path] = _copied(plan, path, stage, {str(Path(str(one.file)).name) for one in copies.values()})
        fetched.append(replace(copies[path], name=name, source=plan.weights.address))
    return fetched


def _copied(plan: Plan, path: Path, stage: Path, taken: set[str]) -> _Fetched:
    file = f"{WEIGHTS}/{_free_name(path.name, taken)}"
    request = plan.weights.request
    promised = {name: str(request[name]).lower() for name in ("sha256", "md5") if request.get(name) is not None}
    found = copy_file(path, stage / file, {"sha256", *promised})
    if any(found[name] != promised[name] for name in promised):
        raise IntegrityError(f"{str(path)!r} changed while it was copied", notes=[("fix", "try again")])
    return _Fetched(name=plan.name, file=file, sha256=found["sha256"], bytes=(stage / file).stat().st_size)


def _free_name(name: str, taken: set[str]) -> str:
    """A name that every system can write, unlike those that are taken in more than the case of letters."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", name)
    others = {other.casefold() for other in taken}
    names = (plain, *(f"{number}-{plain}" for number in range(2, len(taken) + 3)))
    return next(free for free in names if free.casefold() not in others)


def _with_file(spec: BackboneSpec, fetched: _Fetched) -> BackboneSpec:
    if fetched.file is None or fetched.sha256 is None:
        return spec
    entries = {"file": fetched.file, "sha256": fetched.sha256}
    return replace(
        spec, weights=MappingNode(tuple((ScalarNode(key), ScalarNode(text, quoted=True)) for key, text in entries.items()))
    )


def _is_bundle(folder: Path) -> bool:
    """Whether a folder holds what this verb writes, and nothing besides."""
    try:
        (spec,) = (path for path in folder.iterdir() if path.name != WEIGHTS)
        if not spec.read_text(encoding="utf-8").startswith(_MARK):
            return False
        weights = [backbone.weights for backbone in read_spec(spec).backbones.values()]
        named = {
            node.text
            for table in weights
            if isinstance(table, MappingNode)
            if isinstance(node := table.get("file"), ScalarNode)
        }
        return {f"{WEIGHTS}/{path.name}" for path in Path(folder, WEIGHTS).iterdir()} == named
    except (OSError, ValueError, TorsoError):
        return False


def _text(fetched: Iterable[_Fetched], out: TextIO) -> str:
    rows = [
        (one.name, Path(one.file or "").name, "" if one.bytes is None else size_of(one.bytes), one.source or "random values")
        for one in fetched
    ]
    return table({"name": "<", "file": "<", "size": ">", "from": "<"}, rows, out, page=page_of(out))


def _next(spec: Path, out: TextIO) -> str:
    return wrapped(f"{spec} needs no connection: torso build {spec} -o backbones", page_of(out))
