"""Imports go down only: each module imports rooms of lower floors, and modules of its own room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import torso

ROOT = Path(torso.__file__).parent

FLOORS = (
    ("errors",),
    ("files",),
    ("specs",),
    ("graph",),
    ("weights_files",),
    ("contracts",),
    ("builtins",),
    ("plugins",),
    ("planning",),
    ("model_config",),
    ("modeling",),
    ("artifact",),
    ("export",),
    ("backbone",),
    ("api",),
    ("cli", "testing", "__init__"),
    ("__main__",),
)
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def breaches(module: str, source: str, *, package: bool = False) -> list[str]:
    """What a module imports against the rules, one sentence each; ``module`` is its dotted name."""
    room = room_of(module)
    if room not in HEIGHT:
        return [f"{module} has no floor: give {room!r} one"]
    found = []
    for target, line in imports(ast.parse(source), module if package else module.rpartition(".")[0]):
        other = room_of(target)
        if other == "__init__":
            found.append(f"{module}:{line} imports the package root")
        elif other not in HEIGHT:
            found.append(f"{module}:{line} imports {target}, which has no floor")
        elif other != room and HEIGHT[other] >= HEIGHT[room]:
            found.append(f"{module}:{line} imports {target}, which is not below it")
    return found


def room_of(module: str) -> str:
    """``torso.specs.yaml_nodes`` is in the room ``spec``; the package itself is the door, ``__init__``."""
    return [*module.split("."), "__init__"][1]


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Modules of torso that run when this does, or a function of it: name and line."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(ast.Module(body=node.orelse, type_ignores=[]), package)
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            # "import torso.errors" binds the root, "import torso.errors as errors" does not
            names = [alias.name if alias.asname else alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            names = [f"{above}.{node.module or ''}".strip(".")]  # not what is imported from it: that is in its room
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        for name in names:
            if name.split(".")[0] == "torso":
                yield name, node.lineno
        yield from imports(node, package)


def test_every_module_imports_lower_floors_only():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        package = parts[-1] == "__init__"
        found += breaches(".".join(parts[:-1] if package else parts), path.read_text("utf-8"), package=package)
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("torso.planning", "from torso.plugins.registry import Registry\nimport torso.plugins.registry as registry"),
        ("torso.specs.options", "from torso.errors import Note\nfrom .nodes import Node\nfrom . import nodes"),
        ("torso.contracts.hookspecs", "if TYPE_CHECKING:\n    from torso.planning import Plan"),
        ("torso.planning", "import torsobject\nfrom torsobject import x\nimport numpy"),
    ],
)
def test_a_lawful_import_is_no_breach(module, source):
    assert breaches(module, source) == []


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        *((source, "imports torso.planning, which is not below it") for source in (
            "from torso.planning import Plan",
            "from .planning import Plan",
            "import torso.planning as plan",
            "def f(): from torso.planning import x",
            "import_module('torso.planning')",
            "if TYPE_CHECKING: pass\nelse: from torso.planning import x",
        )),
        *((source, "imports the package root") for source in (
            "import torso", "from torso import errors", "from . import errors", "import torso.errors",
        )),
        ("from torso.tools import x", "imports torso.tools, which has no floor"),
    ],
)  # fmt: skip
def test_an_unlawful_import_is_a_breach(source, breach):
    assert breaches("torso.graph", source) == [f"torso.graph:{len(source.splitlines())} {breach}"]


def test_a_package_counts_relative_imports_from_itself_and_has_a_floor():
    assert breaches("torso.specs", "from .nodes import Node\nfrom . import nodes", package=True) == []
    assert breaches("torso.specs", "from ..planning import Plan", package=True) == [
        "torso.specs:1 imports torso.planning, which is not below it"
    ]
    assert breaches("torso.tools", "") == ["torso.tools has no floor: give 'tools' one"]
