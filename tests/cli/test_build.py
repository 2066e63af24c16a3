from __future__ import annotations

import json
import os
import pty
import re
import sys

import keras
import pytest
from saved import contents

from torso.cli.result import errors_of
from torso.errors import DiskError
from torso.files.hashing import hash_of

keras.ops.zeros(())  # by now TensorFlow has logged what it logs at its start

PARTLY = """\
version: 1
defaults: {weights: none}
backbones:
  fail: {architecture: FailNet}
  whole: {architecture: TinyNet}
  hungry: {architecture: HungryNet}
"""


def test_build_saves_each_backbone_and_ends_with_a_table(torso, spec, tmp_path):
    result = torso("build", "tiny.yaml", "-o", "deep/out")
    assert result.code == 0
    assert re.sub(r"[0-9.]+ kB", "9.9 kB", re.sub("─+", "─", result.out)).split("\n") == [
        "name   ends at  stride  shape  kept  trains  dropped     size",
        "─  ─  ─  ─  ─  ─  ─  ─",
        "whole  drop          2  4×4×4   280       0        0  9.9 kB",
        "stem   stem          1  8×8×8   224     224      656  9.9 kB",
        "",
    ]
    assert [line for line in result.err.split("\n") if "whole" not in line] == [
        "starting TensorFlow",
        *["a builder that talks"] * 2,  # the second call must give the same names
        "stem: building TinyNet",
        *["a builder that talks"] * 2,
        "stem: cutting at stem",
        "stem: freezing",
        "stem: saving",
        "stem: saved in deep/out/stem",
        "",
    ]
    assert sorted(contents(tmp_path / "deep")) == [
        "out/stem/manifest.json", "out/stem/model.keras", "out/whole/manifest.json", "out/whole/model.keras",
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "deep/out/whole/manifest.json").read_text())
    assert manifest["plan"]["architecture"] == "tiny/TinyNet"


def test_build_as_json_reports_the_same(torso, spec, tmp_path):
    (built,) = torso("build", "tiny.yaml", "stem", "-o", "out", "--json").json["built"]
    assert built == {
        "name": "stem",
        "folder": "out/stem",
        "size": (tmp_path / "out" / "stem" / "model.keras").stat().st_size,
        "features": [{"name": "stem", "node": "stem", "stride": 1, "channels": 8, "shape": [8, 8, 8], "level": None}],
        "frozen": 0,
        "trainable": 224,
        "dropped": {"nodes": 5, "parameters": 656},
    }


@pytest.mark.filterwarnings("default")
def test_a_file_without_a_hash_is_taken_on_trust_and_oddities_are_reported(torso, spec, tmp_path):
    torso("build", "tiny.yaml", "whole", "-o", "out")
    model = keras.models.load_model("out/whole/model.keras")
    model.get_layer("left").kernel.assign(model.get_layer("left").kernel * 0)
    model.save_weights("w.weights.h5")
    spec.write_text(spec.read_text().replace("weights: none", "weights: {file: w.weights.h5}").replace("stem", "left", 1))
    lines = torso("build", "tiny.yaml", "whole", "-o", "new").err.split("\n")
    line = f"sha256: {hash_of(tmp_path / 'w.weights.h5')}"
    assert lines[-3:] == [
        "whole: w.weights.h5 was taken on trust; to have it checked from now on, add to weights in the spec:", line, "",
    ]  # fmt: skip
    assert "whole: warning: the weights file 'w.weights.h5' holds only zeros in 'layers/conv2d_1/vars/0'" in lines
    spec.write_text(spec.read_text().replace(".h5}", f".h5, {line}}}"))
    assert "trust" not in torso("build", "tiny.yaml", "whole", "-o", "last").err


def test_build_builds_the_others_where_some_fail(torso, tmp_path):
    (tmp_path / "partly.yaml").write_text(PARTLY)
    result = torso("build", "partly.yaml", "-o", "out")
    assert result.code == 3
    assert [line.split()[0] for line in result.out.strip().split("\n")[2:]] == ["whole"]
    assert os.listdir(tmp_path / "out") == ["whole"]
    facts = [line for line in result.errors.split("\n") if line.startswith("error: ")]
    assert facts == ["error: the builder of 'tiny/FailNet' failed: RuntimeError: no such kernel", "error: out of memory"]
    result = torso("build", "partly.yaml", "fail", "hungry", "-o", "out", "--json")
    assert (result.code, result.json["built"], "Traceback" in result.err) == (
        6,
        [],
        False,
    )  # where all fail, the highest code
    traced = torso("--debug", "build", "partly.yaml", "fail", "-o", "out").err
    assert 'raise RuntimeError("no such kernel")\nRuntimeError: no such kernel\nerror: the builder' in traced


def test_build_plans_everything_before_it_builds_anything(torso, spec, tmp_path):
    spec.write_text(spec.read_text() + "  bad: {architecture: TinyNet, options: {width: 65}}\n")
    result = torso("build", "tiny.yaml", "-o", "out")
    assert (result.code, result.out, "starting" in result.err) == (2, "", False)
    assert not (tmp_path / "out").exists()


def test_all_existing_outputs_are_refused_before_a_build(torso, spec, tmp_path):
    assert torso("build", "tiny.yaml", "-o", "out").code == 0
    before = contents(tmp_path)
    result = torso("build", "tiny.yaml", "-o", "out")
    assert (result.code, result.out, result.err.count("error")) == (2, "", 2)
    assert "error: 'out/stem' already exists\n" in result.err
    assert contents(tmp_path) == before
    assert torso("build", "tiny.yaml", "-o", "out", "--force").code == 0


def test_a_defect_says_how_to_report_it(torso, monkeypatch):
    monkeypatch.setattr("torso.cli.commands.list_command._text", lambda offered: {}["columns"])
    result = torso("list")
    assert (result.code, result.out) == (70, "")
    assert result.err == (
        "error: internal error: KeyError: 'columns'\n"
        "  fix: please report it, with the command and the traceback that --debug prints\n"
    )
    assert "Traceback (most recent call last):" in torso("list", "--debug").err


def test_a_terminal_gets_bold_titles_and_one_line_of_progress(torso, spec, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with open(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        assert torso("build", "tiny.yaml", "stem", "-o", "out").code == 0
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        os.close(leader)
    assert b"\r\x1b[2Kstem: cutting at stem\r\x1b[2Kstem: freezing\r\x1b[2Kstem: saving" in shown
    assert b"\r\x1b[2Kstem: saved in out/stem\r\n" in shown
    assert b"\r\n\x1b[1mname  ends at" in shown or b"\x1b[2K\x1b[1mname  ends at" in shown


def test_a_full_disk_that_tensorflow_reports_is_not_out_of_memory():
    class ResourceExhaustedError(Exception):
        """As TensorFlow calls both."""

    disk, plain = DiskError("the disk is full"), RuntimeError("no room")
    for error in disk, plain:
        error.__cause__ = ResourceExhaustedError()
    assert [(str(error), error.exit_code) for error in errors_of(disk)] == [("the disk is full", 5)]
    assert [error.exit_code for error in errors_of(plain)] == [6]
