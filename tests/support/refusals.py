"""What an error says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from torso.errors import TorsoError


def refusal(call: Callable[..., Any], /, *arguments: Any, kind: type[BaseException] = TorsoError, **named: Any) -> str:
    """The text of the error that a call raises, which is of that kind."""
    with pytest.raises(kind) as caught:
        call(*arguments, **named)
    return str(caught.value)


def fix_of(text: str) -> str:
    """The line that an error says to write."""
    return text.split("  fix: ")[1].split("\n")[0]
