"""The engine ``ray`` gives the files of a local run, whatever happens to its workers."""

from __future__ import annotations

import os
import re
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


def test_without_ray_the_engine_says_how_to_get_it(registry: torso.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(torso.OptionError, match="engine 'ray' needs ray") as caught:
        next(registry.engines.resolve("ray").value.run(None, [0], None))
    assert caught.value.notes == (("fix", "pip install 'ray[data]'"),)


@pytest.mark.parametrize(
    ("nodes", "workers", "shards", "expected"),
    [
        ([8], None, 9, (1, 8)),
        ([8], 3, 9, (3, 2)),
        ([8], 3, 2, (2, 4)),
        ([1, 1], 1, 9, (1, 1)),  # no node has two
        ([3, 1], None, 9, (2, 1)),
        ([0, 4, 4], None, 9, (2, 4)),  # the first one only directs the others
        ([2, 6], 3, 9, (3, 2)),
    ],
)
def test_all_actors_find_room(
    registry: torso.Registry, nodes: list[int], workers: int | None, shards: int, expected: tuple[int, int]
) -> None:
    from torso_ray import divide

    assert divide(nodes, workers, shards) == expected


@pytest.mark.parametrize(("nodes", "workers"), [([2, 2], 5), ([2], 0), ([2], -1), ([0], None), ([], 1)])
def test_more_workers_than_processors_are_refused(registry: torso.Registry, nodes: list[int], workers: int | None) -> None:
    from torso_ray import divide

    with pytest.raises(torso.OptionError, match="workers cannot have a processor each"):
        divide(nodes, workers, 9)


class Refuses:
    """Work which refuses each shard, with several errors."""

    def __call__(self, shard: int) -> None:
        raise torso.ManyErrors([torso.DiskError("the disk is full"), torso.OptionError("no", notes=[("fix", "yes")])])


class Dies:
    """Work which ends its process at one shard, each time."""

    def __call__(self, shard: int) -> int:
        if shard == 1:
            os._exit(9)
        return shard


class NotKnown:
    """Work which cannot be opened where it comes to."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise torso.UnknownNameError("unknown architecture 'x'")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("work", "kind", "text"),
    [
        (Refuses, torso.ManyErrors, "the disk is full\nno\n  fix: yes"),
        (NotKnown, torso.UnknownNameError, "unknown architecture 'x'"),
        (Dies, torso.PluginError, "a worker of Ray failed\n  cause: .*"),
    ],
)
def test_what_fails_in_a_worker_is_an_error_of_torso(
    registry: torso.Registry, work: type, kind: type[torso.TorsoError], text: str
) -> None:
    cloudpickle = pytest.importorskip("ray").cloudpickle
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # workers cannot import a test
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(kind) as caught:
            list(registry.engines.resolve("ray").value.run(work(), range(3), None))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert re.match(text, str(caught.value))
    assert signal.getsignal(signal.SIGTERM) is before  # Ray has its own


def found(*words: str) -> list[str]:
    """What ``pgrep`` finds."""
    return subprocess.run(["pgrep", *words], capture_output=True, text=True, check=False).stdout.split()


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
    pictures = photos / "pictures.txt"
    pictures.write_text("\n".join(["b/gone.jpg", *(f"{'ab'[number % 2]}/{number}.jpg" for number in range(40))]))
    backbone = torso.create_backbone("MobileNet", alpha=0.25, input_shape=(32, 32, 3), weights=None, seed=1)

    def extract(out: str, source: Any = pictures, prefix: str = "", **options: Any) -> dict[str, bytes]:
        torso.extract(backbone, source, f"{prefix}{tmp_path / out}", shard=4, registry=registry, **options)
        return {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}

    quiet = extract("quiet", progress=lambda *counts: None)
    killed: list[int] = []

    def kill_one(done: int, pictures: int, failed: int) -> None:
        if done and not killed:
            (own,) = found("-P", str(os.getpid()), "-f", "raylet/raylet")
            killed.append(int(found("-P", own, "-f", "ray::.*Map")[0]))
            os.kill(killed[0], signal.SIGKILL)

    assert extract("ray", engine="ray", workers=2, progress=kill_one) == quiet
    assert killed
    extract("address", pictures.as_uri(), "file://", engine="ray", progress=lambda *counts: None)
    for one in map(torso.Features, (tmp_path / "ray", (tmp_path / "address").as_uri())):
        assert [path for path, error in one.failed()] == ["a/0.jpg", "b/gone.jpg"]
        assert (one.arrays().features == torso.Features(tmp_path / "quiet").arrays().features).all()
    with pytest.raises(torso.OptionError, match="999 workers cannot have a processor each"):
        extract("many", engine="ray", workers=999, progress=lambda *counts: None)
    with pytest.raises(torso.IntegrityError, match=r"'a/0\.jpg' is no picture"):
        extract("strict", engine="ray", strict=True, progress=lambda *counts: None)
