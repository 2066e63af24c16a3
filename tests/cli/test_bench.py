from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import torso as api
from torso.cli.commands import bench_command
from torso.cli.commands.bench_command import _installed as installed
from torso.export import isolated

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
ODD = """
import shutil, torso

def write(saved_model, folder):
    shutil.copytree(saved_model, folder, dirs_exist_ok=True)

def open_fast(folder, threads, precision="float32"):
    import tensorflow as tf
    loaded = tf.saved_model.load(str(folder))
    change = 1.01 if precision == "bfloat16" else 1
    return lambda images: {"drop": change * loaded.signatures["serving_default"](images=tf.constant(images))["drop"].numpy()}

def open_off(folder, threads):
    return open_fast(folder, threads, "bfloat16")

def open_alone(folder, threads):
    several = open_fast(folder, threads)
    def features(images):
        if len(images) == 1:
            raise ValueError("a single one")
        return several(images)
    return features

@torso.hookimpl
def torso_export_formats():
    for way, more in ("fast", {"precisions": ["float32", "bfloat16"]}), ("off", {}), ("alone", {}), ("onnx", {}):
        yield torso.ExportFormat(name=way, doc="", write=f"{__name__}:write", open=f"{__name__}:open_{way}", **more)
    yield torso.ExportFormat(name="wanting", doc="", write="a:b", open="a:c", needs=["no_such_module"])
"""


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> api.Backbone:
    """A saved backbone, pictures and a plugin beside the command line; conversions run here."""
    registry = api.Registry.load(discover=False, plugins_dirs=[TINY])
    backbone = api.create_backbone("TinyNet", name="edge", weights="none", registry=registry)
    backbone.save(tmp_path / "edge")
    for folder in "plugins", "photos":
        (tmp_path / folder).mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(ODD)
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    monkeypatch.setattr(isolated, "_run", lambda folder: isolated.answer(str(folder)) or 0)  # type: ignore[func-returns-value]
    offered, used = bench_command._installed, ("keras", "tensorflow", "fast", "off", "alone")
    monkeypatch.setattr(bench_command, "_installed", lambda each: [one for one in offered(each) if one[0] in used])
    return backbone


def test_bench_measures_what_works_and_names_the_best(torso, edge, monkeypatch):
    calls = {}
    costs = {0: 0.2, 1: 0.3, 3: 0.1, 4: 0.0123}  # seconds for an image, by row

    def measured(given):
        calls.update(given)
        return {(row, n): [(n * costs[row] * t, n / 1234 * t) for t in (0.5, 1, 1, 9)] for row, n in given}

    monkeypatch.setattr(bench_command, "in_turns", measured)
    words = "bench", "edge", "--plugins-dir", "plugins"
    result = torso(*words)
    title, _, *rows, blank, take = result.out.rstrip("\n").split("\n")
    assert title == "runtime        1: images/s  CPU ms  32: images/s  CPU ms    error    cosine"
    assert [row.split() for row in rows] == [
        ["tensorflow", "1,234", "200", "1,234", "200", f"{edge.runtime(pool='avg').error:.1e}", "1.000000"],
        ["keras", "1,234", "300", "1,234", "300", "0.0e+00", "1.000000"],
        ["alone", "failed", "-", "failed", "-", "-", "-"],
        ["fast", "1,234", "100", "1,234", "100", rows[3].split()[-2], "1.000000"],
        ["fast", "bfloat16", "1,234", "12.3", "1,234", "12.3", "1.0e-02", "1.000000"],
        ["off", "failed", "-", "failed", "-", "-", "-"],
    ]
    assert (blank, take) == ("", "take fast, which needs 100 CPU ms for an image: torso extract --runtime fast")
    assert result.code == 3
    alone, off = result.errors.split("error: ")[1:]
    assert alone.startswith("runtime 'alone' failed: ValueError: a single one\n")
    assert off.startswith("runtime 'off' gives another feature 'drop' than the Keras model: off by 1.0e-02 of its")

    told = torso(*words, "--images", "photos", "--json").json
    assert (told["take"], told["runtimes"][2]["failed"]) == ("fast", "runtime 'alone' failed: ValueError: a single one")
    assert told["runtimes"][4]["batch_32"] == {"images_per_second": pytest.approx(1234), "cpu_ms": pytest.approx(12.3)}
    pixels = edge.transform(sorted(Path("photos").iterdir())[:32])
    for (_, count), call in calls.items():
        np.testing.assert_array_equal(call.args[0], pixels[:count])


def test_what_is_not_installed_is_not_measured_and_a_name_that_two_offer_is_written_in_full(torso, edge):
    registry = api.Registry.load(discover=False, plugins_dirs=["plugins"])
    offered = [*installed(registry)]
    assert {"wanting", "onnx"}.isdisjoint(name for name, _ in offered)
    assert ("odd/onnx", "float32") in offered


def test_calls_take_turns_and_the_first_round_only_tells_how_often(monkeypatch):
    now = SimpleNamespace(cpu=0.0, wall=0.0)
    log = []

    def call(name: str, cpu: float, *walls: float):
        later = iter(walls)

        def one() -> None:
            log.append(name)
            now.cpu += cpu
            now.wall += next(later, walls[-1])

        return one

    monkeypatch.setattr(bench_command, "process_time", lambda: now.cpu)
    monkeypatch.setattr(bench_command, "perf_counter", lambda: now.wall)
    found = bench_command.in_turns({"a": call("a", 2, 9, 7, 1), "b": call("b", 0.5, 0.0625, 0.25)}, rounds=2)
    assert log == ["a", "b", "a", "b", "b", "a", "b", "b"]
    assert found == {"a": [(2, 7), (2, 1)], "b": [(0.5, 0.25), (0.5, 0.25)]}
