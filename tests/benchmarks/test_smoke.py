"""Each benchmark runs, with the smallest case that it knows: what it measures is no matter here."""

from __future__ import annotations

import io
import re
import runpy
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

FOLDER = Path(__file__).parent
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(name: str, *arguments: str, **replaced: Any) -> str:
        """What a benchmark prints for these arguments, with some of its names replaced."""
        main: FunctionType = runpy.run_path(str(FOLDER / name))["main"]
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        for key, value in replaced.items():
            monkeypatch.setitem(main.__globals__, key, value(main.__globals__))
        with redirect_stdout(io.StringIO()) as out:
            main()
        return out.getvalue()

    return run


def test_every_benchmark_has_a_smoke_run() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in FOLDER.glob("*.py")} - {"test_smoke"} <= tested


@pytest.mark.parametrize("left_out", [["frozen", "layer_names"], pytest.param([], marks=pytest.mark.slow)])
def test_compare(run: Run, left_out: list[str]) -> None:
    assert "10 (" in run("compare.py", "VGG16", **{name: lambda names: str for name in left_out})


def test_graph(run: Run) -> None:
    assert "154 nodes" in run("graph.py", "1", NETWORKS=lambda names: ["MobileNetV2"])


def test_guard(run: Run) -> None:
    assert "a step of nothing" in run("guard.py", "1", "3", CASES=lambda names: dict([*names["CASES"].items()][:1]))


def test_infer(run: Run) -> None:
    tiny = {
        "architecture": "MobileNet",
        "options": {"alpha": 0.25},
        "input": {"size": [32, 32]},
        "truncate": {"level": "C1"},
    }
    head, *rows = (
        run("infer.py", "1", SPEC=lambda names: tiny, LIMITS=lambda names: {"tensorflow": {32: 4}})
        .split("\n\n")[1]
        .split("\n")
    )
    assert head.split()[:2] == ["images", "runtime"]
    assert [row.split()[:2] for row in rows[:4]] == [[n, name] for n in ("1", "32") for name in ("predict", "tensorflow")]


def in_this_process(main: Callable[[], None], *arguments: str) -> str:
    """What a benchmark prints that would otherwise be a new process."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setattr(sys, "argv", ["", *arguments])
        main()
    return out.getvalue()


def test_saved(run: Run) -> None:
    def first(names: dict[str, Any]) -> Any:
        return lambda name, folder, way: float(in_this_process(names["main"], "--first", name, way, str(folder)))

    small = {"MobileNet": {"options": {"alpha": 0.25}, "truncate": {"level": "C1"}}}
    assert "MobileNet " in run("saved.py", "1", CASES=lambda names: small, first=first)


def test_start(run: Run) -> None:
    tensorflow = [sys.executable, "-c", "pass"]  # to import it takes 4 s
    assert "a spec of 500 backbones" in run("start.py", "1", TENSORFLOW=lambda names: tensorflow)


def test_build(run: Run) -> None:
    def small(names: dict[str, Any]) -> dict[str, Any]:
        return {"small": names["Case"]("MobileNet", "conv_pw_3_relu", {"layer": "conv_pw_3_relu"}, 1, 40)}

    printed = run("build.py", "1", run=lambda names: partial(in_this_process, names["main"]), CASES=small)
    assert "small " in printed
    assert "OTHER FEATURES" not in printed


def test_extract(run: Run) -> None:
    small = {"MobileNet": ({"alpha": 0.25, "input_shape": (32, 32, 3)}, {"tensorflow": ({}, 1.0)})}
    printed = run("extract.py", "1", "20", CASES=lambda names: small, peak=lambda names: lambda photos, times: 100.0 * times)
    assert "MobileNet: tensorflow " in printed
    assert "image_dataset_from_directory " in printed
    assert "peak memory: 3300 MB at 660 pictures" in printed


def test_probe(run: Run) -> None:
    printed = run("probe.py", "1", "4", CASES=lambda names: {"DigitNet": {}})
    assert re.match(r"DigitNet: 5 cuts / the last alone  \d\.\d\d \(", printed)


def test_size(run: Run) -> None:
    first, *rows = run("size.py").split("\n\n")[0].split("\n")
    assert first.split() == ["measured", "limit"]
    assert len(rows) == 11
    assert all(row.endswith(("  ok", "  BROKEN")) for row in rows)
