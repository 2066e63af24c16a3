from __future__ import annotations

import pytest
from refusals import refusal
from tables import table

from torso.errors import ManyErrors, OptionError, Place
from torso.specs.options import Option, Value, read_options
from torso.specs.yaml_nodes import MappingNode, Node, ScalarNode, from_python
from torso.specs.yaml_reader import read_yaml


def node(text: str) -> Node:
    mapping = read_yaml(f"x: {text}".encode(), file="a.yaml")
    assert isinstance(mapping, MappingNode)
    return mapping.entries[0][1]


# With what messages call their types, in the order of the columns of the table.
OPTIONS = (
    (Option(name="x", type=bool), "true or false"),
    (Option(name="x", type=int), "a whole number"),
    (Option(name="x", type=float), "a number"),
    (Option(name="x", type=str), "text"),
    (Option(name="x", type=float, default=None), "a number"),
    (Option(name="x", type=str, default=None), "text"),
)


@pytest.mark.parametrize(("text", "outcomes"), table("literals"))
def test_the_option_decides_what_a_text_means(text, outcomes):
    value = node(text)
    for (option, words), outcome in zip(OPTIONS, outcomes, strict=True):
        if "read" in outcome:
            assert repr(option.read(value)) == repr(outcome["read"])  # 1 is not 1.0, and not true
            continue
        fix = f"\n  fix: write {outcome['fix']}" if outcome else ""
        said = f"x must be {words}, not {value} (at a.yaml:1:{value.place.column}, $.x){fix}"
        assert refusal(option.read, value, kind=OptionError) == said


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        (Option(name="levels", type=str, many=True), "[C3, '4']", ("C3", "4")),
        (Option(name="counts", type=int, many=True), "[]", ()),
        (Option(name="counts", type=int, many=True, default=None), "none", None),
        (Option(name="alpha", type=float, choices=(0.35, 0.5)), "3.5e-1", 0.35),
        (Option(name="count", type=int, minimum=1, maximum=3), "3", 3),
        (Option(name="budget", type=float, maximum=2_000_000), "2e6", 2e6),
        (Option(name="stop", type=bool, minimum=2), "true", True),
    ],
)
def test_option_reads_lists_and_legal_values(option, text, expected):
    assert option.read(node(text)) == expected


@pytest.mark.parametrize(("option", "text", "expected"), table("illegal_options"))
def test_option_says_what_is_legal(option, text, expected):
    kind = {"int": int, "float": float, "str": str}[option.pop("type")]
    assert refusal(Option(type=kind, **option).read, node(text)) == expected


ALPHA = Option(name="alpha", type=float, default=1.0)
COUNT = Option(name="count", type=int)
OWNER = "strategy 'pop'"


@pytest.mark.parametrize(
    ("value", "positional", "expected"),
    [
        ({"count": 3}, None, {"alpha": 1.0, "count": 3}),
        ({"count": 3, "alpha": 1}, "count", {"alpha": 1.0, "count": 3}),
        (3, "count", {"alpha": 1.0, "count": 3}),
    ],
)
def test_read_options_fills_in_defaults_in_their_order(value: object, positional: str | None, expected: dict[str, Value]):
    options = read_options(OWNER, (ALPHA, COUNT), from_python(value), positional=positional)
    assert list(options.items()) == list(expected.items())
    levels = Option(name="levels", type=str, many=True)
    assert read_options(OWNER, (levels,), node("[C3, C4]"), positional="levels") == {"levels": ("C3", "C4")}
    assert read_options(OWNER, (ALPHA,), None) == {"alpha": 1.0}


def test_read_options_says_all_that_is_wrong_at_once():
    assert refusal(read_options, OWNER, (ALPHA, COUNT), node("{alhpa: 1, alpha: x, beta: 2}"), kind=ManyErrors) == (
        "strategy 'pop' has no option 'alhpa' (at a.yaml:1:5, $.x.alhpa)\n  did you mean: 'alpha'\n  known: alpha, count\n"
        "alpha must be a number, not the text 'x' (at a.yaml:1:22, $.x.alpha)\n"
        "strategy 'pop' has no option 'beta' (at a.yaml:1:25, $.x.beta)\n  known: alpha, count\n"
        "strategy 'pop' needs the option 'count': a whole number (at a.yaml:1:4, $.x)"
    )


@pytest.mark.parametrize(
    ("value", "positional", "expected"),
    [
        (None, None, "strategy 'pop' needs the option 'count': a whole number (argument truncate)"),
        (ScalarNode("3"), None, "the options of strategy 'pop' must be a mapping, not the text '3'"),
        (ScalarNode("x"), "count", "count must be a whole number, not the text 'x'"),
        (ScalarNode(""), "count", "count must be a whole number, not nothing"),
    ],
)
def test_read_options_says_what_a_bare_value_lacks(value, positional, expected):
    assert refusal(read_options, OWNER, (COUNT,), value, positional=positional, place=Place("$.truncate")) == expected
