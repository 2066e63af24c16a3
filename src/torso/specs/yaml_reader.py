"""Strict YAML: a file, or its bytes, to a tree of texts."""

from __future__ import annotations

import os
import stat

from torso.errors import DiskError, Place, SpecError, TorsoError, UnknownNameError, did_you_mean, known
from torso.specs.yaml_nodes import ILLEGAL_CHARACTER, Node
from torso.specs.yaml_tree import read_tree

MAX_BYTES = 512 * 1024
"""Far above a spec of a thousand backbones, and read within a second or two."""


def read_yaml(data: bytes, *, file: str) -> Node:
    """Read one YAML document.

    Args:
        data: UTF-8, with or without a byte order mark.
        file: What errors call it.

    Raises:
        SpecError: This is not YAML, or not the part of YAML that specs are written in.
        ManyErrors: Several keys stand twice.
    """
    return read_tree(_decoded(data, file), file=file)


def read_file(path: str | os.PathLike[str], *, place: Place | None = None) -> Node:
    """Read a file of one YAML document.

    Args:
        path: A regular file; errors call it as it is written here.
        place: Where the path stands, if in another spec.

    Raises:
        UnknownNameError: There is no such file.
        DiskError: The file cannot be read.
        SpecError: It is a folder, a pipe or a device, or what it holds is wrong.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb", opener=_open_at_once) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_BYTES + 1) if regular else b""
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(name, place) from None
    except (IsADirectoryError, ValueError):  # ValueError: no file system knows a name with such characters
        regular = False
    except OSError as error:
        raise DiskError(f"{name!r} cannot be read: {error.strerror}", place=place) from None
    if not regular:
        raise SpecError(f"{name!r} is not a regular file", place=place)
    return read_yaml(data, file=name)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else a pipe waits for its writer


def _missing(name: str, place: Place | None) -> TorsoError:
    folder, base = os.path.split(name)
    try:
        specs = sorted(entry for entry in os.listdir(folder or ".") if entry.endswith((".yaml", ".yml")))
    except OSError:
        notes = [("cause", f"there is no folder {folder!r}")]
    else:
        notes = [*did_you_mean(base, specs), known(specs)]
    return UnknownNameError(f"there is no file {name!r}", place=place, notes=notes)


def _decoded(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError(f"a spec has {MAX_BYTES} bytes at most", place=Place(file=file))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"the byte {data[error.start]:#04x} at offset {error.start} is not UTF-8",
            place=_place_after(data[: error.start].decode("utf-8"), file),
            notes=[("fix", "save the file as UTF-8")],
        ) from None
    start = 1 if text.startswith("\ufeff") else 0  # the byte order mark of some editors
    illegal = ILLEGAL_CHARACTER.search(text, start)
    if illegal:
        before = text[: illegal.start()]
        raise SpecError(
            f"the character {illegal.group()!a} at offset {len(before.encode())} cannot stand in a spec",
            place=_place_after(before[start:], file),
        )
    return text[start:]


def _place_after(before: str, file: str) -> Place:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Place(file=file, line=len(lines), column=len(lines[-1]) + 1)
