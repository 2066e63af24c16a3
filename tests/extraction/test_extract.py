"""Features of many pictures: those of the backbone, in files that are the same however the run went."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from saved import contents

import torso
from torso.extraction.extract import verify_features
from torso.extraction.extraction_file import read_extraction
from torso.extraction.shard import read_part
from torso.extraction.source import Source
from torso.files.folder import Folder

Write = Callable[..., Path]


@pytest.fixture
def extract(backbone: torso.Backbone, registry: torso.Registry, tmp_path: Path) -> Callable[..., torso.Features]:
    def run(source: Any, out: str = "out", **options: Any) -> torso.Features:
        given = {"shard": 5, "runtime": "keras", "registry": registry, "progress": lambda *counts: None, **options}
        return torso.extract(backbone, source, out if "://" in out else tmp_path / out, **given)

    return run


def test_features_are_those_of_the_backbone_and_readable_by_all(
    extract: Any, backbone: torso.Backbone, write: Write
) -> None:
    photos = write("loose.png", count=12)
    paths = [
        "a/000.jpg",
        "a/002.jpg",
        "a/004.jpg",
        "a/006.jpg",
        "a/008.jpg",
        "a/010.jpg",
        *(f"b/{n:03}.jpg" for n in range(1, 12, 2)),
        "loose.png",
    ]
    expected = backbone(backbone.transform([photos / path for path in paths]))
    counts: list[tuple[int, ...]] = []
    features = extract(photos, progress=lambda *now: counts.append(now))
    assert counts == [(0, 13, 0), (5, 13, 0), (10, 13, 0), (13, 13, 0)]
    for name, maps in expected.items():
        found = features.arrays(name)
        np.testing.assert_allclose(found.features, np.mean(maps, (1, 2)), atol=1e-6)
        assert found.features.std() > 0.01
        assert (found.paths, found.failed) == (paths, 0)
        assert [*found.labels] == ["a"] * 6 + ["b"] * 6 + [None]
    assert features.labels == ("a", "b", None)
    batches = [*features.dataset(4, "half")]
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches]), features.arrays("half").features)
    assert np.concatenate([batch[1] for batch in batches]).tolist() == [0] * 6 + [1] * 6 + [2]
    table = features.table()
    assert table.schema.names == ["path", "label", "sha256", "error", "stem", "half"]
    assert table.schema.field("stem").type == pa.list_(pa.float32(), 4)
    whole = extract(photos, "whole", pool=None, dtype="float16")
    np.testing.assert_allclose(whole.arrays("half").features, expected["half"], atol=1e-2)
    assert whole.table()["half"].type == pa.fixed_shape_tensor(pa.float16(), (4, 4, 4))
    with pytest.raises(torso.UnknownNameError, match="there are 2 features: name one"):
        features.arrays()


def test_every_picture_has_a_row_whatever_is_wrong_with_it(extract: Any, write: Write, tmp_path: Path) -> None:
    photos = write(count=8)
    good = photos / "a/000.jpg"
    (photos / "cut.jpg").write_bytes(good.read_bytes()[:-40])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.png").write_text("not a picture")
    (photos / "folder.jpg").mkdir()
    (photos / "link.jpg").symlink_to("nowhere")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "notes.txt").write_text("not listed")
    features = extract(photos)
    arrays = features.arrays("half")
    assert (len(arrays.paths), arrays.failed, features.manifest["failed"]) == (8, 6, 6)
    assert dict(features.failed()) == {
        "cut.jpg": "'cut.jpg' is no picture that can be decoded; image file is truncated (119 bytes not processed)",
        "empty.jpg": "'empty.jpg' is no picture that can be decoded; it is empty",
        "folder.jpg": "'folder.jpg' cannot be read; Is a directory",
        "link.jpg": "'link.jpg' cannot be read; No such file or directory",
        "pipe.jpg": "'pipe.jpg' is no regular file",
        "text.png": "'text.png' is no picture that can be decoded; it is no JPEG, PNG, GIF, BMP, WEBP, or its beginning is "
        "damaged",
    }
    bad = features.table().filter(features.table()["error"].is_valid())
    assert np.isnan(np.array(bad["half"].to_pylist())).all()
    with pytest.raises(torso.IntegrityError, match=r"'cut\.jpg' is no picture"):
        extract(photos, "strict", strict=True)
    (photos / "cut.jpg").write_bytes(good.read_bytes())
    before = contents(tmp_path / "out")
    extract(photos)  # done is done
    assert contents(tmp_path / "out") == before
    assert dict(extract(photos, retry=True).failed()).keys() == {
        "empty.jpg",
        "folder.jpg",
        "link.jpg",
        "pipe.jpg",
        "text.png",
    }


def test_a_run_that_was_broken_off_goes_on_to_the_bytes_of_a_quiet_one(extract: Any, write: Write, tmp_path: Path) -> None:
    photos, out = write(count=23), tmp_path / "out"
    extract(photos, "quiet")
    quiet = contents(tmp_path / "quiet")

    def stop(done: int, pictures: int, failed: int) -> None:
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(photos, progress=stop)
    assert {"part-00000.parquet", "part-00001.parquet"} <= contents(out).keys()
    with pytest.raises(torso.OptionError) as refused:
        torso.Features(out)
    assert str(refused.value) == (
        f"{str(out)!r} has 2 of 5 parts: it is not finished\n"
        "  fix: run the same torso extract again; or Features(…, partial=True) reads what is there"
    )
    assert len(torso.Features(out, partial=True).arrays("stem").paths) == 10
    (out / ".part-00002.parquet.0123456789abcdef.partial").mkdir()
    (out / "part-00000.parquet").write_bytes(quiet["part-00001.parquet"])
    damaged = bytearray(quiet["part-00001.parquet"])
    damaged[300] ^= 1
    (out / "part-00001.parquet").write_bytes(damaged)
    (check,) = verify_features(out).checks
    assert [name for name, _, _ in check.differences] == [f"part-0000{shard}.parquet" for shard in range(5)]
    assert check.words.startswith(f"'part-00000.parquet' of {str(out)!r} is of another extraction; 'part-00001.parquet'")
    extract(photos)
    assert contents(out) == quiet
    assert verify_features(out).holds
    (out / "listing.parquet").write_bytes(quiet["listing.parquet"][:-1])
    assert [check.words for check in verify_features(out).checks] == [
        f"'listing.parquet' of {str(out)!r} is missing or damaged"
    ]
    with pytest.raises(torso.IntegrityError, match="fix: extract anew"):
        extract(photos)
    for part in out.glob("part*"):
        part.unlink()
    with pytest.raises(torso.OptionError, match="has 0 of 5 parts"):
        torso.Features(out, partial=True)


def test_no_byte_of_a_part_can_change_what_is_read(extract: Any, write: Write, tmp_path: Path) -> None:
    features, out, found = extract(write(count=2)), Folder(tmp_path / "out"), []
    path, whole = tmp_path / "out/part-00000.parquet", features.table()
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with contextlib.suppress(torso.IntegrityError):
            assert read_part(out, read_extraction(out), 0).equals(whole)
            found.append(position)
    assert len(found) < len(data) / 4  # they are in names and numbers that nobody reads


def test_features_are_read_once_and_only_where_they_are_asked_for(
    extract: Any, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = extract(write(count=4), shard=2)
    asked: list[Any] = []
    monkeypatch.setattr("torso.extraction.features.read_part", lambda *given: asked.append(given[2:]) or read_part(*given))
    assert (features.labels, features.failed(), len([*features.dataset(3, "half")])) == (("a", "b"), [], 2)
    assert asked == [
        (shard, names) for names in (["path", "label", "error"], ["label", "error", "half"]) for shard in (0, 1)
    ]
    path = tmp_path / "out/part-00000.parquet"
    numbers = pq.read_table(path)["half"].combine_chunks().flatten().to_numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(numbers, bytes(len(numbers))))
    damaged = torso.Features(tmp_path / "out")
    assert (damaged.labels, damaged.arrays("stem").failed) == (("a", "b"), 0)
    with pytest.raises(torso.IntegrityError, match=r"'part-00000\.parquet' of .* is damaged"):
        damaged.arrays("half")


def test_a_full_disk_leaves_what_is_finished(extract: Any, write: Write, tmp_path: Path, monkeypatch: Any) -> None:
    photos, written, real = write(count=12), [], Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "part-00001" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return real(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(torso.DiskError, match=r"part-00001\.parquet' could not be written"):
            extract(photos)
    assert {name for name in contents(tmp_path / "out") if name.startswith("part")} == {"part-00000.parquet"}
    assert len(extract(photos).arrays("stem").paths) == 12


def test_another_extraction_is_refused_by_what_differs(extract: Any, write: Write, tmp_path: Path, registry: Any) -> None:
    photos, out = write(count=6), tmp_path / "out"
    extract(photos)

    def refusal(**options: Any) -> str:
        with pytest.raises(torso.TorsoError) as caught:
            extract(photos, **options)
        return str(caught.value)

    fix = "\n  fix: choose another folder, or the same backbone, options and pictures"
    start = f"{str(out)!r} holds another extraction\n  differs: "
    assert refusal(pool="max", shard=6) == f"{start}pool: 'avg' → 'max'\n  differs: shard: 5 → 6{fix}"
    other = torso.create_backbone("TinyNet", weights=None, truncate={"layer": "half"}, registry=registry)
    with pytest.raises(torso.OptionError, match="differs: the backbone's graph\n  differs: the backbone's weights"):
        torso.extract(other, photos, out, shard=5, runtime="keras", registry=registry)
    (photos / "a/000.jpg").unlink()  # what is gone since changes nothing that is done
    extract(photos)
    write("c/new.jpg")
    assert refusal() == f"{start}the pictures: 'c/new.jpg' are new, or have another label{fix}"
    lock = FileLock(out / ".lock")
    (photos / "c/new.jpg").unlink()
    with lock:
        assert refusal() == f"another process writes to {str(out)!r}\n  fix: wait for its end, or choose another folder"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("")
    assert refusal(out="other").startswith(f"{str(tmp_path / 'other')!r} holds no extraction, but thesis.txt")
    with pytest.raises(torso.OptionError, match=r"must be a torso\.Backbone, not a Functional\n  fix: torso\.load\(FOLDER"):
        torso.extract(other.model, photos, out)
    assert refusal(engine="lokal").startswith("unknown engine 'lokal'\n  did you mean: 'local'")
    assert refusal(out="n", dtype="int8") == "dtype must be 'float32' or 'float16', not 'int8'"


def test_sources(extract: Any, write: Write, tmp_path: Path) -> None:
    names = "line\nend.jpg", b"latin-\xe9.jpg", "z/ä.jpg", "z/b.jpg"
    photos = write(*names)
    listed = extract(photos, "odd")
    expected = ["latin-\udce9.jpg", "line\nend.jpg", "z/b.jpg", "z/ä.jpg"]
    assert listed.arrays("half").paths == expected
    assert listed.table()["path"].type == pa.binary()
    by_path = dict(zip(expected, listed.arrays("half").features, strict=True))
    (photos / "some.txt").write_bytes(b"z/b.jpg\n\nlatin-\xe9.jpg\nz/b.jpg\n")
    some = extract(photos / "some.txt", "some").arrays("half")
    assert some.paths == ["latin-\udce9.jpg", "z/b.jpg", "z/b.jpg"]  # each row of its own
    assert [*some.labels] == [None, "z", "z"]
    np.testing.assert_array_equal(some.features, [by_path[path] for path in some.paths])
    for path, label in {"../z/b.jpg": None, "z/../b.jpg": None, "./z/b.jpg": "z", str(photos / "z/b.jpg"): None}.items():
        (photos / "led.txt").write_text(path)
        assert Source.of(photos / "led.txt").listing().to_pylist() == [{"path": path, "label": label}]
    data = [(photos / os.fsencode(path).decode("utf-8", "surrogateescape")).read_bytes() for path in expected]
    tables = {
        "paths": pa.table({"path": expected[2:] * 2, "label": [7, 8, 7, 8]}),
        "images": pa.table({"image": [*data, None], "label": [*"abcde"]}),
        "structures": pa.table({"image": [{"bytes": one, "path": "x"} for one in data]}),
    }
    for name, table in tables.items():
        pq.write_table(table, photos / f"{name}.parquet", row_group_size=3)
    paths = extract(photos / "paths.parquet", "paths", shard=3).arrays("half")
    assert (paths.paths, paths.labels.tolist()) == (["z/b.jpg"] * 2 + ["z/ä.jpg"] * 2, [7, 7, 8, 8])
    images = extract(photos / "images.parquet", "images", shard=2)
    found = images.arrays("half")
    assert (found.paths, found.labels.tolist()) == ([*"0123"], [*"abcd"])
    np.testing.assert_array_equal(found.features, [*by_path.values()])
    assert images.failed() == [("4", "'4' is no picture that can be decoded; it is empty")]
    assert extract(photos / "structures.parquet", "structures").manifest["pictures"] == 4
    pq.write_table(pa.table({"path": ["z/b.jpg", None]}), photos / "null.parquet")
    kinds = pa.table({"path": pa.array(["z/b.jpg"]).dictionary_encode()})  # as pandas' categories
    pq.write_table(kinds, photos / "kinds.parquet")
    assert extract(photos / "kinds.parquet", "kinds").arrays("half").paths == ["z/b.jpg"]
    (photos / "wrong.parquet").write_text("x")
    (tmp_path / "none").mkdir()
    for source, text in (
        (tmp_path / "none", "none' has no pictures\n  known: .jpg"),
        (tmp_path / "nowhere", "nowhere' is no folder\n  fix: a folder of pictures, a .txt"),
        (photos / "z/b.jpg", "b.jpg' is no folder"),
        ([photos / "z/b.jpg"], "the source of pictures must be a path, not a list\n  fix: a folder, or a .txt file"),
        (photos / "null.parquet", "1 rows of '"),
        (photos / "wrong.parquet", "wrong.parquet' is no Parquet file"),
        (photos / "none.txt", "none.txt' cannot be listed\n  cause: No such file"),
    ):
        with pytest.raises(torso.TorsoError) as refused:
            extract(source, "refused")
        assert text in str(refused.value)
    assert not (tmp_path / "refused").exists()


def test_addresses_give_the_same_bytes(extract: Any, write: Write, tmp_path: Path) -> None:
    photos = write(count=7)
    extract(photos, "here")
    (tmp_path / "there").mkdir()
    features = extract(photos.as_uri(), (tmp_path / "there").as_uri())
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    differ = {name for name in {*here, *there} if here.get(name) != there.get(name)}
    assert differ == {".lock", "extraction.json"}  # which names the source
    assert features.arrays("half").paths == torso.Features(tmp_path / "here").arrays("half").paths


def test_the_record_says_how_it_was_made(extract: Any, write: Write, tmp_path: Path, backbone: torso.Backbone) -> None:
    photos = write(count=2)
    extract(photos)
    record = json.loads((tmp_path / "out/extraction.json").read_text())
    assert record["backbone"]["name"] == backbone.name
    assert record["source"] == str(photos)
    assert record["options"] == {"dtype": "float32", "pool": "avg", "precision": "float32", "runtime": "keras", "shard": 5}
    assert [(one["name"], one["shape"]) for one in record["features"]] == [("stem", [4]), ("half", [4])]
    assert (record["pictures"], record["shards"], record["failed"]) == (2, 1, 0)
    assert (record["runtime_error"], record["runtime_cosine"]) == (0, pytest.approx(1))
