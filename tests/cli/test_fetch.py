from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from loopback import breaking_off, serving
from networks import randomize, save_listed

import torso as package
from torso.cli.text import format_bytes
from torso.plugins.registry import Registry

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


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Weights of TinyNet, by its width."""
    plugins = Path(__file__).parents[1] / "fixtures" / "plugin_folder"
    registry = Registry.load(discover=False, plugins_dirs=[plugins])
    files = {}
    for width in (4, 8):
        backbone = package.create_backbone("TinyNet", weights="none", options={"width": width}, registry=registry)
        randomize(backbone.model)
        save_listed(backbone.model, path := tmp_path_factory.mktemp("weights") / "w.h5")
        files[width] = path.read_bytes()
    return files


@pytest.fixture
def server(tmp_path: Path, networks: dict[int, bytes], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A spec with weights from everywhere; MobileNetV2's are in the cache, and no more than a few bytes."""
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    (models / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5").write_bytes(b"mobile")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "base.yaml").write_text(BASE)
    (tmp_path / "specs" / "tiny.h5").write_bytes(networks[4])
    (tmp_path / "tiny.h5").write_bytes(networks[8])
    with serving() as server:
        server.files["/remote/tiny.h5"] = networks[4] + b" "
        sha256 = hashlib.sha256(server.files["/remote/tiny.h5"]).hexdigest()
        (tmp_path / "spec.yaml").write_text(SPEC % (server.url("/remote/tiny.h5"), sha256))
        yield server


def test_a_bundle_is_the_same_plan_with_weights_beside_it(torso, server, tmp_path, networks, monkeypatch):
    before = torso("plan", "spec.yaml", "--json").json["plans"]
    result = torso("fetch", "spec.yaml", "--to", "deep/bundle", "--json")
    assert result.code == 0, result.err
    assert result.json["spec"] == "deep/bundle/spec.yaml"
    copied = content(tmp_path / "deep" / "bundle")
    mobile = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    remote = next(name for name in copied if name.endswith("-tiny.h5") and not name.startswith("weights/2-"))
    assert copied == {
        "spec.yaml": copied["spec.yaml"], mobile: b"mobile", remote: networks[4] + b" ", "weights/tiny.h5": networks[4],
        "weights/2-tiny.h5": networks[8],
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
        changed = {"weights", "warnings"}
        assert {key: new[key] for key in new if key not in changed} == {key: old[key] for key in old if key not in changed}
        assert new["warnings"] == []
        file = files[new["name"]]
        assert new["weights"]["label"] == ("none" if file is None else "file")
        if file is not None:
            assert new["weights"]["file"] == f"moved/bundle/{file}"
            assert new["weights"]["sha256"] == hashlib.sha256(copied[file]).hexdigest()
    assert len(server.asked) == 1


def test_a_bundle_builds_what_the_spec_builds(torso, server, tmp_path, monkeypatch):
    server.files["/remote/tiny.h5"] = b"broken"
    wanted = ("below", "other", "grey")
    torso("fetch", "spec.yaml", *wanted, "--to", "bundle")
    assert torso("build", "spec.yaml", *wanted, "-o", "direct").code == 0
    monkeypatch.setenv("TORSO_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "nothing"))
    assert torso("build", "bundle/spec.yaml", "-o", "bundled").code == 0
    for name in wanted:
        one, other = (keras.models.load_model(Path(place, name, "model.keras")) for place in ("direct", "bundled"))
        images = np.random.default_rng(0).uniform(0, 1, (2, *one.input_shape[1:])).astype("float32")
        features = one(images).numpy()
        assert np.ptp(features) > 0
        np.testing.assert_array_equal(other(images), features)
        assert [weight.trainable for weight in one.weights] == [weight.trainable for weight in other.weights]
        said = [json.loads(Path(place, name, "manifest.json").read_text()) for place in ("direct", "bundled")]
        assert said[0]["preprocessing"] == said[1]["preprocessing"]


def test_fetch_ends_with_a_table_of_files(torso, server, tmp_path):
    result = torso("fetch", "spec.yaml", "below", "blank", "--to", "bundle")
    size = format_bytes((tmp_path / "specs" / "tiny.h5").stat().st_size)
    assert re.sub("─+", "─", result.out).split("\n") == [
        f"name   file     {'size':>{len(size)}}  from",
        "─  ─  ─  ─",
        f"below  tiny.h5  {size}  specs/tiny.h5",
        f"blank  -        {'-':>{len(size)}}  random initialisation",
        "",
        "build it offline: torso build bundle/spec.yaml -o backbones",
        "",
    ]
    assert result.err.split("\n") == [
        "below: warning: specs/tiny.h5 is taken on trust: give its sha256 to have it checked",
        "below: getting weights",
        "copying to bundle",
        "",
    ]


def test_fetch_tells_how_far_a_download_is(torso, server):
    assert "\ndownloading tiny.h5: 0.0 of 0.0 MB\n" in torso("fetch", "spec.yaml", "remote", "--to", "bundle").err


def test_a_failed_fetch_leaves_no_bundle_and_tells_of_all_that_failed(torso, server, tmp_path):
    server.files["/remote/tiny.h5"] = b"other bytes"
    result = torso("fetch", "spec.yaml", "--to", "deep/bundle")
    assert (result.code, result.out) == (7, "")
    assert result.errors.startswith(
        f"error: the download of '{server.url('/remote/tiny.h5')}' is not the published file (at "
    )
    assert not (tmp_path / "deep").exists()
    server.script = [breaking_off(3), lambda request: request.head(500, Content_Length=0)]
    result = torso("fetch", "spec.yaml", "remote", "--to", "bundle")
    assert result.code == 5
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
    torso("fetch", "spec.yaml", "below", "--to", "bundle")
    before = content(tmp_path / "bundle")
    refused = torso("fetch", "spec.yaml", "twin", "--to", "bundle")
    assert (refused.code, content(tmp_path / "bundle")) == (2, before)
    assert "'bundle' already exists\n  fix: choose another folder, or replace it with --force" in refused.err
    assert torso("fetch", "spec.yaml", "other", "--to", "bundle", "--force").code == 0
    assert "  other:" in (tmp_path / "bundle" / "spec.yaml").read_text()
    assert "  below:" not in (tmp_path / "bundle" / "spec.yaml").read_text()
    for name, text in (("photo.jpg", "dear"), ("weights/mine.h5", "dear")):
        (tmp_path / "bundle" / name).write_text(text)
        refused = torso("fetch", "spec.yaml", "twin", "--to", "bundle", "--force")
        assert refused.code == 2
        assert "it is not a bundle that torso fetched, or holds other files too" in refused.err
        assert (tmp_path / "bundle" / name).read_text() == text
        (tmp_path / "bundle" / name).unlink()
    written = tmp_path / "bundle" / "spec.yaml"
    written.write_text(written.read_text().partition("\n")[2])  # as somebody would write it
    assert torso("fetch", "spec.yaml", "twin", "--to", "bundle", "--force").code == 2


def test_a_file_that_is_swapped_before_it_is_copied_is_refused(torso, server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.copyfile", lambda source, target: target.write_bytes(b"swapped"))
    result = torso("fetch", "spec.yaml", "remote", "--to", "bundle")
    assert result.code == 7
    assert "changed while it was copied\n  fix: try again" in result.err
    assert not (tmp_path / "bundle").exists()


def test_a_full_disk_leaves_no_bundle(torso, server, tmp_path, small_disk):
    with small_disk(3000):
        result = torso("fetch", "spec.yaml", "below", "--to", "bundle")
    assert result.code == 5
    assert "'bundle' could not be written\n  cause: File too large" in result.err
    assert not [path.name for path in tmp_path.iterdir() if "bundle" in path.name]
