"""What is damaged, swapped or forged is never said to hold and never loaded, and no traceback is shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from networks import assert_same_and_meaningful, images, settle
from saved import TINY, edit

import torso
from torso.artifact.lock import Lock, lock_path
from torso.cli import main
from torso.modeling import build as building

SPEC = "version: 1\nbackbones: {edge: {architecture: TinyNet, weights: {file: edge.weights.h5}}}\n"
PIXELS = images((8, 8, 3))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capfd):
    """A command line in this process, where no plugin is installed."""
    monkeypatch.setenv("TORSO_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words], "torso")
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return run


def flips(data, count, seed):
    """The data with one bit turned round, at so many places."""
    generator = np.random.default_rng(seed)
    for position in generator.integers(0, len(data), count):
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(generator.integers(8))
        yield bytes(flipped)


def cuts(data, count):
    """The front of the data, at so many lengths."""
    for number in range(count):
        yield data[: len(data) * number // count]
    yield data[:-1]


def says_the_same(data, manifest):
    try:
        return bool(json.loads(data.decode()) == manifest)
    except ValueError:
        return False


def is_refused(folder):
    """Load raises, and verify raises or finds what is wrong; both with an error of torso."""
    with pytest.raises(torso.IntegrityError):
        torso.load(folder)
    with suppress(torso.IntegrityError):
        assert not torso.verify(folder).holds


# Bits and lengths


def test_a_model_with_one_bit_turned_round_or_cut_off_is_refused_wherever_that_is(saved):
    data = (saved / "model.keras").read_bytes()
    for damaged in (*flips(data, 200, seed=0), *cuts(data, 50)):
        (saved / "model.keras").write_bytes(damaged)
        is_refused(saved)


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_manifest_with_one_bit_turned_round_is_refused_unless_it_says_the_same(saved, count):
    """The last digit of a number that binary floats do not tell from its neighbour, or the E of 1E-5, say the same."""
    data = (saved / "manifest.json").read_bytes()
    manifest = json.loads(data)
    same = 0
    for flipped in flips(data, count, seed=1):
        (saved / "manifest.json").write_bytes(flipped)
        if says_the_same(flipped, manifest):
            same += 1
            assert torso.verify(saved).holds
            assert torso.load(saved).manifest == manifest
        else:
            is_refused(saved)
    assert same < 0.02 * count


def test_a_manifest_that_was_cut_off_is_refused_wherever_that_is(saved):
    data = (saved / "manifest.json").read_bytes()
    for front in cuts(data, 50):
        if not front.endswith(b"}\n") and front != data[:-1]:  # without the last line's end, it is whole
            (saved / "manifest.json").write_bytes(front)
            is_refused(saved)


@pytest.mark.parametrize("name", ["model.keras", "manifest.json"])
def test_verify_ends_with_7_over_what_is_damaged(saved, run, name):
    data = (saved / name).read_bytes()
    manifest = json.loads((saved / "manifest.json").read_text())
    for damaged in (*flips(data, 8, seed=2), *cuts(data[:-1], 3)):
        if not says_the_same(damaged, manifest):
            (saved / name).write_bytes(damaged)
            result = run("verify", saved)
            assert result.code == 7
            assert result.err.count("error: ") == 1
            assert "matches its manifest" not in result.out


# Files of others


def test_the_model_of_another_backbone_of_the_same_architecture_is_refused(saved, other, run):
    shutil.copy(other / "model.keras", saved)
    is_refused(saved)
    result = run("verify", saved)
    assert result.code == 7
    assert f"\nerror: '{saved}' does not match its manifest\n  files: files.model.keras." in result.err
    assert result.err.endswith("; not opened\n")


def test_the_manifest_of_another_backbone_is_refused(saved, other):
    shutil.copy(other / "manifest.json", saved)
    is_refused(saved)


def test_a_model_that_is_swapped_after_its_hash_was_read_is_not_loaded(saved, other, monkeypatch):
    read = keras.models.load_model

    def late(path, **options):
        os.replace(shutil.copy(other / "model.keras", saved / "late"), path)
        return read(path, **options)

    monkeypatch.setattr(keras.models, "load_model", late)
    with pytest.raises(torso.IntegrityError, match=r"does not match its manifest\n  variables\.stem/"):
        torso.load(saved)


@pytest.mark.parametrize("kind", ["another file", "nothing", "a folder", "a pipe", "itself"])
def test_a_model_that_is_a_link_to_something_else_is_refused_and_not_waited_for(saved, other, tmp_path, kind):
    target = tmp_path / "target"
    if kind == "another file":
        shutil.copy(other / "model.keras", target)
    elif kind == "a folder":
        target.mkdir()
    elif kind == "a pipe":
        os.mkfifo(target)
    elif kind == "itself":
        target = saved / "model.keras"
    (saved / "model.keras").unlink()
    (saved / "model.keras").symlink_to(target)
    is_refused(saved)


def test_a_model_that_is_a_link_to_the_same_bytes_is_the_same(saved, tmp_path):
    backbone = torso.load(saved)
    shutil.move(saved / "model.keras", tmp_path / "elsewhere.keras")
    (saved / "model.keras").symlink_to(tmp_path / "elsewhere.keras")
    assert torso.verify(saved).holds
    assert_same_and_meaningful(torso.load(saved).model(PIXELS), backbone.model(PIXELS))


@pytest.mark.parametrize("name", ["model.keras", "manifest.json"])
def test_a_folder_in_the_place_of_a_file_is_refused(saved, name):
    (saved / name).unlink()
    (saved / name).mkdir()
    is_refused(saved)


def test_a_file_in_the_place_of_the_folder_is_refused(saved, run):
    place = saved / "manifest.json"
    for look in torso.load, torso.verify:
        with pytest.raises(torso.OptionError, match=f"^'{place}' holds no saved backbone: it has no manifest.json$"):
            look(place)
    assert run("verify", place).code == 2


# Manifests that are none


NOT_UTF8 = "cannot be read\n  cause: 'utf-8' codec can't decode byte"
READS = ", and this torso reads version 2\n  fix: "
OLDER, NEWER = f"{READS}use the torso that wrote it, or write it again with this one", f"{READS}update torso"


def version(text):
    """Another version in the place of the manifest's."""
    return lambda data: data.replace(b'"manifest": 2,', f'"manifest": {text},'.encode())


