from __future__ import annotations

import io
import os

import pytest

from torso.cli.text import columns_of, facts, printable, short, size_of, table, times, write

TITLES = {"name": "<", "size": ">"}
ROWS = [("one", "1"), ("seventeen", "17"), ("none", "")]


@pytest.fixture
def out(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    return io.StringIO()


def test_table_keeps_to_its_sides_and_says_where_nothing_is(out):
    assert table(TITLES, ROWS, out, page=None).split("\n") == [
        "name       size",
        "─────────  ────",
        "one           1",
        "seventeen    17",
        "none          -",
    ]


def test_table_wider_than_the_page_becomes_paragraphs_that_lose_nothing(out):
    assert table(TITLES, ROWS, out, page=14) == "one\n  size 1\nseventeen\n  size 17\nnone\n"


def test_table_goes_on_below_where_the_last_text_is_too_long(out):
    rows = [("one", "a text of some words that go on"), ("two", "short")]
    assert table({"name": "<", "text": "<"}, rows, out, page=26).split("\n") == [
        "name  text",
        "────  ────────────────────",
        "one   a text of some words",
        "      that go on",
        "two   short",
    ]


def test_table_counts_the_columns_of_wide_characters(out):
    lines = table(TITLES, [("眼", "1"), ("eye", "2")], out, page=None).split("\n")
    assert lines[2:] == ["眼       1", "eye      2"]


def test_facts_hang_below_their_own_text_and_break_no_address(out, monkeypatch):
    monkeypatch.setenv("COLUMNS", "52")
    address = "https://example.com/" + "x" * 50
    assert facts([("from", address), ("", "and so on " * 5), ("to", "me")], out).split("\n") == [
        f"from  {address}",
        "      and so on and so on and so on and so on and so",
        "      on",
        "to    me",
    ]


def test_facts_on_a_narrow_page_stand_one_below_the_other(out, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = facts([("paper", "Somebody et al. 2020"), ("", "and others")], out, indent="  ")
    assert text == "  paper: Somebody et\n    al. 2020\n  and others"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, ""),
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (99_949, "99.9k"),
        (99_951, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (23_587_712, "23.6M"),
    ],
)
def test_short_says_a_count_in_five_characters_at_most(number, text):
    assert short(number) == text


def test_sizes_and_shapes_read_as_people_write_them():
    assert [size_of(12), size_of(94_200_000)] == ["12 B", "94.2 MB"]
    assert times((7, None, 2048)) == "7×any×2048"


def test_printable_shows_what_would_steer_a_terminal():
    assert printable("a\033[2Jb\r\nc×") == "a\\x1b[2Jb\\r\nc×"


def test_write_finds_plainer_characters_for_a_poor_encoding():
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii")
    write("7×7 ── 眼", stream)
    assert held.getvalue() == b"7x7 -- \\u773c\n"


@pytest.mark.parametrize(("given", "columns"), [("60", 60), ("3", 20), ("0", None), ("wide", None)])
def test_columns_come_from_the_environment_where_there_is_no_terminal(out, monkeypatch, given, columns):
    monkeypatch.setenv("COLUMNS", given)
    assert columns_of(out) == columns


@pytest.mark.parametrize(("told", "columns"), [(132, 132), (3, 20), (0, None)])
def test_columns_are_those_of_the_terminal_where_it_knows_them(monkeypatch, tmp_path, told, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda number: os.terminal_size((told, 24)))
    with open(tmp_path / "terminal", "w") as stream:
        assert columns_of(stream) == columns
