"""``torso extract``: features in files, by the exit codes; ``torso verify`` reads every byte of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import torso as api


@pytest.fixture
def spec(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(
        "version: 1\nbackbones:\n  edge: {architecture: TinyNet, weights: {none: {seed: 1}}}\n"
    )
    for number in range(6):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9, 3)).astype("uint8")).save(path)
    return "tiny.yaml"


def test_features_of_a_folder(torso: Any, spec: str, tmp_path: Path) -> None:
    accuracy = "keras in float32: off by 0.0e+00 from Keras, mean cosine 1.000000\n"
    words = "extract", spec, "edge", "photos", "-o", "out", "--runtime", "keras", "--shard", "4"
    done = torso(*words)
    assert done.code == 0
    assert done.out == (
        "feature  shape  type\n"
        "───────  ─────  ───────\n"
        "drop         4  float32\n"
        "\n"
        "out: 6 pictures in 2 files\n"
        f"{accuracy}"
    )  # fmt: skip
    assert done.err.endswith("0 of 6 pictures, 0 failed\n4 of 6 pictures, 0 failed\n6 of 6 pictures, 0 failed\n")
    arrays = api.Features(tmp_path / "out").arrays()
    assert (arrays.features.shape, [*arrays.labels]) == ((6, 4), [*"aaabbb"])
    (tmp_path / "photos/a/0.png").write_bytes(b"")
    again = torso(*words, "-q")
    assert (again.code, "pictures" in again.err) == (0, False)  # nothing was left to do
    assert done.out.startswith(again.out)
    record = tmp_path / "out/extraction.json"
    was = record.read_text()
    record.write_text(was.replace('"runtime_error": 0.0', '"runtime_error": 0.041'))  # as bfloat16 may be
    assert torso(*words).out.endswith("\nkeras in float32: off by 4.1e-02 from Keras, mean cosine 1.000000\n")
    record.write_text(was)
    failed = torso(*words[:5], "fresh", *words[6:], "--json")
    assert (failed.code, failed.json["failed"], failed.json["pictures"]) == (3, 1, 6)
    told = torso(*words[:5], "fresh", *words[6:])
    reason = "  a/0.png: 'a/0.png' is no picture that can be decoded; it is empty\n"
    assert told.out.endswith(
        f"fresh: 6 pictures in 2 files; 1 failed, with the reason in column 'error':\n{reason}{accuracy}"
    )
    assert torso(*words, "--pool", "max").errors == (
        "error: 'out' holds another extraction\n"
        "  differs: pool: 'avg' → 'max'\n"
        "  fix: choose another folder, or the same backbone, options and pictures\n"
    )
    address = (tmp_path / "out").as_uri()
    for place in "out", address:
        assert torso("verify", place).out.startswith(f"{place}: matches its manifest\n")
    (tmp_path / "out/part-00001.parquet").write_bytes(b"PAR1")
    verified = torso("verify", "out")
    assert verified.code == 7
    assert verified.errors.startswith(
        "error: 'out' does not match its manifest\n  parts: 'part-00001.parquet' of 'out' is damaged"
    )
    assert torso("verify", address, "--json").json["verified"][0]["folder"] == address
    assert torso("verify", "file:///nowhere").errors.startswith("error: 'file:///nowhere' holds no features: it has no")
    assert torso("extract", "out", "-o", "x").code == 2
    assert torso(*words[:2], *words[3:]).code == 0  # the only backbone of the spec
    (tmp_path / "two.yaml").write_text((tmp_path / spec).read_text() + "  other: {architecture: TinyNet, weights: none}\n")
    assert torso("extract", "two.yaml", "photos", "-o", "x").errors == (
        "error: 'two.yaml' has 2 backbones\n  fix: torso extract two.yaml edge SOURCE -o OUT\n"
    )
    assert torso("extract", spec, "edge", "nowhere", "-o", "x").errors.startswith("error: 'nowhere' is no folder")
