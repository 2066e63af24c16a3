"""``torso verify``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TextIO

import click

from torso.artifact.verify import Verification, verify
from torso.cli.progress import Progress, start_tensorflow
from torso.cli.result import Outcome
from torso.cli.shared_options import Session, verb
from torso.cli.text import bold, page_of, table
from torso.errors import IntegrityError, Note, TorsoError


@verb("verify", example="torso verify backbones/edge backbones/pyramid", codes=(0, 2, 5, 6, 7, 130, 143))
@click.argument("folder", nargs=-1, required=True, type=click.Path(), metavar="DIR...")
def command(session: Session, folder: tuple[str, ...]) -> Outcome:
    """Replay what the backbone saved in each DIR says of itself, and say where it is something else.

    Looked at are its manifest and its files with their hashes; then the model is loaded, and its graph, its features, what
    is frozen and the preprocessing are compared, and the features that it gives for fixed images. No connection and no
    plugin is needed. A file whose hash is another is not opened.
    """
    found: list[Verification] = []
    errors: list[TorsoError] = []
    with Progress() as progress:
        start_tensorflow(progress)
        for place in folder:
            progress.step(f"looking at {place}")
            try:
                found.append(verify(place))
            except TorsoError as error:
                errors += error.parts()
    errors += [_error(one) for one in found if not one.holds]
    return Outcome(
        document={"verified": [_as_json(one) for one in found]},
        text="\n\n".join(_text(one, session.out) for one in found),
        errors=tuple(errors),
    )


def _error(one: Verification) -> IntegrityError:
    notes: list[Note] = [(check.name, check.words) for check in one.checks if not check.holds]
    return IntegrityError(f"{str(one.folder)!r} is not what its manifest says", notes=notes)


def _as_json(one: Verification) -> dict[str, Any]:
    checks: list[dict[str, Any]] = json.loads(json.dumps([asdict(check) for check in one.checks]))
    for check in checks:
        check["differences"] = [dict(zip(("fact", "told", "found"), each, strict=True)) for each in check["differences"]]
    return {"folder": str(one.folder), "name": one.name, "holds": one.holds, "checks": checks}


def _text(one: Verification, out: TextIO) -> str:
    head = f"{one.folder}: {'is' if one.holds else 'is not'} what its manifest says"
    return bold(head, out) + "\n" + table({"check": "<", "": "<", "found": "<"}, _rows(one), out, page=page_of(out))


def _rows(one: Verification) -> Iterator[tuple[str, str, str]]:
    for check in one.checks:
        yield check.name, "ok" if check.holds else "NO", check.words
