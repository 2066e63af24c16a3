"""Where two saved backbones are not the same."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies
from networks import images, settle

import torso
from torso.artifact.diff import differences, short_value

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
        "frozen.everything",
        "frozen.frozen",
        "frozen.silenced.drop",
        "frozen.trainable",
        "frozen.trains",
        "plan.freeze.name",
        "probe.drop",
        "variables.left/bias",
    ]
    assert found[1] == ("frozen.frozen", 280, 0)
    assert found[5][1:] == ("freeze-policies/all", "freeze-policies/none")


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
