from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def spec_file(tmp_path, monkeypatch):
    """Write a spec into the working directory and name it as a user would."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "spec.yaml") -> str:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, "utf-8")
        return name

    return write
