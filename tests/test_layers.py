"""Imports go down only: each module imports packages below its own, and modules of its own package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import torso

ROOT = Path(torso.__file__).parent
LAYERS = (
    *("errors tables", "files", "specs", "graph", "weights_files", "contracts", "builtins", "plugins", "planning"),
    *("model_config", "modeling", "training", "artifact", "export", "runtimes", "backbone", "api", "base_model extraction"),
    *("probing", "cli testing __init__", "__main__"),
)
HEIGHT = {package: height for height, packages in enumerate(LAYERS) for package in packages.split()}


def breaches(module: str, source: str) -> list[str]:
    """What a module imports against the rules, one sentence each; ``module`` is its dotted name."""
    package = package_of(module)
    if package not in HEIGHT:
        return [f"{module} is in no layer: give {package!r} one"]
    found = []
    for target, line in imports(ast.parse(source)):
        other = package_of(target)
        if not target:
            found.append(f"{module}:{line} imports by a relative path")
        elif other == "__init__":
            found.append(f"{module}:{line} imports the package root")
        elif other not in HEIGHT:
            found.append(f"{module}:{line} imports {target}, which is in no layer")
        elif other != package and HEIGHT[other] >= HEIGHT[package]:
            found.append(f"{module}:{line} imports {target}, which is not below it")
    return found


def package_of(module: str) -> str:
    """``torso.specs.yaml_nodes`` is in ``specs``; the root is ``__init__``."""
    return [*module.split("."), "__init__"][1]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Modules of torso that are imported when this runs, or a function of it: name and line; no name if it is relative."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(ast.Module(body=node.orelse, type_ignores=[]))
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            # "import torso.errors" binds the root, "import torso.errors as errors" does not
            names = [alias.name if alias.asname else alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["" if node.level else str(node.module)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        yield from ((name, node.lineno) for name in names if name.split(".")[0] in ("torso", ""))  # type: ignore[attr-defined]
        yield from imports(node)


def test_every_module_imports_lower_layers_only():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found += breaches(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text("utf-8"))
    assert found == []


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ("from torso.errors import Note\nimport torso.files.hashing as hashing\nfrom torso.graph.node import Node", ""),
        ("if TYPE_CHECKING:\n    from torso.planning import Plan", ""),
        ("import torsobject\nfrom torsobject import x\nimport numpy", ""),
        *((source, "imports torso.planning, which is not below it") for source in (
            "from torso.planning import Plan", "import torso.planning as plan", "def f(): from torso.planning import x",
            "import_module('torso.planning')", "if TYPE_CHECKING: pass\nelse: from torso.planning import x",
        )),
        *((source, "imports the package root") for source in ("import torso", "from torso import errors",
                                                              "import torso.errors")),
        *((source, "imports by a relative path") for source in ("from . import errors", "from ..planning import Plan")),
        ("from torso.tools import x", "imports torso.tools, which is in no layer"),
    ],
)  # fmt: skip
def test_an_unlawful_import_is_a_breach(source, breach):
    assert breaches("torso.graph", source) == ([f"torso.graph:{len(source.splitlines())} {breach}"] if breach else [])
    assert breaches("torso.tools", "") == ["torso.tools is in no layer: give 'tools' one"]
