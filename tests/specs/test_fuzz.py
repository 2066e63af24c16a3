"""Whatever stands in a spec, it is read or refused, and soon: nothing else escapes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from work import calls_in

from torso.errors import TorsoError
from torso.specs.spec_file import backbone_from_python, read_spec
from torso.specs.yaml_reader import read_yaml

EXAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parent / "examples").glob("*.yaml"))]
WORDS = r"""[ ] { } , : ? - # & * ! | > ' " % @ ` < << ~ = \x \u \U \ud800 \UFFFFFFFF --- ... &a *a !!int !<x> ! %YAML"""
SPACES = (
    ": ", "- ", "? ", " #", "\n", "\r", "\t", "  ", "\n\n  ",
    "|2\n", ">-\n", "\0", "\x1b", "\x7f", "\x85", "\ufeff", "\u2028",
)  # fmt: skip
PIECES = (
    *(piece.encode() for piece in (*WORDS.split(), *SPACES, "\U0001f600", "9" * 5000, "0x", "1e999")),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80"),
)


def errors_of(call: Callable[[], object]) -> tuple[TorsoError, ...]:
    """The errors that a call raises; any other exception goes through."""
    try:
        call()
    except TorsoError as error:
        return error.parts()
    return ()


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(EXAMPLES))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        end = at + chance.choice((0, 0, 1, 1, 2, 8, 40))
        what = chance.randrange(4)
        if what == 0:
            data[at:end] = b""
        elif what == 1:
            data[at:end] = chance.choice(PIECES)
        elif what == 2:
            data[at:end] = bytes([chance.randrange(256)])
        else:
            start = chance.randrange(len(data) + 1)
            data[at:at] = data[start : start + chance.randint(1, 60)]
    return bytes(data)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_only_errors_of_torso_escape_from_a_damaged_spec_and_each_knows_its_line(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.yaml").write_bytes(EXAMPLES[-1])
    chance = random.Random(seed)
    path = Path("spec.yaml")
    refused = 0
    undamaged = calls_in(errors_of, lambda: read_spec("three.yaml"))
    most = 0
    for number in range(300):
        path.write_bytes(mutated(chance))
        errors = errors_of(lambda: read_spec(path))
        if number % 10 == 0:
            most = max(most, calls_in(errors_of, lambda: read_spec(path)))
        refused += bool(errors)
        assert all(error.place is not None and error.place.line for error in errors), path.read_bytes()
    assert 120 < refused < 295
    assert most < 4 * undamaged


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_only_errors_of_torso_escape_from_any_bytes(data):
    errors = errors_of(lambda: read_yaml(data, file="any.yaml"))
    assert all(error.place is not None and error.place.line for error in errors)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2) | st.dates(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), below, max_size=2),
    max_leaves=5,
)
keywords = st.sampled_from(["architecture", "options", "weights", "input", "truncate", "freeze", "other"])


@settings(max_examples=100, deadline=None)
@given(keys=st.dictionaries(keywords, values | st.fixed_dictionaries({}, optional={"size": values, "channels": values})))
def test_only_errors_of_torso_escape_from_any_python_value(keys):
    errors = errors_of(lambda: backbone_from_python("edge", **keys))
    assert all(error.place is not None for error in errors)
