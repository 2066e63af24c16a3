from __future__ import annotations

import pkgutil
import shlex

import click
import pytest

from torso.cli import commands, main
from torso.cli.app import COMMANDS
from torso.cli.result import EXIT_CODES
from torso.cli.shared_options import Session

LOADED = {name: main.get_command(click.Context(main), name) for name in COMMANDS}


def test_help_names_every_command_and_every_exit_code(torso):
    page = torso("--help").out
    for word in (*COMMANDS, *map(str, EXIT_CODES), "-p, --plugin", "--json", "-q, --quiet", "--debug", "-V, --version"):
        assert f"  {word}" in page
    assert torso("--help", plugins=False) == torso(plugins=False)
    assert torso("--version").out == torso("-V").out == "torso 0.1.0\n"
    assert torso("help") == torso("-h", plugins=False) == torso("--help")
    assert torso("help", "build") == torso("build", "--help") == torso("build", "-h")
    assert torso("help", "biuld").err.startswith("error: no such command 'biuld'\n  did you mean: 'build'\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_its_example_and_exit_codes(torso, name):
    result = torso(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert COMMANDS[name].rstrip(".") in " ".join(result.out.split())  # both pages say the same
    assert f"\nExample:\n  {LOADED[name].example}\n" in result.out
    for code in LOADED[name].codes:
        assert f"\n  {code} " in result.out
    assert max(map(len, result.out.split("\n"))) <= 80


def test_every_command_is_in_the_table_under_its_own_name():
    assert {module.name for module in pkgutil.iter_modules(commands.__path__)} == {f"{name}_command" for name in COMMANDS}
    assert {name: command.name for name, command in LOADED.items()} == {name: name for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_can_be_parsed(name):
    words = shlex.split(LOADED[name].example.replace('"$(', "").replace(')"', ""), comments=True)
    words = words[words.index("torso") + 1 :]
    words = words[: words.index(">")] if ">" in words else words
    assert words[0] == name
    LOADED[name].make_context(name, words[1:], obj=Session())
