"""A folder on this machine, or at an address that pyarrow knows: ``s3://…``, ``gs://…``, ``hdfs://…``, ``file://…``."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from torso.errors import OptionError
from torso.files.atomic import make_folder, staged_file
from torso.files.disk_errors import disk_errors


def is_address(text: str | os.PathLike[str]) -> bool:
    return "://" in os.fspath(text)


class Folder:
    """Files by their names: listed, read, and published whole or not at all. It can be pickled."""

    def __init__(self, address: str | os.PathLike[str]) -> None:
        self.address = os.fspath(address)
        # Another process may have another working directory.
        self._place = self.address if is_address(address) else os.path.abspath(self.address)

    @cached_property
    def remote(self) -> tuple[Any, str] | None:  # Any: a pyarrow.fs.FileSystem
        """The file system and the path in it; None for a folder of this machine."""
        if not is_address(self._place):
            return None
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem

        try:
            system, path = FileSystem.from_uri(self._place)
        except (ArrowException, ValueError, OSError) as error:
            raise OptionError(f"{self.address!r} is no address that can be opened", notes=[("cause", str(error))]) from error
        return system, path.rstrip("/")

    @property
    def local(self) -> Path:
        return Path(self._place)

    def __getstate__(self) -> dict[str, str]:
        return {"address": self.address, "_place": self._place}

    def make(self) -> None:
        if self.remote is None:
            make_folder(self.local)
            return
        with disk_errors(f"{self.address!r} could not be made"):
            self.remote[0].create_dir(self.remote[1], recursive=True)

    def names(self) -> set[str]:
        """The names of what is in it; none where there is no such folder."""
        if self.remote is None:
            return set(os.listdir(self.local)) if self.local.is_dir() else set()
        from pyarrow.fs import FileSelector

        with disk_errors(f"{self.address!r} cannot be listed"):
            return {
                one.base_name for one in self.remote[0].get_file_info(FileSelector(self.remote[1], allow_not_found=True))
            }

    def open(self, name: str) -> Any:
        """A file to read from, at any position; an OSError where that fails."""
        if self.remote is None:
            return open(self.local / name, "rb")
        return self.remote[0].open_input_file(f"{self.remote[1]}/{name}")

    def read(self, name: str) -> bytes:
        """The bytes of a file; an OSError where that fails."""
        with self.open(name) as file:
            data: bytes = file.read()
            return data

    def publish(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, over what was there; object stores show it once it is whole."""
        if self.remote is None:
            with staged_file(self.local / name, force=True) as stage:
                stage.write_bytes(data)
            return
        system, path = self.remote
        with (
            disk_errors(f"'{self.address}/{name}' could not be written"),
            system.open_output_stream(f"{path}/{name}") as stream,
        ):
            stream.write(data)
