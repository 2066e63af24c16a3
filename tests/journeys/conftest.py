"""A folder of a newcomer, with pictures in it, the published weights in the cache, and a command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest
from docs_pages import draw_pictures, publish_weights

from torso.cli import main
from torso.plugins import discovery

Shell = Callable[..., str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    draw_pictures(tmp_path / "flowers")
    publish_weights(tmp_path / "keras" / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("COLUMNS", "120")
    keras.utils.set_random_seed(0)
    yield tmp_path
    discovery.registered.clear()  # what a notebook registers is there for all of the process


@pytest.fixture
def shell(here: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Type a command, and read what it prints; ``code`` is the exit code that is expected."""

    def run(line: str, code: int = 0) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main(line.split(), "torso")
        printed = capfd.readouterr()
        assert (end.value.code or 0) == code, printed.err
        return printed.out + (printed.err[printed.err.find("error: ") :] if "error: " in printed.err else "")

    return run
