"""An extraction that is killed at any moment goes on to the bytes of a quiet one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from laboratory import Laboratory
from saved import TINY, contents

SPEC = "version: 1\nbackbones: {edge: {architecture: TinyNet, weights: {none: {seed: 1}}}}\n"


@pytest.fixture(scope="module")
def heavy() -> Iterator[Laboratory]:
    laboratory = Laboratory(TINY, heavy=True)
    yield laboratory
    laboratory.end()


@pytest.mark.slow
def test_thirty_random_kills(heavy: Laboratory, write: Callable[..., Path], tmp_path: Path) -> None:
    photos, spec = write(count=60), tmp_path / "nets.yaml"
    (photos / "bad.jpg").write_bytes(b"no picture")
    spec.write_text(SPEC)

    def extract(out: str, **order: Any) -> dict[str, Any]:
        return heavy.do("extract", tmp_path / out, spec=str(spec), **order)

    quiet = extract("quiet")
    assert quiet["code"] == 3
    seconds, expected, chance, killed = quiet["seconds"], contents(tmp_path / "quiet"), random.Random(0), []
    for number in range(30):
        killed.append(extract(f"out{number}", moment=chance.uniform(0.05, seconds))["status"])
        if number % 2:
            killed.append(extract(f"out{number}", moment=chance.uniform(0.05, seconds))["status"])
        extract(f"out{number}")
        assert contents(tmp_path / f"out{number}") == expected
    assert sum(map(bool, killed)) > 25


@pytest.mark.slow
def test_a_kill_at_every_operation_that_changes_the_disk(
    heavy: Laboratory, write: Callable[..., Path], tmp_path: Path
) -> None:
    write(count=6)
    spec = tmp_path / "nets.yaml"
    spec.write_text(SPEC)
    quiet = heavy.do("extract", tmp_path / "quiet", spec=str(spec))
    expected = contents(tmp_path / "quiet")
    for operation in range(1, quiet["operations"] + 1):
        out = tmp_path / f"out{operation}"
        ended = heavy.do("extract", out, spec=str(spec), at=operation, fault="kill")
        assert ended["status"] == 9
        heavy.do("extract", out, spec=str(spec))
        assert contents(out) == expected, ended["at"]
