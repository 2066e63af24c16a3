"""Send what is written to a file descriptor elsewhere: C libraries and other processes write there directly."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def diverted(number: int, *, to: int | None) -> Iterator[None]:
    """Send one file descriptor to another, or with None nowhere, and back afterwards."""
    original = None
    with suppress(OSError):
        original = os.dup(number)
    if original is None:  # it is closed: what is written there is lost anyway
        yield
        return
    target = os.open(os.devnull, os.O_WRONLY) if to is None else to
    os.dup2(target, number)
    try:
        yield
    finally:
        for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
            stream.flush()
        os.dup2(original, number)
        os.close(original)
        if to is None:
            os.close(target)
