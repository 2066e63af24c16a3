from __future__ import annotations

import json
import shutil
import sys

import jsonschema
import pytest
import yaml


def names(result):
    return [line.split()[0] for line in result.out.strip().split("\n")[2:]]


def test_list_shows_every_architecture_in_eighty_columns(torso):
    result = torso("list", plugins=False)
    assert (result.code, result.err) == (0, "")
    assert result.out.split("\n")[0].split() == [
        "name", "family", "params", "input", "weights", "top-1", "provider",
    ]  # fmt: skip
    assert names(result).index("ResNet50") < names(result).index("ResNet101")
    assert "ResNet50           ResNet            23.6M  224×224  imagenet   74.9  keras" in result.out
    assert len(names(result)) == 40
    assert max(map(len, result.out.split("\n"))) <= 80


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["RESNET50*"], ["ResNet50", "ResNet50V2"]),
        (["vgg*", "tiny/T*"], ["TinyNet", "VGG16", "VGG19"]),
        (["--provider", "tiny", "*t*net", "*NASNET*"], ["FailNet", "HungryNet", "QuitNet", "SlowNet", "TinyNet"]),
        (["--family", "NASnet"], ["NASNetLarge", "NASNetMobile"]),
        (["--weights", "imagenet", "*net", "-p", "no:tiny"], ["MobileNet"]),
        (["--max-params", "1k"], ["FailNet", "HungryNet", "QuitNet", "SlowNet", "TinyNet"]),
        (["--min-params", "196_000_000"], ["ConvNeXtLarge", "ConvNeXtXLarge"]),
        (["--min-params", "2.2M", "--max-params", "2.3m"], ["MobileNetV2"]),
    ],
)
def test_list_filters_by_pattern_and_limit(torso, words, expected):
    assert names(torso("list", *words)) == expected


def test_list_as_json_has_exact_numbers(torso):
    assert torso("list", "vgg16", "--json").json == {
        "architectures": [
            {
                "name": "VGG16",
                "qualified": "keras/VGG16",
                "family": "VGG",
                "provider": "keras",
                "source": "built-in",
                "parameters": 14714688,
                "macs": 15346630656,
                "input": [224, 224],
                "weights": [{"tag": "imagenet", "top1": 71.3, "top5": 90.1}],
            }
        ]
    }


def test_show_says_unknown_where_nothing_is_declared(torso):
    lines = torso("show", "tinynet", "--card").out.split("\n")
    assert lines[:2] == ["TinyNet", "  family              Tiny"]
    assert "  licence of weights  unknown" in lines
    assert "  width  a whole number; 1 or more; 64 or less; 4 by default. Channels inside." in lines
    assert lines[-3:] == ["weights", "  none are published", ""]


def test_show_lists_the_weights_files_with_their_options(torso):
    result = torso("show", "keras/MobileNetV2", "--card")
    assert "weights imagenet (default)\n  classes  1,000\n  top-1    71.3 %\n" in result.out
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5    0.35    96  -\n" in result.out
    card = torso("show", "mobilenetv2", "--card", "--json").json
    assert card["qualified"] == "keras/MobileNetV2"
    assert card["weights"][0]["files"][0]["when"] == {"alpha": 0.35, "size": 96}
    assert card["options"][0]["default"] == 1.0


RANDOM = "weights: none is random initialisation, and freeze: all keeps random values from training"


def test_check_counts_backbones_and_reports_every_error(torso, spec, tmp_path):
    (tmp_path / "bad.yaml").write_text("version: 1\nbackbones:\n  a: {architecture: TinyNet, freze: all}\n  b: 3\n")
    result = torso("check", "tiny.yaml", "bad.yaml", "nix.yaml")
    assert (result.code, result.out) == (2, f"tiny.yaml: ok, 2 backbones\n  warning: whole: {RANDOM}\n")
    found = torso("check", "tiny.yaml", "bad.yaml", "nix.yaml", "--json")
    assert (found.code, found.err) == (2, result.err)
    assert found.json["files"] == [
        {"file": "tiny.yaml", "ok": True, "backbones": ["whole", "stem"], "not_drawn": []},
        {"file": "bad.yaml", "ok": False},
        {"file": "nix.yaml", "ok": False},
    ]
    places = [error["place"] and error["place"]["path"] for error in found.json["errors"]]
    assert places == ["$.backbones.a.freze", "$.backbones.b", None]
    assert result.err.count("error: ") == 3


def test_plan_shows_what_would_be_built(torso, spec):
    plans = torso("plan", "--json", "tiny.yaml").json["plans"]
    assert [plan["name"] for plan in plans] == ["whole", "stem"]
    assert plans[1]["truncate"] == {"name": "truncations/layer", "options": {"name": "stem", "allow_partial": False}}
    assert f"  warning       {RANDOM.split(',')[0]}," in torso("plan", "tiny.yaml").out
    result = torso("plan", "tiny.yaml", "stem")
    lines = result.out.split("\n")
    assert lines[0] == "stem"
    assert lines[1] == "  architecture  tiny/TinyNet (width 8), from"
    assert "                input_shape=(8, 8, 3), width=8" in lines
    assert lines[-6:] == ["  input         8×8 pixels, 3 channels", "  weights       none", "  cut           layer stem",
                          "  freeze        none", "  trains        Everything trains.", ""]  # fmt: skip
    assert (result.code, result.err) == (0, "")


