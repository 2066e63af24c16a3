from __future__ import annotations

from collections import UserDict
from functools import reduce
from pathlib import PurePosixPath

import numpy as np
import pytest
from refusals import refusal

from torso.errors import Place, SpecError
from torso.specs.yaml_nodes import ScalarNode, from_python
from torso.specs.yaml_reader import read_yaml


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (3, "3"),
        (1e-7, "1e-07"),
        ("0.35", "'0.35'"),
        ("none", "'none'"),
        ("", "''"),
        (reduce(lambda below, _: [below], range(19), {}), "[" * 19 + "{}" + "]" * 19),
        (PurePosixPath("a/b.h5"), "a/b.h5"),
        (np.int64(96), "96"),
        (np.str_("edge"), "edge"),
        (range(2), "[0, 1]"),
        (UserDict({"a": [{}, []]}), "{a: [{}, []]}"),
    ],
)
def test_from_python_gives_the_tree_of_the_same_yaml(value, text):
    assert from_python(value) == read_yaml(text.encode(), file="f")


def test_from_python_knows_where_each_value_stands():
    node = from_python({"truncate": {"acme/x y": [1, {"v1.5": 2}]}})
    ((_, choice),) = node.entries
    ((key, value),) = choice.entries
    assert key.place == Place("$.truncate['acme/x y']")
    assert value.items[1].get("v1.5").place == Place("$.truncate['acme/x y'][1]['v1.5']")


KNOWN = "  known: text, numbers, true, false, none, lists and mappings of them"


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, f"a spec cannot hold a value of type 'set' (argument x)\n{KNOWN}"),
        (np.zeros(2), f"a spec cannot hold a value of type 'numpy.ndarray' (argument x)\n{KNOWN}"),
        ({"a": {3: 4}}, "a key must be text, not 3 (argument x.a)"),
        ("a\0b", "the character '\\x00' is not allowed in a spec (argument x)"),
        ({"\ud800": 1}, "the character '\\ud800' is not allowed in a spec (argument x['\\ud800'])"),
        (endless(), f"lists and mappings are nested more than 20 deep (argument x{'[0]' * 20})"),
    ],
)
def test_from_python_refuses_what_yaml_cannot_say(value, message):
    assert refusal(from_python, value, "$.x", kind=SpecError) == message


def test_quotes_count_only_where_the_text_could_be_more_than_text():
    assert ScalarNode("edge", quoted=True) == ScalarNode("edge")
    assert [text for text in ("1", ".5", "true", "None", "~", "") if ScalarNode(text, quoted=True) == ScalarNode(text)] == []
