"""Fixtures of several test modules.

For whatever needs a new process, ask ``fresh_torso`` or ``plain_keras`` (support/fresh.py) and start no interpreter: that
costs 4 s for TensorFlow alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fresh import Fresh
from graphs import ARCHITECTURES, SEED, registry as builtin_registry

from torso.plugins import Plugins
from torso.plugins.registry import Registry

DISTRIBUTIONS = Path(__file__).parent / "fixtures" / "distributions"


def pytest_report_header() -> str:
    return f"torso: samples drawn with TORSO_TEST_SEED={SEED}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker takes all tests of an architecture, whose network it draws once; or else those of a file.

    ``--dist loadgroup`` would do, but pytest 9.2 ignores the names that pytest-xdist 3.8 makes of its groups.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByArchitecture(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            first = nodeid.partition("[")[2].rstrip("]").split("-")[0]
            return first if first in ARCHITECTURES else super()._split_scope(nodeid)

    return ByArchitecture(config, log)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """What torso brings along."""
    return builtin_registry()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plugins]]:
    """``Plugins.load`` in a world where only the named fake distributions are installed, and nothing is built in."""
    for variable in ("TORSO_DISABLED_PLUGINS", "TORSO_DISABLE_PLUGIN_AUTOLOAD"):
        monkeypatch.delenv(variable, raising=False)

    def load(*cases: str, **arguments: Any) -> Plugins:
        with monkeypatch.context() as world:
            fakes = [str(DISTRIBUTIONS / case) for case in cases]
            world.setattr(sys, "path", [*fakes, *(path for path in sys.path if not path.endswith("-packages"))])
            return Plugins.load(**{"builtins": {}, **arguments})

    yield load
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(DISTRIBUTIONS)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def fresh_torso() -> Iterator[Fresh]:
    """Runs a program in a new process: ``fresh_torso(code).stdout``."""
    fresh = Fresh()
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def plain_keras(fresh_torso: Fresh) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a new process where torso cannot be imported: ``plain_keras(code).stdout``."""
    return partial(fresh_torso, torso=False)
