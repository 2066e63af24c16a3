"""Cuts that make no sense, on real networks: each refusal by its whole message, as fixtures/bad_cuts.yaml has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from graphs import FIXTURES, registry

import torso

CASES = yaml.safe_load((FIXTURES / "bad_cuts.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['architecture']}-{case['truncate']}")
def test_a_cut_that_makes_no_sense_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(torso.TorsoError) as caught:
        torso.plan(case["architecture"], weights="none", truncate=case["truncate"], registry=registry())
    assert str(caught.value) == case["message"]


def test_a_cut_that_makes_no_sense_is_refused_before_weights_are_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*arguments: Any, **more: Any) -> None:
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", connect)
    monkeypatch.setattr("keras.utils.get_file", connect)
    monkeypatch.setattr("torso.files.download.download", connect)
    with pytest.raises(torso.UnknownNameError, match="node 'block_99_add' is not in MobileNetV2"):
        torso.create_backbone("MobileNetV2", truncate={"layer": "block_99_add"}, registry=registry())
    with pytest.raises(Exception, match="nothing is to be fetched"):
        torso.create_backbone("MobileNetV2", truncate={"layer": "block_12_add"}, registry=registry())
