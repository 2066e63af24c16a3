"""What is an export, and what is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torso.errors import PluginError
from torso.export.record import is_export, write_record


def test_a_folder_with_a_pipe_for_a_record_is_no_export_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "export.json")
    assert not is_export(tmp_path)


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_what_is_no_file_of_its_own_is_not_exported(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model").write_text("values")
    if kind == "pipe":
        os.mkfifo(tmp_path / "odd")
    else:
        (tmp_path / "odd").symlink_to("model" if kind == "link" else "nowhere")
    with pytest.raises(PluginError) as caught:
        write_record({}, tmp_path)
    assert str(caught.value) == "the export has 'odd', which is no regular file\n  fix: write plain files"
