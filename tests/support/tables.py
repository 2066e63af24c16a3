"""Tables of cases that are kept as data, beside the tests that read them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def table(name: str) -> list[Any]:
    """The rows of ``data/NAME.json`` beside the module that asks."""
    module = Path(sys._getframe(1).f_globals["__file__"])
    rows: list[Any] = json.loads((module.parent / "data" / f"{name}.json").read_text("utf-8"))
    return rows
