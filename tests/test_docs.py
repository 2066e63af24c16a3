"""The README tells the truth: every block is run, every command is shown with what it prints, every hook stands there."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torso
from torso.contracts import hookspecs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TORSO = [sys.executable, "-m", "torso"]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what the comment above it says."""

    language: str
    text: str
    note: str


def blocks(text: str) -> Iterator[Block]:
    for match in re.finditer(r"(?:<!-- (.+?) -->\n)?```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(match[2], match[3], match[1] or "")


BLOCKS = list(blocks(README))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, with the files that the README writes."""
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    for block in BLOCKS:
        if block.note.startswith("file: "):
            path = tmp_path / block.note.removeprefix("file: ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def printed(command: str) -> str:
    """What a command shows: its results, or its errors."""
    assert command.startswith("torso ")
    run = subprocess.run([*TORSO, *shlex.split(command)[1:]], capture_output=True, text=True, check=False)
    return run.stdout or run.stderr


def transcript(text: str) -> str:
    """The commands of a console block, each with what it prints now."""
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return "\n".join(f"$ {command}\n{printed(command)}" for command in commands)


def test_every_block_of_the_readme_is_run_by_one_of_these_tests() -> None:
    ways = {"yaml": "file: ", "sh": "command: ", "python": "", "console": ""}
    assert [block for block in BLOCKS if not block.note.startswith(ways.get(block.language, "no such way"))] == []
    assert [block.note for block in BLOCKS if block.language == "sh"] == ["command: build", "command: test"]


@pytest.mark.parametrize("text", [block.text for block in BLOCKS if block.language == "console"])
def test_a_console_block_shows_what_is_printed(workplace: Path, text: str) -> None:
    assert transcript(text) == text


def test_the_python_blocks_run_one_after_the_other(workplace: Path) -> None:
    names: dict[str, Any] = {
        "images": np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype="uint8"),
        "labels": np.arange(6),
    }
    for block in BLOCKS:
        if block.language == "python" and not block.note:
            exec(compile(block.text, "README.md", "exec"), names)
    assert names["features"].shape == (6, 4, 4, 24)
    assert names["again"].features == names["backbones"]["digits"].features
    assert names["model"].output_shape == (None, 14, 14, 32)
    assert names["siamese"].output_shape == (None, 2, 2, 32)
    assert [feature.level for feature in names["pyramid"].features] == ["C3", "C4", "C5"]
    assert issubclass(names["TestDigitNet"], names["ArchitectureTests"])


def test_the_yaml_files_of_the_tour_plan(workplace: Path) -> None:
    assert list(torso.load_specs("backbones.yaml").plans) == ["edge", "twin", "digits"]
    assert torso.load_specs("bands.yaml").plans["infrared"].input_shape == (224, 224, 4)
    photos = torso.load_specs("photos.yaml").plans["photos"]
    assert photos.include_preprocessing
    assert photos.transform == torso.Transform()  # as the text says


def test_every_strategy_stands_in_the_readme() -> None:
    own = [one.value.name for one in torso.Registry.load(discover=False).truncations]
    table = README.partition("| `truncate:` |")[2].partition("\n\n")[0]
    assert sorted(own) == sorted(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    sentence = README.partition("Strategies that come with torso: ")[2].partition(". ")[0]
    assert sorted(own) == sorted(re.findall(r"`(\w+)`", sentence))


def test_every_freeze_policy_stands_in_the_readme() -> None:
    own = [one.value.name for one in torso.Registry.load(discover=False).freeze_policies]
    table = README.partition("| `freeze:` |")[2].partition("\n\n")[0]
    assert sorted(own) == sorted(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    sentence = README.partition("Policies: ")[2].partition(".")[0]
    assert sorted(own) == sorted(re.findall(r"`(\w+)`", sentence))


def test_every_channel_adapter_stands_in_the_readme() -> None:
    own = [one.value.name for one in torso.Registry.load(discover=False).channel_adapters]
    table = README.partition("| `adapt:` |")[2].partition("\n\n")[0]
    assert sorted(own) == sorted(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    sentence = README.partition("Channel adapters: ")[2].partition(".")[0]
    assert sorted(own) == sorted(re.findall(r"`(\w+)`", sentence))


def test_every_export_format_stands_in_the_readme_with_what_it_needs() -> None:
    own = {one.value.name: one.value.install or "" for one in torso.Registry.load(discover=False).export_formats}
    table = README.partition("| `--to` |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| .+ \| `?([^`]*?)`? ?\|$", table, re.MULTILINE)) == own
    sentence = README.partition("Export formats: ")[2].partition(".")[0]
    assert sorted(own) == sorted(re.findall(r"`(\w+)`", sentence))


def test_every_hook_stands_in_the_readme_with_its_exact_signature() -> None:
    for name, hook in vars(hookspecs).items():
        if name.startswith("torso_"):
            signature = f"| `{name}({', '.join(inspect.signature(hook).parameters)})` |"
            assert signature in README


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [block.text.strip() for block in BLOCKS if block.note == "command: test"]
    script = (ROOT / ".ci" / "run").read_text()
    reads = next(line for line in script.splitlines() if line.startswith("command=$("))
    found = subprocess.run(["bash", "-c", f"{reads}; echo $command"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == command


@pytest.mark.slow
def test_the_main_command_works_in_a_clean_checkout(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "torso"], check=True)
    (command,) = [block.text.strip() for block in BLOCKS if block.note == "command: build"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "TORSO"))}
    subprocess.run(["bash", "-c", command], cwd=tmp_path / "torso", env=environment, check=True)
    built = sorted(path.parent.name for path in tmp_path.glob("torso/backbones/*/model.keras"))
    assert built == ["named", "narrow", "popped", "staged", "tunable", "whole"]
