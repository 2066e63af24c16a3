"""A plugin with one small network, and backbones of it on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from saved import TINY, saved_with

from torso.plugins.registry import Registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.load(plugins_dirs=[TINY], discover=False)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    return saved_with(registry, tmp_path_factory.mktemp("original") / "edge", 1)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """The same with other values."""
    return saved_with(registry, tmp_path_factory.mktemp("other") / "edge", 2)


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "edge"))