ODD = {
    "BOM": (lambda data: b"\xef\xbb\xbf" + data, "cannot be read\n  cause: Unexpected UTF-8 BOM"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), NOT_UTF8),
    "Latin-1": (lambda data: data.replace(b"edge", b"\xe9dge"), NOT_UTF8),
    "a surrogate": (lambda data: data.replace(b"edge", b"\xed\xa0\x80"), NOT_UTF8),
    "more": (lambda data: data + b"{}", "cannot be read\n  cause: Extra data"),
    "zeros": (lambda data: bytes(len(data)), "cannot be read\n  cause: Expecting value"),
    "deep lists": (lambda data: b"[" * 200_000, "cannot be read\n  cause: "),
    "deep mappings": (lambda data: b'{"manifest":' * 200_000, "cannot be read\n  cause: "),
    "null": (lambda data: b"null", f"is a manifest of version None{OLDER}"),
    "NaN": (lambda data: b"NaN", f"is a manifest of version None{OLDER}"),
    "newer": (version("3"), f"is a manifest of version 3{NEWER}"),
    "much newer": (version("1" + "0" * 300), f"is a manifest of version 1{'0' * 300}{NEWER}"),
    "older": (version("1"), f"is a manifest of version 1{OLDER}"),
    "negative": (version("-2"), f"is a manifest of version -2{OLDER}"),
    "not a number": (version("NaN"), f"is a manifest of version nan{OLDER}"),
    "infinite": (version("1e999"), f"is a manifest of version inf{OLDER}"),
    "true": (version("true"), f"is a manifest of version True{OLDER}"),
    "a list": (version("[2]"), f"is a manifest of version [2]{OLDER}"),
    "a text": (version('"2"'), f"is a manifest of version 2{OLDER}"),
    "huge": (version("9" * 5000), "cannot be read\n  cause: Exceeds the limit (4300 digits) for integer string conversion"),
    **{  # other readers of JSON take the first of two; a person sees it first too
        f"{fact} twice": (
            lambda data, fact=fact: data.replace(b"{\n", f'{{\n  "{fact}": 2,\n'.encode(), 1),
            f"cannot be read\n  cause: it says '{fact}' twice",
        )
        for fact in ("name", "manifest", "digest")
    },
}


