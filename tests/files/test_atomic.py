"""What is written appears whole, and replaces what it may; test_interrupted_saves has writers that are killed or fail."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from refusals import refusal

from torso.artifact.manifest_file import read_manifest_json
from torso.errors import DiskError, OptionError, OutputExistsError
from torso.files.atomic import move_aside, refuse_existing, scratch_directory, staged_directory, staged_file
from torso.files.disk_errors import require_space


def ours(folder: Path) -> bool:
    return (folder / "mark").is_file()


def filled(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mark").write_text(text)
    return folder


def test_what_is_moved_aside_takes_the_place_of_what_was_before(tmp_path):
    for text in ("one", "two"):
        (tmp_path / "w").write_text(text)
        move_aside(tmp_path / "w")
    move_aside(tmp_path / "w")  # as another process has done just now
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("w.rejected", "two")]
    (tmp_path / "w").mkdir()
    with pytest.raises(DiskError, match="could not be moved aside\n  cause: Not a directory"):
        move_aside(tmp_path / "w")


def test_leftovers_of_killed_runs_are_removed_after_a_day(tmp_path, monkeypatch):
    old, live, other = (f".{name}.{number:016x}.partial" for number, name in enumerate(("w[1].h5", "w[1].h5", "w1.h5")))
    for name in (old, live, other, "torso-scratch-abc", "torso-mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage").write_text("half")
        os.utime(tmp_path / name / "stage", None if name == live else (0, 0))
        os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with staged_file(tmp_path / "w[1].h5", force=False) as stage, scratch_directory() as folder:
        stage.touch()
        assert {path.name for path in tmp_path.iterdir()} == {live, other, stage.parent.name, folder.name, "torso-mine"}


def test_a_read_puts_back_what_a_killed_replacement_moved_aside(tmp_path):
    for text in ("early", "late"):
        filled(tmp_path / f".there.{len(text):016x}.old", text)
        time.sleep(0.02)  # more than one tick of the clock that stamps files
    with pytest.raises(OptionError, match="holds no saved backbone"):
        read_manifest_json(tmp_path / "there")
    assert (tmp_path / "there" / "mark").read_text() == "late"


def test_a_folder_appears_whole_with_its_parents_or_not_at_all(tmp_path):
    place = tmp_path / "a" / "b"
    with staged_directory(place, force=False, ours=ours) as stage:
        filled(stage, "new")
        assert not place.exists()
    assert (place / "mark").read_text() == "new"
    with pytest.raises(ZeroDivisionError), staged_directory(place.with_name("c"), force=False, ours=ours) as stage:
        filled(stage, str(1 / 0))
    assert os.listdir(place.parent) == ["b"]


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize(("force", "kind"), [(False, "result"), (True, "other"), (True, "link"), (True, "nowhere")])
def test_only_earlier_results_are_replaced_and_with_force(tmp_path, what, force, kind):
    place, fact, fix = tmp_path / "a", "already exists", "choose another name, or replace it with --force"
    if kind in ("link", "nowhere"):
        there = filled(tmp_path / "b", "dear") / ("mark" if what == "file" else "")
        place.symlink_to(there if kind == "link" else kind)
    elif (what == "folder") == (kind == "result"):
        filled(place, "old")
    else:
        place.write_text("dear")
    if force:
        fact += ", and it is not an earlier result, or holds other files too"
        fix = "choose another name; --force replaces only earlier results"
    act, how = (staged_directory, {"ours": ours}) if what == "folder" else (staged_file, {})
    for refused in refuse_existing, lambda *args, **how: act(*args, **how).__enter__():
        said = refusal(refused, place, force=force, kind=OutputExistsError, **how)
        assert said.startswith(f"'{place}' {fact}\n  fix: {fix}")


def test_require_space_says_what_is_needed_and_what_is_left(tmp_path):
    require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(DiskError, match=r"needs 1000000000000\.0 MB, and its disk has [0-9.]+ MB left"):
        require_space(tmp_path / "not" / "yet", 10**18)


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, before):
    place = tmp_path / "picture.svg"
    if before:
        place.write_text(before)
    with pytest.raises(ZeroDivisionError), staged_file(place, force=True) as stage:
        assert stage.write_text("half") / 0
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])
    with staged_file(place, force=bool(before)) as stage:
        assert (stage.suffix, stage.parent.parent) == (".svg", tmp_path)
        stage.write_text("new")
        assert place.exists() == bool(before)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("picture.svg", "new")]


def test_a_parent_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for staged, cause in (
        (staged_directory(tmp_path / "file" / "a", force=False, ours=ours), "Not a directory"),
        (staged_file(tmp_path / "none" / "a", force=False), "No such file or directory"),
    ):
        with pytest.raises(DiskError, match=f"/a' could not be written\n  cause: {cause}"):
            staged.__enter__()
