"""A manifest is read and written without a change."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from torso.artifact.documents import digest_of
from torso.artifact.manifest import SavedManifest

WRITTEN = sorted((Path(__file__).parents[1] / "fixtures" / "written_by_0_1_0" / "saved").glob("*/manifest.json"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.parent.name)
def test_a_manifest_of_torso_0_1_0_is_written_again_byte_for_byte(path: Path) -> None:
    document = json.loads(path.read_text())
    manifest = SavedManifest.from_json(document)
    assert manifest.text().encode() == path.read_bytes()
    assert digest_of(manifest.to_json()) == document["digest"]
    assert {field.name for field in fields(manifest)} | {"manifest", "digest"} == document.keys()


def test_a_fact_that_a_later_torso_adds_is_left_out() -> None:
    document = json.loads(WRITTEN[0].read_text())
    assert SavedManifest.from_json({**document, "colour": "red"}).to_json() == document
