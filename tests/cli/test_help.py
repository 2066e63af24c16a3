from __future__ import annotations

import pkgutil
import shlex

import click
import pytest

from torso.cli import commands as verbs, main
from torso.cli.app import VERBS
from torso.cli.result import EXIT_CODES

COMMANDS = {name: main.get_command(click.Context(main), name) for name in VERBS}


def test_help_names_every_verb_and_every_exit_code(torso):
    page = torso("--help").out
    for word in (*VERBS, *map(str, EXIT_CODES), "-p, --plugin", "--json", "--debug", "--version"):
        assert f"  {word}" in page
    assert torso("--help", plugins=False) == torso(plugins=False)


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_has_an_example_and_its_exit_codes(torso, name):
    result = torso(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert f"\nExample:\n  {COMMANDS[name].example}\n" in result.out
    for code in COMMANDS[name].codes:
        assert f"\n  {code} " in result.out
    assert max(map(len, result.out.split("\n"))) <= 80


def test_every_module_of_a_verb_is_in_the_table_under_its_own_name():
    assert {module.name for module in pkgutil.iter_modules(verbs.__path__)} == {f"{name}_command" for name in VERBS}
    assert {name: command.name for name, command in COMMANDS.items()} == {name: name for name in VERBS}


@pytest.mark.parametrize("name", VERBS)
def test_the_example_of_a_verb_can_be_parsed(name):
    words = shlex.split(COMMANDS[name].example.replace('"$(', "").replace(')"', ""), comments=True)
    words = words[words.index("torso") + 1 :]
    if ">" in words:
        words = words[: words.index(">")]
    assert words[0] == name
    COMMANDS[name].make_context(name, words[1:])


@pytest.mark.parametrize("name", VERBS)
def test_help_fits_forty_columns(torso, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = torso(name, "--help").out.split("\n")
    assert [line for line in lines if len(line) > 40 and COMMANDS[name].example not in line] == []


def test_version(torso):
    assert torso("--version").out == "torso 0.1.0\n"
