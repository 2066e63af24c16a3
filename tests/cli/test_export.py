from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import settle

import torso as door
from torso.artifact.reference_outputs import reference_images

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLUGINS = ("--plugins-dir", str(FIXTURES / "export_formats"))

keras.ops.zeros(())  # by now TensorFlow has logged what it logs at its start


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = door.Registry.load(discover=False, plugins_dirs=[FIXTURES / "plugin_folder"])
    twins = {"layers": ["right", "left"]}
    backbone = door.create_backbone("TinyNet", name="edge", weights="none", truncate=twins, registry=registry)
    settle(backbone.model, np.asarray(backbone.preprocess(reference_images(8, 8, 3))))
    return backbone.save(tmp_path_factory.mktemp("original") / "edge")


@pytest.fixture
def edge(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved backbone beside the command line, and its features where the fixture's formats look for them."""
    backbone = door.load(original)
    given = backbone.model(backbone.preprocess(reference_images(8, 8, 3)))
    np.savez(tmp_path / "features.npz", **{name: np.asarray(values) for name, values in given.items()})
    monkeypatch.setenv("TORSO_TEST_FEATURES", str(tmp_path / "features.npz"))
    return Path(shutil.copytree(original, tmp_path / "edge"))


def test_export_ends_with_how_far_each_feature_is_off(torso, edge, tmp_path):
    result = torso("export", "edge", "--to", "faithful", "-o", "deep/out", *PLUGINS)
    assert result.code == 0
    assert re.sub("─+", "─", result.out).split("\n")[:4] == [
        "feature  shape    error   bound",
        "─  ─  ─  ─",
        "right    8×8×4  0.0e+00  0.0001",
        "left     8×8×4  0.0e+00  0.0001",
    ]
    below = " ".join(result.out.split("\n\n")[1].split())
    assert re.sub(r"[0-9.]+ kB", "9.9 kB", below) == (
        f"{Path('deep', 'out')}, 9.9 kB: inner/fingerprint.pb, inner/saved_model.pb, "
        "inner/variables/variables.data-00000-of-00001, inner/variables/variables.index, process and export.json "
        "input: RGB pixels of 0..255, divided by 255"
    )
    assert result.err.split("\n") == [
        "starting TensorFlow",
        "loading edge",
        "writing a SavedModel",
        "converting to faithful",
        "comparing faithful with Keras",
        f"edge: exported to {Path('deep', 'out')}",
        "",
    ]


def test_export_as_json_is_the_record_beside_the_backbone(torso, edge, tmp_path, monkeypatch):
    monkeypatch.chdir(edge)
    told = torso("export", "../edge/", "--to", "odd/faithful", "--json", *PLUGINS).json
    assert Path(told.pop("folder")).resolve() == tmp_path / "edge-faithful"
    assert told == json.loads((tmp_path / "edge-faithful" / "export.json").read_text())
    assert told["backbone"]["manifest"] == json.loads((edge / "manifest.json").read_text())["digest"]
    again = ("export", ".", "--to", "faithful", *PLUGINS)
    assert torso(*again).err.startswith(f"error: '{tmp_path / 'edge-faithful'}' already exists\n")
    assert torso(*again, "--force", "--json").json["backbone"] == told["backbone"]


def test_an_export_that_is_off_ends_with_7_and_leaves_nothing(torso, edge, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = torso("export", "edge", "--to", "noisy", "-o", "out", *PLUGINS)
    assert (result.code, result.out) == (7, "")
    assert result.errors == (
        "error: what export format 'noisy' wrote gives another feature 'right' than the Keras model: off by 1.0e-03 of its "
        "largest value, and 0.0001 is tolerated\n"
        "  left: off by 1.0e-03 of its largest value, and 0.0001 is tolerated\n"
        "  fix: another format; or a larger bound with --bound (Python: bound=), where that is good enough\n"
    )
    assert sorted(path for path in tmp_path.iterdir() if "images.npy" not in path.name) == before
    pictures = torso("export", "edge", "--to", "noisy", "-o", "out", "--images", "none.jpg", *PLUGINS)
    assert (pictures.code, pictures.errors.startswith("error: 'none.jpg' cannot be read")) == (5, True)
    assert torso("export", "edge", "--to", "noisy", "-o", "out", "--bound", "0.01", *PLUGINS).code == 0


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (("edge", "--to", "wanting"), 2, "export format 'wanting' needs no_such_module and nor_this, which are not"),
        (("edge", "--to", "onxx"), 2, "unknown export format 'onxx'"),
        (("edge", "--to", "faithful", "--bound", "nan"), 2, "the bound must be a number from 0 on, as 1e-4, not nan"),
        (("edge", "--to", "faithful", "-o", "edge"), 2, "'edge' already exists, and it is not an earlier result"),
        (("edge", "--to", "faithful", "-o", "file/out"), 5, "nothing can be written in 'file'"),
        (("nowhere", "--to", "faithful"), 2, "'nowhere' holds no saved backbone: it has no manifest.json\n  fix: torso"),
    ],
)
def test_what_can_be_refused_early_is_refused_before_tensorflow_starts(torso, edge, tmp_path, words, code, fact):
    (tmp_path / "file").write_text("")
    result = torso("export", "-o", "out", *words, *PLUGINS)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"error: {fact}")
