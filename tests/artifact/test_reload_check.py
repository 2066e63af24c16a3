"""Nothing is published that a fresh process with plain Keras does not read as what was built."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images, settle

import torso
from torso.artifact import reload_check as proving
from torso.plugins.registry import Registry

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"


@pytest.fixture
def backbone() -> torso.Backbone:
    made = torso.create_backbone("TinyNet", weights="none", registry=Registry.load(plugins_dirs=[TINY], discover=False))
    settle(made.model, images((8, 8, 3)))
    return made


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[keras.Model], Any]) -> None:
    """Have Keras write another model than the one that it is told to."""
    write = keras.Model.save

    def other(model: keras.Model, path: Path) -> None:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        changed = change(copy)
        write(changed if isinstance(changed, keras.Model) else copy, path)

    monkeypatch.setattr(keras.Model, "save", other)


def add_to_last_bias(model: keras.Model) -> None:
    bias = model.get_layer("right").bias
    bias.assign(bias + np.float32([0, 0, 0, 1e-6]))


def wake(model: keras.Model) -> None:
    model.get_layer("drop").rate = 0.5


def double(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.output * 2, name=model.name)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (add_to_last_bias, "its weights are not those of the model"),
        (wake, "it is frozen, and gives other features in training all the same"),
        (double, "its features differ by 1.0e+00 of the largest"),
    ],
)
def test_a_model_that_reads_back_otherwise_is_not_published(
    backbone: torso.Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[keras.Model], Any],
    cause: str,
) -> None:
    before = backbone.save(tmp_path / "edge")
    old = {path.name: path.read_bytes() for path in before.iterdir()}
    spoil(monkeypatch, change)
    with pytest.raises(torso.IntegrityError) as caught:
        backbone.save(tmp_path / "edge", force=True)
    assert str(caught.value) == (
        "model.keras is not the model that it was written from, as a fresh process reads it\n"
        f"  cause: {cause}\n"
        "  fix: try again; if it fails again, the network has what Keras does not save"
    )
    assert {path.name: path.read_bytes() for path in before.iterdir()} == old
    assert [path.name for path in tmp_path.iterdir()] == ["edge"]


def test_a_file_that_is_damaged_on_its_way_to_the_disk_is_not_published(
    backbone: torso.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = keras.Model.save

    def damaged(model: keras.Model, path: Path) -> None:
        write(model, path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)

    monkeypatch.setattr(keras.Model, "save", damaged)
    with pytest.raises(torso.IntegrityError, match="as a fresh process reads it\n  cause: "):
        backbone.save(tmp_path / "edge")
    assert list(tmp_path.iterdir()) == []


def test_the_fresh_process_never_imports_torso(backbone: torso.Backbone, tmp_path: Path) -> None:
    folder = backbone.save(tmp_path / "edge")
    code = (
        "import json, sys; sys.modules['torso'] = None\n"
        f"sys.argv = ['witness', {__import__('json').dumps(sys.path)!r}]\n"
        "import runpy, numpy\n"
        f"names = runpy.run_path({proving.witness.__file__!r})\n"
        f"numpy.save({str(tmp_path / 'images.npy')!r}, numpy.zeros((1, 8, 8, 3), 'float32'))\n"
        f"found = names['look_at']({str(folder / 'model.keras')!r}, {str(tmp_path / 'images.npy')!r}, "
        f"{str(tmp_path / 'features.npz')!r}, True)\n"
        "print(len(found['weights']), found['trains'], found['same_in_training'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "6 [] True\n"


def test_a_process_that_has_gone_is_started_again(backbone: torso.Backbone, tmp_path: Path) -> None:
    backbone.save(tmp_path / "first")
    process = proving._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    backbone.save(tmp_path / "second")
    assert proving._process is not None
    assert proving._process.pid != process.pid


def test_a_process_that_dies_over_a_question_is_asked_once_more_anew(
    backbone: torso.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proving._end()
    program = tmp_path / "faints.py"
    program.write_text(
        "import pathlib, runpy, sys\n"
        f"mark = pathlib.Path({str(tmp_path / 'fainted')!r})\n"
        "if not mark.exists():\n"
        "    sys.stdin.readline()\n"
        "    mark.touch()\n"
        "    raise SystemExit(1)\n"
        f"runpy.run_path({proving.witness.__file__!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(proving.witness, "__file__", str(program))
    assert backbone.save(tmp_path / "edge").is_dir()
    assert (tmp_path / "fainted").exists()
    proving._end()


def test_a_process_that_keeps_dying_is_an_error_that_says_so(
    backbone: torso.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proving._end()
    program = tmp_path / "dies.py"
    program.write_text("raise SystemExit('no room for me')")
    monkeypatch.setattr(proving.witness, "__file__", str(program))
    with pytest.raises(torso.IntegrityError, match="cause: the process that was to read it ended with 1: no room for me"):
        backbone.save(tmp_path / "edge")
    proving._end()
    assert [path.name for path in tmp_path.iterdir()] == ["dies.py"]


def test_the_process_ends_with_the_one_that_asks() -> None:
    code = "from torso.modeling import proving\nproving.start()\nprint(proving._process.pid)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(run.stdout), 0)
    assert "ResourceWarning" not in run.stderr