def test_plugins_gives_the_reasons_and_exits_with_0_and_debug_shows_the_traceback(torso, tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    result = torso("plugins", "--plugins-dir", ".", "-p", "no:mobilenet-alpha")
    fault = "its import failed: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    warning = f"warning: plugin 'broken' ({tmp_path / 'broken.py'}) is disabled: {fault}\n"
    assert (result.code, result.err) == (0, warning)
    shown = torso("show", "broken/Net", "--plugins-dir", ".").err
    assert shown.startswith(f"{warning}error: unknown architecture 'broken/Net'\n")
    assert "\n  cause: no plugin 'broken' offers any architecture\n" in shown
    assert result.out.endswith(
        "\n\nnot in use\n"
        "  mobilenet-alpha  it is blocked with -p no:mobilenet-alpha\n"
        "  broken           its import failed: ModuleNotFoundError: No module named\n"
        "                   'nothing_of_this_name'\n"
    )
    assert "tiny              --plugins-dir  loaded    architectures, truncations\n" in result.out
    traced = torso("--debug", "list", "--plugins-dir", ".")
    assert traced.code == 0
    assert "Traceback (most recent call last):" in traced.err
    assert "ModuleNotFoundError: No module named 'nothing_of_this_name'" in traced.err


def test_a_plugin_of_a_folder_imports_its_neighbours_and_no_others(torso, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_names_of_the_test.py").write_text(f"NAME = 'neighbour_of_{folder}'\n")
        (tmp_path / folder / f"beside_{folder}.py").write_text(
            "import torso\nfrom _names_of_the_test import NAME\n\n@torso.hookimpl\ndef torso_truncations():\n"
            "    yield torso.Truncation(name=NAME, doc='Ends.', select=lambda graph, options: None)\n"
        )
    result = torso("plugins", "--plugins-dir", "one")
    assert (result.code, result.err) == (0, "")
    assert "neighbour_of_one" in torso("schema", "--plugins-dir", "one").out
    result = torso("schema", "--plugins-dir", "one", "--plugins-dir", "two")
    assert "neighbour_of_one" in result.out
    assert "neighbour_of_two" not in result.out
    first = str(tmp_path / "one" / "_names_of_the_test.py")
    assert f"is disabled: it would not get '_names_of_the_test.py' beside it, but {first!r}\n" in result.err


def test_the_cache_is_listed_and_what_is_unfinished_is_deleted(torso, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert torso("cache").out == f"{tmp_path / 'models'}: 0 files, 0 B\n"
    (tmp_path / "models").mkdir()
    for name in ("a.h5", "b.h5.part", "c.h5.rejected"):
        (tmp_path / "models" / name).write_text("12345")
    assert torso("cache", "--json").json["files"] == {"a.h5": 5, "b.h5.part": 5, "c.h5.rejected": 5}
    result = torso("cache", "--prune")
    assert result.out == f"file  size\n────  ────\na.h5   5 B\n\n{tmp_path / 'models'}: 1 file, 5 B\n"
    assert result.err == "deleted b.h5.part\ndeleted c.h5.rejected\n"


def test_quiet_reports_no_progress_and_offline_forbids_connections(torso, spec, monkeypatch):
    monkeypatch.setenv("TORSO_OFFLINE", "0")  # put back afterwards
    result = torso("-q", "build", "tiny.yaml", "stem", "-o", "nets")
    assert (result.code, result.err) == (0, "a builder that talks\n" * 2)
    spec.write_text("version: 1\nbackbones: {net: {architecture: VGG16, weights: {url: 'https://example.org/w.h5'}}}\n")
    result = torso("check", "tiny.yaml", "--offline")
    assert (result.code, "TORSO_OFFLINE forbids to download it" in result.err) == (5, True)


def test_what_a_plugin_prints_is_no_result(torso, tmp_path):
    loud = "import os, sys, torso\nprint('hello')\nos.system('echo hello')\nprint('hello', file=sys.__stdout__)\n"
    (tmp_path / "loud.py").write_text(loud + "@torso.hookimpl\ndef torso_truncations(): return []\n")
    result = torso("list", "vgg16", "--plugins-dir", ".", "--json")
    assert [card["name"] for card in result.json["architectures"]] == ["VGG16"]
    assert result.err == 3 * "hello\n"


def test_schema_accepts_what_torso_accepts_and_knows_the_plugins(torso, spec):
    result = torso("schema")
    schema = json.loads(result.out)
    assert schema == torso("schema", "--json").json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(spec.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "backbones": {"a": {"architecture": "TinyNett"}}}, schema)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(torso, shell):
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    result = torso("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert f"_TORSO_COMPLETE={shell}_complete" in result.out
    assert torso("completion", shell, "--json").json["script"] + "\n" == result.out


def test_shared_options_work_before_and_after_the_command(torso):
    before = torso("-p", "no:tiny", "--json", "list", "*Net")
    assert before == torso("list", "*Net", "--json", "-p", "no:tiny")
    assert [card["name"] for card in before.json["architectures"]] == ["MobileNet"]
