"""What torso 0.1.0 wrote still loads, verifies and is still what its lock says."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import torso
from torso.artifact.documents import digest_of
from torso.artifact.manifest import SavedManifest, versions

WRITTEN = Path(__file__).parents[1] / "fixtures" / "written_by_0_1_0"
PLUGINS = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
NAMES = ("edge", "pyramid", "grey")
MANIFESTS = sorted((WRITTEN / "saved").glob("*/manifest.json"))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[torso.Registry]:
    """The plugin that the fixtures were made with, as the module ``tiny``."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    yield torso.Registry.load(plugins=["tiny"])
    sys.modules.pop("tiny", None)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixtures as the current folder; relative weights files are found there."""
    folder = tmp_path / "written"
    shutil.copytree(WRITTEN, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_backbone_loads_and_verifies(name):
    backbone = torso.load(WRITTEN / "saved" / name)
    assert backbone.name == name
    verification = torso.verify(WRITTEN / "saved" / name)
    assert verification.holds, [check for check in verification.checks if not check.holds]


def test_the_lock_still_holds(written, registry):
    made_with = json.loads((written / "backbones.lock.json").read_text())["backbones"]["edge"]["made_with"]
    if versions() != made_with:
        pytest.skip(f"the lock is for {made_with}")
    backbones = torso.load_specs("backbones.yaml", registry=registry, locked=True)
    assert [backbones[name].name for name in NAMES] == [*NAMES]


def test_a_manifest_written_today_is_the_same(written, registry):
    """But for what names this machine and this moment: the plugin's file, and the model file, which holds the time."""
    backbones = torso.load_specs("backbones.yaml", registry=registry)
    for name in NAMES:
        now = json.loads((backbones[name].save(written / "now" / name) / "manifest.json").read_text())
        then = json.loads((WRITTEN / "saved" / name / "manifest.json").read_text())
        for manifest in now, then:
            for fact in "made_with", "digest", "files":
                del manifest[fact]
            del manifest["plan"]["provider"]
            del manifest["weights_file"]["path"]
        assert now == then


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_a_manifest_of_torso_0_1_0_is_written_again_byte_for_byte(path):
    document = json.loads(path.read_text())
    manifest = SavedManifest.from_json(document)
    assert manifest.text().encode() == path.read_bytes()
    assert digest_of(manifest.to_json()) == document["digest"]
    assert {field.name for field in fields(manifest)} | {"manifest", "digest"} == document.keys()


def test_a_fact_that_a_later_torso_adds_is_left_out():
    document = json.loads(MANIFESTS[0].read_text())
    assert SavedManifest.from_json({**document, "colour": "red"}).to_json() == document
