"""A file that is not whole yet, and grows over several runs."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Final

from torso.files.disk_errors import disk_error
from torso.files.hashing import copy_open, open_file

_SAFE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Part:
    """The front of a file, with a note of what it is the front of.

    It is only ever written on from where it ends; other bytes go into another file under the same name. Two processes that
    have it open at once, without a lock, write the same bytes to the same offsets, or do not meet.

    Attributes:
        path: Where it grows; a link there is never followed.
        size: How many bytes this process knows to stand in it.
        kept: The note is kept beside it, for the next run.
        note: What was said at :meth:`restart`, by this process or by an earlier one; empty where nothing is known.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        """Open what an earlier run kept, or an empty file.

        Args:
            path: Where it grows.
            keep: The note is kept beside it, for the next run; what one kept is not looked at otherwise.

        Raises:
            DiskError: It cannot be written there.
        """
        self.path = path
        self.size = 0
        self.note: Mapping[str, Any] = {}  # Any: JSON
        self.kept = keep
        self._beside = path.with_name(path.name + ".json")
        self._number = self._reopened() if keep else None
        if self._number is None:
            self.restart({})

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def restart(self, note: Mapping[str, Any]) -> None:
        """Begin again with an empty file, which is the front of what the note says.

        Raises:
            DiskError: It cannot be written there.
        """
        self.__exit__(None, None, None)
        self.size, self.note = 0, note
        try:
            while self._number is None:
                self.path.unlink(missing_ok=True)  # not emptied: another process may still be writing to it
                with suppress(FileExistsError):  # another process begins in this instant
                    self._number = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)
            if self.kept:
                self._write_note()
        except OSError as error:
            raise disk_error(f"{str(self.path)!r} could not be written", error) from error

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end.

        Raises:
            DiskError: The disk refused, filled up or failed; what was written before stays.
        """
        assert self._number is not None  # open
        rest = memoryview(chunk)
        try:
            while rest:
                written = os.write(self._number, rest)
                self.size += written
                rest = rest[written:]
        except OSError as error:
            raise disk_error(f"{str(self.path)!r} could not be written", error) from error

    def copy(self, target: Path, algorithms: Iterable[str]) -> dict[str, str]:
        """Copy what stands in it to where no file is yet; returns the hashes of what was written, in hex.

        What is copied is this very file, whatever else has come to stand at its path.

        Raises:
            OSError: It cannot be read or written.
        """
        assert self._number is not None  # open
        with open(os.dup(self._number), "rb") as stream:
            return copy_open(stream, target, algorithms)

    def discard(self) -> None:
        """Remove it with its note."""
        self.__exit__(None, None, None)
        with suppress(OSError):
            self._beside.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _reopened(self) -> int | None:
        """What an earlier run kept, if it is this user's own file and its note can be read."""
        number = None
        try:
            with open_file(self._beside) as stream:
                note = json.loads(stream.read(1 << 16))
            number = os.open(self.path, os.O_RDWR | _SAFE)
            facts = os.fstat(number)
            own = facts.st_uid == os.geteuid() if hasattr(os, "geteuid") else True
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and own and isinstance(note, dict):
                self.size, self.note = os.lseek(number, 0, os.SEEK_END), note
                return number
        except (OSError, ValueError, RecursionError):
            pass
        if number is not None:
            os.close(number)
        return None

    def _write_note(self) -> None:
        with NamedTemporaryFile(
            "w", prefix=f".{self._beside.name}.", dir=self.path.parent, delete=False, encoding="utf-8"
        ) as stream:
            json.dump(self.note, stream)
        os.replace(stream.name, self._beside)