@pytest.mark.parametrize(("change", "said"), ODD.values(), ids=ODD)
def test_what_is_no_manifest_of_this_version_says_what_it_is(saved, run, change, said):
    place = saved / "manifest.json"
    data = place.read_bytes()
    place.write_bytes(change(data))
    assert place.read_bytes() != data
    assert_said(saved, run, f"'{place}' {said}")


def assert_said(saved, run, said):
    """Load, verify and the command line begin with the same words."""
    for look in torso.load, torso.verify:
        with pytest.raises(torso.IntegrityError) as caught:
            look(saved)
        assert str(caught.value).startswith(said)
    result = run("verify", saved)
    assert (result.code, result.out) == (7, "")
    assert f"\nerror: {said}" in result.err
    assert result.err.count("error: ") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["probe"].update(tolerance=float("nan")),
        lambda manifest: manifest["preprocessing"].update(divide=float("inf")),
        lambda manifest: manifest["graph"].update(nodes=10**300),
        lambda manifest: manifest.update(more="that nobody wrote"),
        lambda manifest: manifest.pop("digest"),
        lambda manifest: manifest.update(digest=None),
        lambda manifest: manifest["files"].clear(),
        lambda manifest: manifest["files"].update({"../edge/model.keras": manifest["files"]["model.keras"]}),
    ],
)
def test_a_manifest_edited_by_hand_is_not_what_was_saved(saved, change):
    manifest = json.loads((saved / "manifest.json").read_text())
    change(manifest)
    (saved / "manifest.json").write_text(json.dumps(manifest))
    is_refused(saved)
    with pytest.raises(torso.IntegrityError, match=r"was changed after it was saved\n  see: torso verify "):
        torso.load(saved)


# Weights files and locks


@pytest.fixture
def spec(tmp_path, registry):
    """A spec with a weights file of its own; another one stands beside it, of the same size and as old."""
    for seed, name in enumerate(("edge", "evil"), 1):
        model = torso.get_base_model("TinyNet", weights="none", registry=registry)
        settle(model, images((8, 8, 3), seed=seed))
        model.get_layer("stem").bias.assign([seed] * 4)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        os.utime(tmp_path / f"{name}.weights.h5", (10**9, 10**9))
    assert len({path.stat().st_size for path in tmp_path.glob("*.h5")}) == 1
    path = tmp_path / "nets.yaml"
    path.write_text(SPEC)
    return path


def swap(spec):
    os.replace(spec.with_name("evil.weights.h5"), spec.with_name("edge.weights.h5"))


def hash_of_weights(spec):
    return hashlib.sha256(spec.with_name("edge.weights.h5").read_bytes()).hexdigest()


def test_weights_swapped_after_planning_are_refused_where_their_hash_was_given(spec, registry):
    told = hash_of_weights(spec)
    spec.write_text(SPEC.replace("edge.weights.h5}", f"edge.weights.h5, sha256: {told}}}"))
    backbones = torso.load_specs(spec, registry=registry)
    swap(spec)
    with pytest.raises(torso.IntegrityError) as caught:
        backbones["edge"]
    assert f"sha256 expected: {told}\n  sha256 found: {hash_of_weights(spec)}" in str(caught.value)


def test_weights_swapped_after_planning_are_those_that_the_manifest_names(spec, registry, tmp_path):
    backbones = torso.load_specs(spec, registry=registry)
    swap(spec)
    assert backbones["edge"].model.get_layer("stem").bias.numpy().tolist() == [2.0] * 4
    folder = backbones["edge"].save(tmp_path / "out")
    assert json.loads((folder / "manifest.json").read_text())["weights_file"]["sha256"] == hash_of_weights(spec)


@pytest.mark.parametrize("late", [False, True])
def test_weights_swapped_once_they_were_read_have_no_hash_in_the_manifest(spec, registry, tmp_path, monkeypatch, late):
    if not late:
        freeze = building.freeze
        monkeypatch.setattr(building, "freeze", lambda *arguments: (swap(spec), freeze(*arguments))[1])
    backbone = torso.load_specs(spec, registry=registry)["edge"]
    if late:
        swap(spec)  # of the same size, and as old
    assert backbone.model.get_layer("stem").bias.numpy().tolist() == [1.0] * 4
    told = json.loads((backbone.save(tmp_path / "out") / "manifest.json").read_text())["weights_file"]
    assert told["sha256"] is None
    assert Lock.of(lock_path(spec), [backbone.record]).entries["edge"]["weights"]["sha256"] is None


