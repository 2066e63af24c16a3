"""What is damaged or swapped is never said to hold and never loaded."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

import numpy as np
import pytest
from saved import write_weights

import torso
from torso.artifact.lock import Lock, lock_path
from torso.modeling import build as building

SPEC = "version: 1\nbackbones: {edge: {architecture: TinyNet, weights: {file: edge.weights.h5}}}\n"


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


def test_a_model_with_one_bit_turned_round_or_cut_off_is_refused_wherever_that_is(saved):
    data = (saved / "model.keras").read_bytes()
    for damaged in (*flips(data, 200, seed=0), *cuts(data, 50)):
        (saved / "model.keras").write_bytes(damaged)
        is_refused(saved)


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_manifest_with_one_bit_turned_round_or_cut_off_is_refused_unless_it_says_the_same(saved, count):
    """The last digit of a number that binary floats do not tell from its neighbour, or the E of 1E-5, say the same."""
    data = (saved / "manifest.json").read_bytes()
    manifest = json.loads(data)
    same = 0
    for damaged in (*flips(data, count, seed=1), *cuts(data, 50)):
        (saved / "manifest.json").write_bytes(damaged)
        if says_the_same(damaged, manifest):
            same += 1
            assert torso.verify(saved).holds
            assert torso.load(saved).manifest == manifest
        else:
            is_refused(saved)
    assert same <= 1 + 0.02 * count  # without the last line's end, it is whole


def version(text):
    """Another version in the place of the manifest's."""
    return lambda data: data.replace(b'"manifest": 3,', f'"manifest": {text},'.encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.replace(b"edge", b"\xe9dge"), "cannot be read\n  cause: 'utf-8' codec can't decode byte"),
        (lambda data: data + b"{}", "cannot be read\n  cause: Extra data"),
        (lambda data: b"null", "is a manifest of version None, and this torso reads version 3\n  fix: build it again"),
        (version("4"), "is a manifest of version 4, and this torso reads version 3\n  fix: update torso"),
        (version("true"), "is a manifest of version True, and this torso"),
    ],
)
def test_what_is_no_manifest_of_this_version_says_what_it_is(saved, change, said):
    place = saved / "manifest.json"
    place.write_bytes(change(place.read_bytes()))
    for look in torso.load, torso.verify:
        with pytest.raises(torso.IntegrityError) as caught:
            look(saved)
        assert str(caught.value).startswith(f"{str(place)!r} {said}")


# Weights files and locks


@pytest.fixture
def spec(tmp_path, registry):
    """A spec with a weights file of its own; another one stands beside it, of the same size and as old."""
    for seed, name in enumerate(("edge", "evil"), 1):
        write_weights(tmp_path / f"{name}.weights.h5", registry, seed)
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
    with pytest.raises(torso.IntegrityError, match="was changed or replaced after it was read: its hash is not known"):
        Lock.of(lock_path(spec), [backbone.record])


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
