"""What a user can get wrong (bad_input.yaml): an exit code, one error, nothing on stdout, no traceback, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CASES = yaml.safe_load(Path(__file__).with_name("bad_input.yaml").read_text())


def spec_of(case):
    """The text of ``bad.yaml``, or None for no such file."""
    if "bytes" in case:
        return bytes.fromhex(case["bytes"])
    if "backbone" in case:  # a spec of one backbone with these keys
        keys = {"architecture": "TinyNet", "weights": "none"} | case["backbone"]
        lines = ["version: 1", "backbones:", "  a:", *(f"    {key}: {value}" for key, value in keys.items() if value)]
        return ("\n".join(lines) + "\n" + case.get("more", "")).encode()
    return None if "spec" not in case else (case["spec"] + "[" * case.get("brackets", 0)).encode()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_is_one_clear_error(torso, tmp_path, case):
    if (text := spec_of(case)) is not None:
        (tmp_path / "bad.yaml").write_bytes(text)
    for name, content in (
        ("half.weights.h5", "\x89HDF"),
        ("good.npz", "\x93NUMPY"),
        # a folder that torso made, as far as anyone can see
        ("standing/a/manifest.json", '{"manifest": 1, "files": {"model.keras": {}}}'),
        ("standing/a/model.keras", ""),
        ("foreign/a/thesis.txt", "years"),  # and one that it did not
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    before = sorted(tmp_path.rglob("*"))
    result = torso(*case["run"].split())
    expected = f"error: {case['error']}"
    assert result.errors.startswith(expected)
    if expected.endswith("\n"):  # the message is the command line's own: all of it is written down
        assert result.errors == expected
    assert (result.code, result.out, result.err.count("error: ")) == (case["code"], "", 1)
    assert "Traceback" not in result.err
    assert sorted(tmp_path.rglob("*")) == before
    report = torso(*case["run"].split(), "--json")
    (error,) = report.json["errors"]
    assert (error["fact"][:60] in expected, error["exit_code"]) == (True, case["code"])
    assert (report.code, report.errors) == (case["code"], result.errors)
