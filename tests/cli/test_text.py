from __future__ import annotations

import io

import pytest

from torso.cli.text import bold, format_bytes, format_shape, key_values, printable, section, short, table, write


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table_aligns_its_columns_and_marks_what_is_empty():
    rows = [("one", 0), ("seventeen", "17"), ("two\nlines", ""), ("three", None)]
    assert table(("name", ">size"), rows).split("\n") == [
        bold("name        size"),
        "──────────  ────",
        "one            0",
        "seventeen     17",
        "two\\nlines     -",
        "three          -",
    ]


def test_key_values_wrap_below_their_own_text_and_break_no_address(monkeypatch):
    monkeypatch.setenv("COLUMNS", "52")
    address = "https://example.com/" + "x" * 50
    assert key_values([("from", address), ("", "and so on " * 5), ("to", "me")]).split("\n") == [
        f"  from  {address}",
        "        and so on and so on and so on and so on and",
        "        so on",
        "  to    me",
    ]
    assert key_values([]) == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0, "0"), (999, "999"), (1000, "1.0k"), (99_949, "99.9k"), (99_951, "100k"), (999_499, "999k"),
     (999_500, "1.0M"), (23_587_712, "23.6M")],
)  # fmt: skip
def test_short_writes_a_count_in_five_characters_at_most(number, text):
    assert short(number) == text


def test_sizes_and_shapes_read_as_people_write_them_and_printable_escapes_what_would_control_a_terminal():
    assert [format_bytes(12), format_bytes(94_200_000)] == ["12 B", "94.2 MB"]
    assert format_shape((7, None, 2048)) == "7×any×2048"
    assert printable("a\033[2Jb\r\nc×") == "a\\x1b[2Jb\\r\nc×"


def test_write_finds_plainer_characters_for_a_poor_encoding():
    held = io.BytesIO()
    stream = io.TextIOWrapper(held, encoding="ascii")
    write("7×7 ── 眼", stream)
    assert held.getvalue() == b"7x7 -- \\u773c\n"


@pytest.mark.parametrize(
    ("stream", "environment", "shown"),
    [
        (Terminal, {}, "\033[1mname\033[0m\n  a\n"),
        (Terminal, {"NO_COLOR": "1"}, "name\n  a\n"),
        (Terminal, {"TERM": "dumb"}, "name\n  a\n"),
        (io.StringIO, {}, "name\n  a\n"),
    ],
)
def test_bold_is_for_terminals_that_want_it(monkeypatch, stream, environment, shown):
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **environment}.items():
        monkeypatch.setenv(name, value)
    out = stream()
    write(section("name", "  a"), out)
    assert out.getvalue() == shown
