"""A command line that runs in this process, and a folder to run it in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from torso.cli import main

PLUGINS = Path(__file__).parents[1] / "fixtures" / "plugin_folder"

TINY = """\
version: 1
defaults:
  weights: none
backbones:
  whole: {architecture: TinyNet}
  stem:
    architecture: tiny/TinyNet
    options: {width: 8}
    truncate: {layer: stem}
    freeze: none
"""


@dataclass(frozen=True)
class Result:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def errors(self) -> str:
        """What stands on stderr from the first error on: before it, there may be progress."""
        return self.err[self.err.find("error: ") :]


@pytest.fixture
def torso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command line in an empty folder, where torso knows its own plugins and the fixture's only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORSO_DISABLE_PLUGIN_AUTOLOAD", "1")
    for variable in ("TORSO_DISABLED_PLUGINS", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)

    def run(*words: str, plugins: bool = True) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*(["--plugins-dir", str(PLUGINS)] if plugins else []), *words], "torso")
        captured = capfd.readouterr()
        return Result(end.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec of two backbones."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path
