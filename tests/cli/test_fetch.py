from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import keras
import pytest
from loopback import serving
from saved import contents

BASE = """\
version: 1
defaults:
  input: {size: [8, 8]}
  freeze: none
backbones:
  below:
    architecture: TinyNet
    weights: {file: tiny.h5}
    truncate: {pop: {count: 1, allow_partial: false}}
"""

SPEC = """\
version: 1
extends: specs/base.yaml
backbones:
  mobile: {architecture: MobileNetV2, options: {alpha: 0.35}, input: {size: [96, 96]}, freeze: all}
  remote: {architecture: TinyNet, weights: {url: "%s", sha256: %s}, truncate: {layer: stem}}
  twin: {architecture: TinyNet, weights: {file: specs/../specs/tiny.h5}}
  other: {architecture: TinyNet, options: {width: 8}, weights: {file: tiny.h5}, freeze: all}
  grey: {architecture: TinyNet, weights: {file: specs/tiny.h5}, input: {channels: 1, adapt: mean}}
  blank: {architecture: TinyNet, weights: none}
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A spec with weights from everywhere, of a few bytes each; MobileNetV2's are in the cache."""
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    (models / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5").write_bytes(b"mobile")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "base.yaml").write_text(BASE)
    (tmp_path / "specs" / "tiny.h5").write_bytes(b"four")
    (tmp_path / "tiny.h5").write_bytes(b"eight")
    with serving() as server:
        server.files["/remote/tiny.h5"] = b"remote"
        sha256 = hashlib.sha256(server.files["/remote/tiny.h5"]).hexdigest()
        (tmp_path / "spec.yaml").write_text(SPEC % (server.url("/remote/tiny.h5"), sha256))
        yield server


def test_a_bundle_is_the_same_plan_with_weights_beside_it(torso, server, tmp_path, monkeypatch):
    before = torso("plan", "spec.yaml", "--json").json["plans"]
    result = torso("fetch", "spec.yaml", "--to", "deep/bundle", "--json")
    assert result.code == 0, result.err
    assert result.json["spec"] == "deep/bundle/spec.yaml"
    copied = contents(tmp_path / "deep" / "bundle")
    mobile = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    remote = next(name for name in copied if name.endswith("-tiny.h5") and not name.startswith("weights/2-"))
    assert copied == {
        "spec.yaml": copied["spec.yaml"], mobile: b"mobile", remote: b"remote", "weights/tiny.h5": b"four",
        "weights/2-tiny.h5": b"eight",
    }  # fmt: skip
    files = {one["name"]: one["file"] for one in result.json["fetched"]}
    assert files == {
        "below": "weights/tiny.h5", "mobile": mobile, "remote": remote, "twin": "weights/tiny.h5",
        "other": "weights/2-tiny.h5", "grey": "weights/tiny.h5", "blank": None,
    }  # fmt: skip
    for one in result.json["fetched"]:
        data = copied.get(one["file"])
        assert one["bytes"] == (None if data is None else len(data))
        assert one["sha256"] == (None if data is None else hashlib.sha256(data).hexdigest())

    (tmp_path / "deep").rename(tmp_path / "moved")
    monkeypatch.setenv("TORSO_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "nothing"))
    after = torso("plan", "moved/bundle/spec.yaml", "--json").json["plans"]
    for old, new in zip(before, after, strict=True):
        assert {**new, "weights": None, "warnings": None} == {**old, "weights": None, "warnings": None}
        assert new["warnings"] == []
        file = files[new["name"]]
        if file is not None:
            assert new["weights"]["file"] == f"moved/bundle/{file}"
            assert new["weights"]["sha256"] == hashlib.sha256(copied[file]).hexdigest()
    assert len(server.asked) == 1


@pytest.mark.slow
def test_a_bundle_builds_what_the_spec_builds(torso, monkeypatch):
    small = {"input_shape": (96, 96, 3), "alpha": 0.35, "include_top": False, "weights": None}
    keras.applications.MobileNetV2(**small).save_weights("own.weights.h5")
    spec = "{version: 1, backbones: {edge: {architecture: MobileNetV2, options: {alpha: 0.35}, input: {size: [96, 96]}, "
    Path("own.yaml").write_text(spec + "weights: {file: own.weights.h5}, truncate: {level: C3}}}}")
    assert torso("fetch", "own.yaml", "--to", "bundle").code == 0
    assert torso("build", "own.yaml", "-o", "direct").code == 0
    Path("own.weights.h5").unlink()
    assert torso("build", "bundle/own.yaml", "-o", "bundled").code == 0
    one, other = (json.loads(Path(place, "edge", "manifest.json").read_text()) for place in ("direct", "bundled"))
    for key in ("variables", "probe", "preprocessing", "frozen"):
        assert one[key] == other[key]


def test_fetch_ends_with_a_table_of_files_and_the_command_that_builds_them(torso, server):
    result = torso("fetch", "spec.yaml", "below", "blank", "--to", "my bundle")
    assert re.sub("─+", "─", result.out).split("\n") == [
        "name   file     size  from",
        "─  ─  ─  ─",
        "below  tiny.h5   4 B  specs/tiny.h5",
        "blank  -           -  random initialisation",
        "",
        "build it offline:",
        "  torso build 'my bundle/spec.yaml' -o backbones",
        "",
    ]
    assert result.err.split("\n") == [
        "below: warning: specs/tiny.h5 is taken on trust: give its sha256 to have it checked",
        "below: getting weights",
        "",
    ]


@pytest.mark.parametrize(("words", "line"), [("fetch --to out", "downloading"), ("build -o out", "remote: downloading")])
def test_a_download_is_reported(torso, server, words, line):
    command, *options = words.split()
    assert f"\n{line} tiny.h5: 0.0 of 0.0 MB\n" in torso(command, "spec.yaml", "remote", *options).err


def test_a_failed_fetch_leaves_no_bundle_and_tells_of_all_that_failed(torso, server, tmp_path):
    server.files["/remote/tiny.h5"] = b"other bytes"
    result = torso("fetch", "spec.yaml", "--to", "deep/bundle")
    assert (result.code, result.out) == (7, "")
    assert result.errors.startswith(
        f"error: the download of '{server.url('/remote/tiny.h5')}' is not the published file (at "
    )
    assert os.listdir(tmp_path / "deep") == []
    server.script = [lambda request: request.head(500, Content_Length=0)]
    assert torso("fetch", "spec.yaml", "remote", "--to", "bundle").code == 5
    assert not (tmp_path / "bundle").exists()


def test_offline_fetch_says_what_is_missing_before_it_starts(torso, server, tmp_path, monkeypatch):
    monkeypatch.setenv("TORSO_OFFLINE", "1")
    result = torso("fetch", "spec.yaml", "--to", "bundle")
    assert result.code == 5
    assert "TORSO_OFFLINE forbids to download it (at spec.yaml:5:" in result.err
    assert torso("check", "spec.yaml").code == 5
    assert not (tmp_path / "bundle").exists()
    assert server.asked == []


def test_force_replaces_a_bundle_and_nothing_else(torso, server, tmp_path):
    bundle = tmp_path / "bundle"
    torso("fetch", "spec.yaml", "below", "--to", "bundle")
    before = contents(bundle)
    refused = torso("fetch", "spec.yaml", "twin", "--to", "bundle")
    assert (refused.code, contents(bundle)) == (2, before)
    assert "'bundle' already exists\n  fix: choose another name, or replace it with --force" in refused.err
    assert torso("fetch", "spec.yaml", "other", "--to", "bundle", "--force").code == 0
    written = (bundle / "spec.yaml").read_text()
    assert ("  other:" in written, "  below:" in written) == (True, False)
    for name in ("photo.jpg", "weights/mine.h5"):
        (bundle / name).write_text("dear")
        refused = torso("fetch", "spec.yaml", "twin", "--to", "bundle", "--force")
        assert (refused.code, (bundle / name).read_text()) == (2, "dear")
        assert "it is not an earlier result, or holds other files too" in refused.err
        (bundle / name).unlink()
    (bundle / "spec.yaml").write_text(written.partition("\n")[2])  # as somebody would write it
    assert torso("fetch", "spec.yaml", "twin", "--to", "bundle", "--force").code == 2
