"""What is said of a file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torso.errors import IntegrityError, TorsoError


def damaged(path: Path, cause: str) -> IntegrityError:
    """The error of a file that some part of is not as its format wants it."""
    return IntegrityError(
        f"the weights file {str(path)!r} is damaged: it cannot be read",
        notes=[("cause", cause), ("fix", "copy or download it again")],
    )


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn whatever h5py and zipfile raise on odd content into an error that names the file."""
    try:
        yield
    except TorsoError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError, MemoryError) as error:
        raise damaged(path, str(error).split("\n")[0]) from error
