"""Open a weights file once: hash, then format, then content."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from zipfile import ZipFile

from torso.errors import IntegrityError, OptionError
from torso.files.atomic import scratch_directory
from torso.files.disk_errors import temporary_file_errors
from torso.files.hashing import hash_of_open, identity_of, open_file
from torso.files.other_formats import refuse_other_format
from torso.weights_files.hdf5 import open_hdf5
from torso.weights_files.stored import StoredWeights, damage_reported, damaged

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
IN_ARCHIVE = "model.weights.h5"
LARGEST_CONFIG = 1 << 26  # bytes
MOST_PACKED = 100  # how many times smaller than its content a large archive may be: trained values hardly shrink
HARMLESS = 1 << 26  # bytes that may be unpacked from any
KNOWN = "the older .h5, .weights.h5 and .keras"


@contextmanager
def open_weights(path: Path, hashes: Mapping[str, str] = MappingProxyType({})) -> Iterator[StoredWeights]:
    """Open a weights file that must have these hashes, in hex by algorithm; else an OptionError or IntegrityError."""
    try:
        stream = open_file(path)
    except OSError as error:
        cause = error.strerror or str(error)
        raise OptionError(f"the weights file {str(path)!r} cannot be opened", notes=[("cause", cause)]) from error
    with stream:
        identity = identity_of(stream)  # before anything is read
        for algorithm, promised in hashes.items():
            if (found := hash_of_open(stream, path, algorithm)) != promised.lower():
                notes = [(f"{algorithm} expected", promised), (f"{algorithm} found", found)]
                raise IntegrityError(f"the weights file {str(path)!r} does not have the expected hash", notes=notes)
        with ExitStack() as stack:
            with damage_reported(path):
                stored = _listed(stream, path, stack)
            yield replace(stored, identity=identity)
        if identity_of(stream)[2:4] != identity[2:4]:  # not ctime: it tells of new names too
            notes = [("fix", "build again when the file is complete")]
            raise IntegrityError(f"the weights file {str(path)!r} was changed while it was read", notes=notes)


def _listed(stream: BinaryIO, path: Path, stack: ExitStack) -> StoredWeights:
    refuse_other_format(path)
    start = stream.read(8)  # these tell the format, not the name: downloads and caches rename files
    stream.seek(0)
    if start[:4] == ZIP:
        stored = stack.enter_context(open_hdf5(stack.enter_context(_unpacked(stream)), path))
        with ZipFile(stream) as members:
            return replace(stored, config=json.loads(members.open("config.json").read(LARGEST_CONFIG))["config"])
    if start != HDF5:
        if path.name.endswith((".h5", ".hdf5", ".keras")):
            raise damaged(path, f"its first bytes are {start!r}, which no such file has")
        raise OptionError(f"weights cannot be read from a file like {path.name!r}", notes=[("known", KNOWN)])
    return stack.enter_context(open_hdf5(stream, path))


@contextmanager
def _unpacked(archive: BinaryIO) -> Iterator[BinaryIO]:
    """The weights in a ``.keras`` archive as a file of their own, in a temporary folder."""
    # h5py reads 16 times slower from ZipFile.open() itself (0.48 against 0.03 s for 35 MB), and the checksum is compared
    # only where a member is read from start to end (CPython issue 88339).
    with scratch_directory() as folder, (folder / IN_ARCHIVE).open("w+b") as unpacked:
        with ZipFile(archive) as members:
            member = members.getinfo(IN_ARCHIVE)
            if member.file_size > max(HARMLESS, MOST_PACKED * member.compress_size):
                raise ValueError(f"{IN_ARCHIVE} would be {member.file_size} bytes, unpacked from {member.compress_size}")
            with members.open(member) as packed, temporary_file_errors():
                shutil.copyfileobj(packed, unpacked)
        unpacked.seek(0)
        yield unpacked
