"""Specs of torso 0.1.0 still build what they built; its manifests and locks say what to do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from saved import TINY

import torso
from torso.artifact.documents import digest_of, text_of
from torso.artifact.manifest import SavedManifest

WRITTEN = Path(__file__).parents[1] / "fixtures" / "written_by_0_1_0"
NAMES = ("edge", "pyramid", "grey")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[torso.Registry]:
    """The plugin that the fixtures were made with, as the module ``tiny``."""
    monkeypatch.syspath_prepend(str(TINY))
    yield torso.Registry.load(plugins=["tiny"])
    sys.modules.pop("tiny", None)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixtures as the current folder; relative weights files are found there."""
    folder = tmp_path / "written"
    shutil.copytree(WRITTEN, folder)
    monkeypatch.chdir(folder)
    return folder


def test_its_specs_build_the_same_backbones(written, tiny):
    backbones = torso.load_specs("backbones.yaml", registry=tiny)
    for name in NAMES:
        now = json.loads((backbones[name].save(written / "now" / name) / "manifest.json").read_text())
        then = json.loads((WRITTEN / "saved" / name / "manifest.json").read_text())
        for fact in "variables", "probe", "features", "dropped", "preprocessing":
            assert now[fact] == then[fact]
        for fact in "frozen", "trainable", "trains", "adapts", "silenced", "everything":
            assert now["frozen"][fact] == then["frozen"][fact]


def test_its_manifests_and_locks_say_build_again_and_lock_again(written, tiny):
    for look in torso.load, torso.verify:
        with pytest.raises(torso.IntegrityError) as caught:
            look("saved/edge")
        assert str(caught.value) == (
            "'saved/edge/manifest.json' is a manifest of version 2, and this torso reads version 3\n"
            "  fix: build it again from its spec"
        )
    with pytest.raises(torso.IntegrityError) as caught:
        torso.load_specs("backbones.yaml", registry=tiny, locked=True)
    assert str(caught.value) == (
        "'backbones.lock.json' is a lock of version 1, and this torso reads version 2\n"
        "  fix: lock again: torso lock backbones.yaml --force"
    )


def test_a_backbone_of_it_is_replaced_with_force(written, tiny):
    folder = torso.load_specs("backbones.yaml", registry=tiny)["edge"].save("saved/edge", force=True)
    assert torso.verify(folder).holds


def test_a_manifest_is_written_again_byte_for_byte(saved):
    text = (saved / "manifest.json").read_text()
    manifest, document = SavedManifest.from_json(json.loads(text)), json.loads(text)
    assert text_of(manifest.to_json()) == text
    assert digest_of(manifest.to_json()) == document["digest"]
    assert {field.name for field in fields(manifest)} | {"manifest", "digest"} == document.keys()


def test_a_fact_that_a_later_torso_adds_is_left_out(saved):
    document = json.loads((saved / "manifest.json").read_text())
    assert SavedManifest.from_json({**document, "colour": "red"}).to_json() == document
