"""How large the code is, against its budget: a table of measured values and limits.

    python tests/benchmarks/size.py

The exit code is 1 if a limit is broken. The other benchmarks measure time and memory; their commands are at the end.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "torso"
BENCHMARKS = {
    "build.py": "time and memory of builds, against plain Keras",
    "compare.py": "naming and freezing, against keras.applications",
    "extract.py": "time and memory of features of many photos, against a plain loop",
    "graph.py": "time to find every clean cut",
    "guard.py": "cost of FreezeGuard in training",
    "infer.py": "time to compute features in each runtime, against `model.predict`",
    "probe.py": "cost of the features of 18 cuts in one pass, against the last alone",
    "saved.py": "time to save, load and verify, against plain Keras",
    "start.py": "time of `torso list` and `torso plan`, against `import tensorflow`",
}


@dataclass(frozen=True)
class Row:
    """One line of the budget."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        bound = f"{'>=' if self.at_least else '<='} {self.limit:,g}{self.unit}"
        return f"{self.what:<44} {self.measured:>9,.6g}{self.unit:2} {bound:>11}  {'ok' if self.holds else 'BROKEN'}"


def budget() -> list[Row]:
    """All rows, measured now."""
    modules = {path: path.read_text("utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    lines = {path: text.count("\n") for path, text in modules.items()}
    total = sum(lines.values())
    packages: Counter[str] = Counter()
    for path, count in lines.items():
        packages[path.relative_to(SOURCE).parts[0]] += count
    largest, most = packages.most_common(1)[0]
    longest = max(lines, key=lambda path: lines[path])
    comments = sum(map(comment_lines, modules.values()))
    names = Counter(path.name for path in modules if path.name not in ("__init__.py", "__main__.py"))
    twice = [name for name, count in names.items() if count > 1]
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    test_lines = sum(path.read_text("utf-8").count("\n") for path in tests)
    manifest_keys = sum(text.count('manifest["') for text in modules.values())
    return [
        # 12,500, and 2,800 for three later sets of features; tests in the proportion of 18,000 to 12,500.
        Row("lines of src/torso", total, 15_300),
        Row(f"largest package: {largest}", round(100 * most / total, 1), 20, unit=" %"),
        Row(f"longest module: {longest.relative_to(SOURCE)}", lines[longest], 300),
        Row("median module", statistics.median(lines.values()), 95),
        Row("direct dependencies", dependencies((ROOT / "pyproject.toml").read_text("utf-8")), 9),
        Row("docstrings", round(100 * sum(map(docstring_lines, modules.values())) / total, 1), 14, unit=" %"),
        Row("comments per 100 lines", round(100 * comments / total, 1), 3, at_least=True),
        Row('uses of manifest["…"]', manifest_keys, 0),
        Row(f"modules of one name{': ' if twice else ''}{', '.join(twice)}", len(twice), 0),
        Row("lines of tests and plugins for each of src", round(test_lines / total, 2), 1.44),
        Row("lines of README.md", (ROOT / "README.md").read_text("utf-8").count("\n"), 150),
    ]


def docstring_lines(text: str) -> int:
    """Lines of all docstrings of a module, and of texts below an assignment, which document it."""
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def comment_lines(text: str) -> int:
    """Lines with a comment for people, not for a tool."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return sum(not comment.startswith(("# noqa", "# type:")) or comment.count("#") > 1 for comment in comments)


def dependencies(pyproject: str) -> int:
    """Entries of ``project.dependencies``; Python 3.10 has no tomllib."""
    block = pyproject.partition("\ndependencies = [")[2].partition("\n]")[0]
    return sum(line.strip().startswith('"') for line in block.split("\n"))


def report(rows: Iterable[Row]) -> str:
    head = f"{'':<44} {'measured':>11} {'limit':>11}"
    commands = [f"  python tests/benchmarks/{name:<10}  {what}" for name, what in BENCHMARKS.items()]
    return "\n".join([head, *map(str, rows), "", "other benchmarks:", *commands])


def main() -> int:
    rows = budget()
    print(report(rows))
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
