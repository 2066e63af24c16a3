"""The engine ``ray`` gives the files of a local run, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import torso

SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> torso.Registry:
    """All that is installed, and this plugin, installed or not; workers find it by the path."""
    monkeypatch.syspath_prepend(str(SOURCE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SOURCE), *sys.path]))
    return torso.Registry.load(plugins=["torso_ray"], discover=False)


def test_the_engine_is_found_and_ray_is_not_imported(registry: torso.Registry) -> None:
    assert [one.name for one in registry.engines] == ["local", "ray"]
    assert list(registry.engines.resolve("ray").value.run(None, [], None)) == []  # nothing to do starts nothing
    assert "ray" not in sys.modules


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_bytes_of_a_local_run_also_where_workers_are_killed(registry: torso.Registry, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    photos = tmp_path / "photos"
    for number in range(40):
        (photos / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3)).astype("uint8")
        Image.fromarray(noise).save(photos / "ab"[number % 2] / f"{number}.jpg")
    (photos / "a/0.jpg").write_bytes(b"no picture")
    backbone = torso.create_backbone("MobileNet", alpha=0.25, input_shape=(32, 32, 3), weights=None, seed=1)

    def extract(out: str, **options: Any) -> dict[str, bytes]:
        torso.extract(backbone, photos, tmp_path / out, shard=4, registry=registry, **options)
        return {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}

    quiet = extract("quiet", progress=lambda *counts: None)
    killed: list[int] = []

    def kill_one(done: int, pictures: int, failed: int) -> None:
        if done and not killed:
            listed = subprocess.run(["pgrep", "-f", "ray::.*Map"], capture_output=True, text=True, check=False).stdout
            for number in listed.split()[:1]:
                killed.append(int(number))
                os.kill(int(number), signal.SIGKILL)

    assert extract("ray", engine="ray", workers=2, progress=kill_one) == quiet
    assert killed
    with pytest.raises(torso.OptionError, match="999 workers need a processor each"):
        extract("many", engine="ray", workers=999, progress=lambda *counts: None)
    with pytest.raises(torso.IntegrityError, match=r"'a/0\.jpg' is no picture"):
        extract("strict", engine="ray", strict=True, progress=lambda *counts: None)
