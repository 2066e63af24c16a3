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
        ("torso.planning", "from torso.plugins.registry import Registry"),
        ("torso.planning", "import torso.plugins.registry as registry"),
        ("torso.specs.options", "from torso.specs.yaml_nodes import Node\nfrom .nodes import Node\nfrom . import nodes"),
        ("torso.graph", "from torso.specs.yaml_nodes import Node\nfrom torso.errors import CutError"),
        (
            "torso.contracts.hookspecs",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torso.planning import Plan",
        ),
        ("torso.planning", "import torsobject\nfrom torsobject import x\nimport numpy"),
        ("torso.__main__", "from torso.cli import main"),
    ],
)
def test_a_lawful_import_is_no_breach(module, source):
    assert breaches(module, source) == []


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        (
            "torso.graph",
            "\nfrom torso.planning import Plan",
            "torso.graph:2 imports torso.planning, which is not below it",
        ),
        ("torso.graph", "from .planning import Plan", "torso.graph:1 imports torso.planning, which is not below it"),
        ("torso.graph", "import torso.planning as plan", "torso.graph:1 imports torso.planning, which is not below it"),
        (
            "torso.graph",
            "def f():\n    from torso.planning import x",
            "torso.graph:2 imports torso.planning, which is not below it",
        ),
        (
            "torso.graph",
            "import_module('torso.planning')",
            "torso.graph:1 imports torso.planning, which is not below it",
        ),
        (
            "torso.graph",
            "if TYPE_CHECKING:\n    pass\nelse:\n    from torso.planning import x",
            "torso.graph:4 imports torso.planning, which is not below it",
        ),
        (
            "torso.contracts.truncation",
            "from torso.planning.plan import Plan",
            "torso.contracts.truncation:1 imports torso.planning.plan, which is not below it",
        ),
        (
            "torso.specs.yaml_nodes",
            "from torso.graph import Graph",
            "torso.specs.yaml_nodes:1 imports torso.graph, which is not below it",
        ),
        (
            "torso.builtins.builder",
            "from torso.modeling import draw",
            "torso.builtins.builder:1 imports torso.modeling, which is not below it",
        ),
        (
            "torso.plugins.registry",
            "def f():\n    from torso.modeling import draw",
            "torso.plugins.registry:2 imports torso.modeling, which is not below it",
        ),
        ("torso.planning", "from torso import errors", "torso.planning:1 imports the package root"),
        ("torso.planning", "from . import errors", "torso.planning:1 imports the package root"),
        ("torso.specs.yaml_nodes", "from .. import errors", "torso.specs.yaml_nodes:1 imports the package root"),
        ("torso.planning", "import torso", "torso.planning:1 imports the package root"),
        ("torso.planning", "import torso.errors", "torso.planning:1 imports the package root"),
        ("torso.planning", "from torso.tools import x", "torso.planning:1 imports torso.tools, which has no floor"),
        ("torso.tools", "", "torso.tools has no floor: give 'tools' one"),
    ],
)
def test_an_unlawful_import_is_a_breach(module, source, breach):
    assert breaches(module, source) == [breach]


def test_a_package_counts_relative_imports_from_itself():
    assert breaches("torso.specs", "from .nodes import Node\nfrom . import nodes", package=True) == []
    assert breaches("torso.specs", "from ..planning import Plan", package=True) == [
        "torso.specs:1 imports torso.planning, which is not below it"
    ]
