from __future__ import annotations

import json
import re
import shutil
import sys

import keras
import pytest
from saved import edit


@pytest.fixture
def saved(torso, spec):
    """Two backbones on disk."""
    assert torso("build", "tiny.yaml", "-o", "nets").code == 0


def test_verify_tells_what_it_looked_at(torso, saved):
    result = torso("verify", "nets/whole", plugins=False)
    assert result.code == 0
    assert result.out.split("\n") == [
        "nets/whole: matches its manifest",
        "check              found",
        "─────────────  ──  ────────────────────────────────────────────────",
        "manifest       ok  unchanged",
        "files          ok  model.keras, unchanged",
        "graph          ok  7 nodes",
        "features       ok  drop",
        "variables      ok  6 identical",
        "frozen         ok  nothing trains, and training gives the same bits",
        "preprocessing  ok  identical",
        "probe          ok  drop: identical",
        "made with      ok  same versions installed",
        "plugins        ok  same versions installed",
        "",
    ]
    assert result.err == "starting TensorFlow\nverifying nets/whole\n"
    assert "frozen         ok  2 variables train, as saved\n" in torso("verify", "nets/stem").out


def test_verify_ends_with_7_and_reports_every_difference(torso, saved, tmp_path):
    edit(tmp_path / "nets" / "stem", lambda manifest: manifest["frozen"].update(trainable=9), sign=False)
    words = ("verify", "nets/whole", "nets/stem", "nets/none")
    result = torso(*words, plugins=False)
    assert result.code == 7
    assert result.out.startswith("nets/whole: matches its manifest\n")
    assert "nets/stem: does not match its manifest\n" in result.out
    assert "frozen         NO  frozen.trainable was 9, is 224\n" in result.out
    assert result.errors == (
        "error: 'nets/stem' does not match its manifest\n"
        "  manifest: changed after it was written\n"
        "  frozen: frozen.trainable was 9, is 224\n"
        "error: 'nets/none' holds no saved backbone: it has no manifest.json\n"
        "  fix: torso build SPEC -o FOLDER, or Backbone.save\n"
    )
    whole, stem = torso(*words, "--json").json["verified"]
    assert (whole["holds"], stem["folder"], stem["name"], stem["holds"]) == (True, "nets/stem", "stem", False)
    (frozen,) = [check for check in stem["checks"] if check["name"] == "frozen"]
    assert frozen["differences"] == [{"fact": "frozen.trainable", "told": 9, "found": 224}]


def test_diff_ends_with_0_for_the_same_and_1_with_the_differences(torso, saved, tmp_path):
    shutil.copytree(tmp_path / "nets" / "whole", tmp_path / "copy")
    result = torso("diff", "nets/whole", "copy", plugins=False)
    assert (result.code, result.out, result.err) == (0, "nets/whole and copy are the same\n", "")
    result = torso("diff", "nets/whole", "nets/stem", plugins=False)
    assert (result.code, result.err) == (1, "")
    for row in (
        r"plan\.options\.width +4 +8",
        r"plan\.truncate\.name +truncations/none +truncations/layer",
        r"variables with other values +- +2: stem/bias, stem/kernel",
        r"variables only here +4: left/bias, left/kernel, right/bias, right/kernel +-",
    ):
        assert re.search(f"^{row}$", result.out, re.MULTILINE)
    found = torso("diff", "nets/whole", "nets/stem", "--json").json
    assert found["same"] is False
    assert {"fact": "plan.options.width", "one": 4, "other": 8} in found["differences"]
    edit(tmp_path / "nets" / "stem", lambda manifest: manifest["frozen"].update(trainable=9), sign=False)
    result = torso("diff", "nets/whole", "nets/stem")
    assert (result.code, result.out) == (7, "")
    assert "'nets/stem/manifest.json' was changed after it was saved" in result.err


def test_folders_specs_and_locks_are_compared_backbone_by_backbone(torso, saved, spec, tmp_path):
    (tmp_path / "new.yaml").write_text(spec.read_text().replace("layer: stem", "layer: joined").replace("whole:", "all:"))
    assert torso("diff", "tiny.yaml", "tiny.yaml").out == "tiny.yaml and tiny.yaml are the same\n"
    found = torso("diff", "tiny.yaml", "new.yaml", "--json").json["differences"]
    assert [tuple(each.values()) for each in found] == [
        ("whole", "is there", None),
        ("stem.truncate.layer", "stem", "joined"),
        ("stem.plan.truncate.options.name", "stem", "joined"),
        ("all", None, "is there"),
    ]
    assert torso("lock", "tiny.yaml").code == torso("lock", "new.yaml").code == 0
    found = torso("diff", "tiny.lock.json", "new.lock.json", "--json").json["differences"]
    assert {"fact": "stem.plan.truncate.options.name", "one": "stem", "other": "joined"} in found
    assert torso("build", "new.yaml", "-o", "new").code == 0
    result = torso("diff", "nets", "new")
    assert result.code == 1
    assert re.search(r"^stem\.truncate\.layer +stem +joined$", result.out.split("\n")[2])
    for row in (r"whole +is there +-", r"stem\.layers only here +- +3: joined, left, right"):
        assert re.search(f"^{row}$", result.out, re.MULTILINE)
    result = torso("diff", "nets", "nets/stem")
    assert result.err == (
        "error: 'nets' is a folder of backbones, and 'nets/stem' is a saved backbone\n"
        "  fix: name two specs, two locks, two saved backbones, or two folders of them\n"
    )
    assert [one["name"] for one in torso("verify", "nets", "--json").json["verified"]] == ["stem", "whole"]


