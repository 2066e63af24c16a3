"""Errors are data first: a fact, a place, notes and an exit code."""

from __future__ import annotations

import pickle

import pytest

from torso.errors import (
    DiskError,
    IntegrityError,
    ManyErrors,
    OptionError,
    OutputExistsError,
    Place,
    SpecError,
    UnknownNameError,
    did_you_mean,
    known,
    nearest,
    raise_all,
)


def test_an_error_says_the_fact_the_place_and_its_notes():
    error = UnknownNameError(
        "layer 'x' is not in ResNet50",
        place=Place("$.backbones.a.truncate.layer", "b.yaml", 9, 22),
        notes=[("did you mean", "'y'"), ("see", "torso show ResNet50")],
    )
    assert str(error) == (
        "layer 'x' is not in ResNet50 (at b.yaml:9:22, $.backbones.a.truncate.layer)\n"
        "  did you mean: 'y'\n"
        "  see: torso show ResNet50"
    )


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place("$.input.size[0]"), "argument input.size[0]"), (Place(), ""), (Place("--set depth"), "at --set depth"),
        (Place(file="b.yaml"), "at b.yaml, $"), (Place("$", "b.yaml", 2, 1), "at b.yaml:2:1, $"),
    ],
)  # fmt: skip
def test_a_place_says_what_is_known_of_it(place, text):
    assert str(place) == text
    error = SpecError("x", place=place)
    assert str(error) == (f"x ({text})" if text else "x")
    assert error.at(Place("$.other")).place == place  # known already


@pytest.mark.parametrize(
    ("kind", "builtin", "code"),
    [
        (SpecError, ValueError, 2), (UnknownNameError, LookupError, 2), (OptionError, ValueError, 2),
        (OutputExistsError, FileExistsError, 2), (DiskError, OSError, 5), (IntegrityError, ValueError, 7),
    ],
)  # fmt: skip
def test_every_error_is_also_a_builtin_and_has_an_exit_code(kind, builtin, code):
    error = kind("it's so", place=Place("$.name"), notes=[("fix", "do")])
    assert isinstance(error, builtin)
    assert error.exit_code == code
    many = pickle.loads(pickle.dumps(ManyErrors([error, error])))  # as from another process
    assert [str(one) for one in many.parts()] == [str(error)] * 2
    assert (type(many.errors[0]), many.exit_code) == (kind, code)
    assert str(error) == "it's so (argument name)\n  fix: do"


def test_many_errors_are_flat_and_end_with_the_gravest_code():
    raise_all([])
    with pytest.raises(SpecError, match="one"):
        raise_all([SpecError("one")])
    with pytest.raises(ManyErrors, match="one\ntwo\nthree") as caught:
        raise_all([ManyErrors([SpecError("one"), IntegrityError("two")]), OptionError("three")])
    assert [error.fact for error in caught.value.errors] == ["one", "two", "three"]
    assert caught.value.exit_code == 7


def test_notes_name_what_is_near_and_what_is_known():
    assert nearest("resnet5O", ["VGG16", "ResNet101", "ResNet50"]) == ("ResNet50", "ResNet101")
    assert did_you_mean("zzz", ["ResNet50"]) == ()
    assert known("abc", most=2) == ("known", "a, b, … and 1 more")
    assert known([]) == ("known", "nothing")
