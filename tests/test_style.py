"""Rules of style that a test can check."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import torso

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_ruff_and_mypy_find_nothing(command: list[str]) -> None:
    found = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_public_names() -> None:
    """Adding a public name is a decision, and shows here."""
    assert torso.__all__ == [
        "Architecture", "Backbone", "Backbones", "Branch", "ChannelAdapter", "Check", "ClashError", "Cost", "CutError",
        "DiskError", "Engine", "ExportFormat", "Feature", "Features", "FreezeGuard", "FreezePlan", "FreezePolicy",
        "FreezeWarning", "Graph", "InputRules", "IntegrityError", "License", "ManyErrors", "Node", "Option", "OptionError",
        "Options", "OutputExistsError", "PixelWarning", "Plan", "PluginError", "Preprocessing", "Registry", "SpecError",
        "TorsoError", "Transform", "Truncation", "UnknownNameError", "Verification", "WeightSource", "Weights",
        "WeightsFile", "architecture", "attach", "create_backbone", "diff", "extract", "get_base_model", "hookimpl",
        "list_architectures", "load", "load_specs", "plan", "preprocess_for", "probe", "read_graph", "register",
        "scale_learning_rates", "verify",
    ]  # fmt: skip


def test_every_public_name_can_be_imported() -> None:
    for name in torso.__all__:
        assert getattr(torso, name).__module__.startswith("torso.") or name in ("hookimpl", "Options")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'torso' has no attribute 'getattr_me'"):
        torso.getattr_me  # noqa: B018


@pytest.mark.parametrize("folder", sorted((ROOT / "plugins").iterdir()), ids=lambda folder: folder.name)
def test_every_plugin_folder_is_a_distribution_of_its_own(folder: Path) -> None:
    code = "".join(path.read_text() for path in folder.glob("src/**/*.py"))
    conformance = ["tests/test_conformance.py"] if "def torso_architectures" in code else []
    for needed in ("pyproject.toml", "README.md", "src", "tests", *conformance):
        assert (folder / needed).exists(), f"{folder.name} has no {needed}"
    project = (folder / "pyproject.toml").read_text()
    assert re.search(r'"torso(\[\w+\])?>=0\.1,<0\.2"', project)
    assert "[project.entry-points.torso]" in project
    for path in folder.glob("src/**/*.py"):
        for line in path.read_text().splitlines():
            assert "torso." not in line.split("#")[0] or not line.strip().startswith(("from torso.", "import torso.")), (
                f"{path} imports more of torso than its public API: {line}"
            )