@pytest.mark.parametrize("late", [False, True])
def test_weights_swapped_after_locking_are_refused(spec, registry, late):
    lock = Lock.of(lock_path(spec), [torso.load_specs(spec, registry=registry)["edge"].record])
    lock.path.write_text(lock.text())
    if not late:
        swap(spec)
    backbones = torso.load_specs(spec, registry=registry, locked=True)
    if late:
        swap(spec)
    with pytest.raises(torso.IntegrityError, match=f"sha256 found: {hash_of_weights(spec)}"):
        backbones["edge"]


def test_build_refuses_weights_swapped_after_locking(spec, run):
    words = ("build", spec, "-o", spec.with_name("out"), "--locked", "--plugins-dir", TINY)
    assert run("lock", spec, "--plugins-dir", TINY).code == 0
    assert run(*words).code == 0
    before = {path: path.read_bytes() for path in spec.with_name("out").rglob("*") if path.is_file()}
    assert len(before) == 2
    swap(spec)
    result = run(*words, "--force")
    assert result.code == 7
    assert f"sha256 found: {hash_of_weights(spec)}" in result.err
    assert {path: path.read_bytes() for path in spec.with_name("out").rglob("*") if path.is_file()} == before


def test_a_lock_with_one_bit_flipped_or_cut_off_is_refused_unless_it_says_the_same(spec, registry):
    place = lock_path(spec)
    lock = Lock.of(place, [torso.load_specs(spec, registry=registry)["edge"].record])
    data = lock.text().encode()
    refused = 0
    for damaged in (*flips(data, 200, seed=3), *cuts(data, 50)):
        place.write_bytes(damaged)
        if says_the_same(damaged, json.loads(data)):
            assert Lock.read(place).entries == lock.entries
            continue
        refused += 1
        with pytest.raises(torso.IntegrityError):
            Lock.read(place)
    assert refused > 240


# Told twice, or signed by whoever wants to deceive.


def test_a_lock_that_says_something_twice_is_refused(spec, registry):
    place = lock_path(spec)
    text = Lock.of(place, [torso.load_specs(spec, registry=registry)["edge"].record]).text()
    place.write_text(text.replace('"edge": {', '"edge": {}, "edge": {', 1))
    with pytest.raises(torso.IntegrityError, match=r"cannot be read\n  cause: it says 'edge' twice$"):
        Lock.read(place)


def test_a_manifest_that_is_a_pipe_is_refused_and_not_waited_for(saved, run):
    place = saved / "manifest.json"
    place.unlink()
    os.mkfifo(place)
    assert_said(saved, run, f"'{place}' cannot be read\n  cause: it is a directory, a pipe or a device, not a file")


@pytest.mark.parametrize("shape", [[9, 8, 3], [8, 8, 1], [0, 8, 3], [-8, 8, 3], [10**9, 10**9, 3], [8, 8], "883", None])
def test_a_manifest_that_tells_of_other_images_than_the_model_takes_is_refused(saved, run, shape):
    edit(saved, lambda manifest: manifest["plan"].update(input_shape=shape))
    with pytest.raises(torso.IntegrityError, match=rf"graph\.input_shape expected: {re.escape(str(shape))}\n"):
        torso.load(saved)
    wrong = [check.name for check in torso.verify(saved).checks if not check.holds]
    assert wrong == ["graph", "preprocessing", "probe"]
    assert run("verify", saved).code == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["preprocessing"].update(divide="127,5"),
        lambda manifest: manifest["preprocessing"].update(divide=10**400),
        lambda manifest: manifest["preprocessing"].update(mean=["a"]),
        lambda manifest: manifest["probe"].update(tolerance="x"),
        lambda manifest: manifest["probe"].update(tolerance=10**400),
        lambda manifest: manifest["probe"]["features"]["drop"].update(sha256="0", mean=10**400),
        lambda manifest: manifest["probe"]["features"]["drop"].update(sha256="0", sketch=[]),
    ],
)
def test_odd_values_are_no_defect_of_torso(saved, run, change):
    edit(saved, change)
    with pytest.raises(torso.IntegrityError, match="is not a valid manifest\n  cause: "):
        torso.verify(saved)
    assert run("verify", saved).code == 7
