"""Which picture files a path means, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from torso.errors import OptionError, TorsoError, known

if TYPE_CHECKING:
    import numpy as np

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


class Transformed(NamedTuple):
    """What :meth:`torso.Backbone.transform` returns with ``errors="skip"``."""

    pixels: np.ndarray  # (N, height, width, channels) of what could be read
    read: tuple[str | int, ...]  # of each of them the path; of an array its position among the pictures
    failed: Mapping[str, TorsoError]  # by path


def files_of(path: str | os.PathLike[str]) -> list[str]:
    """A file itself; the pictures in a folder and the folders below it; or the files that match a pattern. Sorted."""
    name = os.fspath(path)
    if os.path.isdir(name):
        found = [str(file) for file in Path(name).rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not found:
            raise OptionError(f"the folder {name!r} has no pictures", notes=[known(SUFFIXES)])
    elif has_magic(name) and not os.path.exists(name):
        found = [file for file in glob(name, recursive=True) if os.path.isfile(file)]
        if not found:
            raise OptionError(f"no file matches {name!r}")
    else:
        return [name]
    return sorted(found)
