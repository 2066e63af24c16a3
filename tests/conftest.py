"""What several test modules need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from torso.plugins import Plugins

DISTRIBUTIONS = Path(__file__).parent / "fixtures" / "distributions"


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