def test_lock_and_build_locked(torso, spec, tmp_path, monkeypatch):
    result = torso("lock", "tiny.yaml")
    assert (result.code, result.out) == (0, "tiny.lock.json\nwhole: locked\nstem: locked\n")
    assert "whole: warning: its weights are random, so they are not locked\n" in result.err
    assert torso("lock", "tiny.yaml").out == "tiny.lock.json\nwhole: unchanged\nstem: unchanged\n"
    assert torso("build", "tiny.yaml", "-o", "nets", "--locked").code == 0

    spec.write_text(spec.read_text().replace("width: 8", "width: 16"))
    result = torso("build", "tiny.yaml", "-o", "other", "--locked")
    assert (result.code, result.out) == (7, "")
    assert result.errors == (
        "error: backbone 'stem' is not the one that 'tiny.lock.json' names\n"
        "  plan.arguments.width: 16, locked is 8\n"
        "  plan.options.width: 16, locked is 8\n"
        "  fix: go back to what is locked, or lock the new state: torso lock tiny.yaml\n"
    )
    assert not (tmp_path / "other").exists()
    assert torso("build", "tiny.yaml", "whole", "-o", "other", "--locked").code == 0  # the one that is as locked

    result = torso("lock", "tiny.yaml", "stem")
    assert result.code == 0
    with monkeypatch.context() as there:
        there.setattr("torso.artifact.lock.versions", lambda: dict.fromkeys(("torso", "keras", "tensorflow"), "99.0"))
        other = torso("build", "tiny.yaml", "whole", "-o", "versions", "--locked")
        assert other.code == 0
        assert re.search("^whole: warning: made_with.keras: 99.0, locked is 3", other.err, re.MULTILINE)
        other = torso("build", "tiny.yaml", "whole", "-o", "strict", "--strict")
        assert (other.code, (tmp_path / "strict").exists()) == (7, False)
        assert "  made_with.torso: 99.0, locked is " in other.errors
    assert result.out.startswith("tiny.lock.json\nstem: changed\n  features.stem.channels: 8, now 16\n")
    assert torso("build", "tiny.yaml", "-o", "all", "--locked").code == 0


def test_lock_replaces_a_foreign_file_with_force_only(torso, spec, tmp_path):
    place = tmp_path / "tiny.lock.json"
    place.write_text("years of work")
    result = torso("lock", "tiny.yaml")
    assert result.code == 7
    assert "'tiny.lock.json' cannot be read" in result.errors
    assert place.read_text() == "years of work"
    assert torso("lock", "tiny.yaml", "--force").code == 0
    assert json.loads(place.read_text())["lock"] == 2


def test_lock_drops_what_left_the_spec_and_stays_if_it_fails(torso, spec, tmp_path):
    torso("lock", "tiny.yaml")
    before = (tmp_path / "tiny.lock.json").read_bytes()
    text = spec.read_text()
    spec.write_text(text + "  fail: {architecture: FailNet}\n")
    assert torso("lock", "tiny.yaml").code == 4
    assert (tmp_path / "tiny.lock.json").read_bytes() == before
    spec.write_text(text.split("  stem:")[0])
    assert torso("lock", "tiny.yaml").out == (
        "tiny.lock.json\nwhole: unchanged\nstem: removed, it is not in the spec any more\n"
    )


PLUGIN = """
import keras, torso

@keras.saving.register_keras_serializable("lone")
def same(values):
    return values

def build(*, input_shape):
    from _lone import Lone
    images = keras.Input(input_shape, name="images")
    return keras.Model(images, Lone(name="lone")(keras.layers.Conv2D(4, 3, activation=same, name="conv")(images)))

@torso.hookimpl
def torso_architectures():
    yield torso.Architecture(
        name="Net", family="Net", builder=build, layers=("_lone",), preprocessing=torso.Preprocessing(),
        input=torso.InputRules(default=(8, 8)),
    )
"""
LONE = """
import keras

@keras.saving.register_keras_serializable("lone")
class Lone(keras.layers.Layer):
    def call(self, values):
        return values
"""


def test_build_says_what_plain_keras_needs_and_verify_what_plugin_is_missing(torso, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "acme.py").write_text(PLUGIN)
    (tmp_path / "own" / "_lone.py").write_text(LONE)
    (tmp_path / "net.yaml").write_text("version: 1\nbackbones: {net: {architecture: Net, weights: none}}\n")
    built = torso("build", "net.yaml", "-o", "nets", "--plugins-dir", "own", plugins=False)
    assert "net: before plain Keras can load it, import _lone, a module that registers lone>same\n" in built.err
    for words, code in ((), 4), (("--plugins-dir", "own"), 0):
        for name in ("lone>Lone", "lone>same"):  # as in a new process
            keras.saving.get_custom_objects().pop(name, None)
        sys.modules.pop("_lone", None)
        verified = torso("verify", "nets/net", *words, plugins=False)
        assert verified.code == code, verified.err
        assert ("'net' needs lone>Lone, lone>same, which the plugin 'acme' registers" in verified.err) == (code > 0)
