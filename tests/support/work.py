"""How much work a call is, counted and so the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_in(call: Callable[..., Any], *arguments: Any) -> int:
    """The function calls that a call leads to in this thread, those into C among them."""
    count = 0

    def see(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        call(*arguments)
    finally:
        sys.setprofile(before)
    return count
