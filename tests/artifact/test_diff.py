"""Where two saved backbones are not the same."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies
from networks import images, settle
from saved import edit

import torso
from torso.artifact.differences import differences, short_value

WORDS = strategies.text("abc", min_size=1, max_size=2)
PLAIN = strategies.booleans() | strategies.integers() | WORDS
FACTS = strategies.dictionaries(WORDS, PLAIN | strategies.dictionaries(WORDS, PLAIN, min_size=1), max_size=4)


def made(registry, **spec):
    backbone = torso.create_backbone("TinyNet", weights="none", registry=registry, **spec)
    settle(backbone.model, images((8, 8, 3)))
    return backbone


def test_every_fact_that_differs_is_told_and_no_other(registry, tmp_path):
    one = made(registry).save(tmp_path / "one")
    assert torso.diff(one, made(registry, name="other").save(tmp_path / "same")) == ()
    other = made(registry, freeze="none")
    other.model.get_layer("left").bias.assign([1, 2, 3, 4])
    found = torso.diff(one, other.save(tmp_path / "other"))
    assert [fact for fact, *_ in found] == [
        "freeze",  # what the specs say comes first, and hashes last
        "frozen.everything",
        "frozen.frozen",
        "frozen.silenced.drop",
        "frozen.trainable",
        "frozen.trains",
        "graph.layers.drop.rate",
        "plan.freeze.name",
        "graph.fingerprint",
        "probe.drop",
        "variables.left/bias",
    ]
    assert (found[0], found[2]) == (("freeze", None, "none"), ("frozen.frozen", 280, 0))
    assert [each[1:] for each in found[6:8]] == [("0", "0.5"), ("freeze-policies/all", "freeze-policies/none")]


def test_what_verify_tolerates_is_no_difference_but_may_be_the_cause_of_one(saved, original):
    def elsewhere(manifest):
        manifest["made_with"].update(keras="3.9.0", h5py="3.0.0")
        manifest["plugins"][0].update(version="0.9")
        manifest["plan"].update(provider="/home/other/tiny.py", builder="torso_file_0123456789ab:build")
        feature = manifest["probe"]["features"]["drop"]
        feature.update(sha256="0" * 64, sketch=[value + 1e-6 for value in feature["sketch"]])

    edit(saved, elsewhere)
    assert torso.diff(original, saved) == ()
    edit(saved, lambda manifest: manifest["preprocessing"].update(divide=1.0))
    assert [fact for fact, *_ in torso.diff(original, saved)] == [
        "made_with.h5py",
        "made_with.keras",
        "plugins.freeze-policies.version",
        "preprocessing.divide",
    ]
    edit(saved, lambda manifest: manifest["probe"]["features"]["drop"].update(max=9.0))
    assert "probe.drop" in [fact for fact, *_ in torso.diff(original, saved)]


def said(facts, path):
    """What one of the two says, looked up word by word."""
    first, _, second = path.partition(".")
    value = facts.get(first)
    if not second:
        return None if isinstance(value, dict) else value
    return value.get(second) if isinstance(value, dict) else None


@given(FACTS, FACTS)
def test_every_path_at_which_they_say_something_else_is_told(one, other):
    paths = set()
    for facts in one, other:
        for word, value in facts.items():
            paths |= {f"{word}.{inner}" for inner in value} if isinstance(value, dict) else {word}
    expected = [(path, said(one, path), said(other, path)) for path in sorted(paths)]
    assert list(differences(one, other)) == [each for each in expected if each[1] != each[2]]


def test_entries_of_a_list_are_told_by_their_names():
    one = {"features": [{"name": "C3", "stride": 8}, {"name": "C4", "stride": 16}]}
    other = {"features": [{"name": "C4", "stride": 16}, {"name": "C3", "stride": 4}]}
    assert differences(one, other) == (("features.C3.stride", 8, 4),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0.5, "0.5"),
        ([1, 2], "1, 2"),
        ("ab" * 32, "abababababab…"),
        ("x" * 100, "x" * 30 + "…" + "x" * 29),
    ],
)
def test_a_fact_in_words(value, words):
    assert short_value(value) == words
