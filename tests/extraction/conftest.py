"""A tiny backbone with two outputs, and folders of small pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import images, settle
from PIL import Image

import torso

TINY = Path(__file__).parents[1] / "fixtures" / "plugin_folder"


@pytest.fixture(scope="session")
def registry() -> torso.Registry:
    return torso.Registry.load(plugins_dirs=[TINY], discover=False)


@pytest.fixture(scope="session")
def backbone(registry: torso.Registry) -> torso.Backbone:
    made = torso.create_backbone("TinyNet", weights=None, truncate={"layers": ["stem", "half"]}, registry=registry)
    settle(made.model, images((8, 8, 3), seed=3))
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures of noise into a folder: of the given names, or as many in two folders."""

    def pictures(*names: str | bytes, count: int = 0, folder: str = "photos") -> Path:
        place = tmp_path / folder
        listed = [*names, *(f"{'ab'[number % 2]}/{number:03}.jpg" for number in range(count))]
        for number, name in enumerate(listed):
            path = place / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 256, (12 + number % 5, 16, 3)).astype("uint8")
            with path.open("wb") as file:
                Image.fromarray(noise).save(file, "PNG" if path.suffix == ".png" else "JPEG")
        return place

    return pictures
