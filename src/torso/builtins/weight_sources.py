"""The weight sources that come with torso: a local file, a file inside a package, and a download."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import torso.files.download as downloads
from torso.contracts.hookspecs import hookimpl
from torso.contracts.weights import WeightSource
from torso.errors import DiskError, IntegrityError, Note, OptionError
from torso.files.atomic import make_folder, move_aside
from torso.files.disk_errors import disk_error
from torso.files.download import locked
from torso.files.hashing import hash_of_open, open_file
from torso.specs.options import Option, Options

SHA256 = Option(name="sha256", type=str, default=None, doc="The file's SHA-256 in hex; checked before it is read.")
MD5 = Option(name="md5", type=str, default=None, doc="The file's MD5 in hex, where its publisher gives no better hash.")

KERAS: Final = ("https://storage.googleapis.com/tensorflow/", "https://storage.googleapis.com/keras-applications/")
"""Where Keras publishes; it caches what comes from there under its bare name."""


@hookimpl
def torso_weight_sources() -> Iterable[WeightSource]:
    """Offer the sources that every user has."""
    path = Option(name="file", type=Path, doc="Path of the file, relative to the spec that names it.")
    yield WeightSource(
        name="file", doc="A weights file on this machine.", options=(path, SHA256), fetch=local_file, check=check_local
    )
    resource = Option(name="resource", type=str, doc="package:path/inside of a file that comes with a package.")
    yield WeightSource(
        name="resource",
        doc="A weights file that comes with an installed package.",
        options=(resource, SHA256, MD5),
        fetch=packaged_file,
        check=check_packaged,
    )
    url = Option(name="url", type=str, doc="Where the file is downloaded from.")
    cached_as = Option(
        name="cached_as", type=str, default=None, doc="What it is called in the cache; a name made of its address."
    )
    yield WeightSource(
        name="url",
        doc="A download, kept in the folder that Keras itself uses.",
        options=(url, SHA256, MD5, cached_as),
        fetch=download,
        check=check_download,
    )


def local_file(options: Options) -> Path:
    """The file itself, once its hash is right."""
    return _verified(Path(str(options["file"])).expanduser(), options)


def check_local(options: Options) -> None:
    local_file(options)


def packaged_file(options: Options) -> Path:
    """The file inside the package, once its hash is right; the package is not imported."""
    package, _, inside = str(options["resource"]).partition(":")
    top, *below = package.split(".")
    found = find_spec(top) if top else None  # of a name with dots, Python would import the first part
    roots = list(found.submodule_search_locations or ()) if found else []
    if not roots:
        raise OptionError(f"the weights come with the package {package!r}, and that is not installed")
    return _verified(Path(roots[0], *below, inside), options)


def check_packaged(options: Options) -> None:
    packaged_file(options)


def download(options: Options) -> Path:
    """The file in Keras' own cache, downloaded where it is not there yet, once its hash is right.

    What stands there with another hash is moved to ``NAME.rejected``. A cache that has the right file may be read-only.
    """
    check_download(options)
    address, place = str(options["url"]), place_in_cache(options)
    if _is_right(place, options):
        return place
    try:
        make_folder(place.parent)
        with locked(place) as exclusive:
            right = _is_right(place, options)  # another process may have brought it meanwhile
            if right is False:
                move_aside(place)
            if not right:
                downloads.download(address, place, promised=_promised(options), resume=exclusive)
    except DiskError as error:
        if not os.access(place.parent, os.W_OK | os.X_OK):
            other = [note for note in error.notes if note[0] != "fix"]
            error.notes = (*other, ("fix", "set KERAS_HOME to a folder that can be written"))
        raise
    return place


def check_download(options: Options) -> None:
    """What can be known without a connection; a file that is in the cache is not read."""
    _promised(options)
    address = str(options["url"])
    downloads.check_address(address)
    place = place_in_cache(options)
    if not place.exists():
        downloads.refuse_offline(address, place)


def place_in_cache(options: Options) -> Path:
    """Where Keras looks for a file of Keras; other addresses get names of their own, as many files share one name."""
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or os.path.join("~", ".keras"))
    if home.startswith("~"):
        raise DiskError(f"there is no folder {home!r}", notes=[("fix", "set KERAS_HOME to a folder that can be written")])
    address, given = str(options["url"]), options["cached_as"]
    name = str(given) if given is not None else urlsplit(address).path.rsplit("/", 1)[-1]
    if given is None and not address.startswith(KERAS):
        name = f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{name or 'weights'}"
    if not re.fullmatch(r"[^/\\\0]{1,200}", name) or name in (".", ".."):
        raise OptionError(f"a file in the cache cannot be called {name!r}")
    return Path(home, "models", name)


def _promised(options: Options) -> dict[str, str]:
    """The hashes that the file must have, by algorithm."""
    promised = {}
    for name, length in (("sha256", 64), ("md5", 32)):
        value = options.get(name)
        if value is not None and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", str(value)):
            raise OptionError(f"{name} cannot be {value!r}", notes=[("known", f"{length} hexadecimal digits")])
        if value is not None:
            promised[name] = str(value).lower()
    return promised


def _is_right(place: Path, options: Options) -> bool | None:
    """Whether the cache has the right file, or None for no file; an error where a wrong one cannot be replaced."""
    if not os.path.lexists(place):
        return None
    try:
        _verified(place, options)
    except (IntegrityError, OptionError) as error:
        cannot = "TORSO_OFFLINE forbids" if downloads.is_offline() else "the cache cannot be written"
        if downloads.is_offline() or not os.access(place.parent, os.W_OK | os.X_OK):
            fix: Note = ("fix", f"{cannot}: put the right file there, or name a local one with weights: {{file: PATH}}")
            raise IntegrityError(error.fact, notes=[*error.notes, fix]) from error
        return False
    return True


def _verified(path: Path, options: Options) -> Path:
    """The path, once it is a readable regular file with the hashes that were promised."""
    promised = _promised(options)
    try:
        facts = path.stat()
    except OSError as error:
        raise OptionError(f"the weights file {str(path)!r} is not there", notes=[("cause", error.strerror or "")]) from error
    if not stat.S_ISREG(facts.st_mode):
        raise OptionError(f"the weights file {str(path)!r} is a directory or a device, not a file")
    if not 0 < facts.st_size <= downloads.MOST_BYTES:
        size = f"{facts.st_size:,} bytes, and {downloads.MOST_BYTES:,} are the most" if facts.st_size else "empty"
        raise OptionError(f"the weights file {str(path)!r} is {size}")
    try:
        with open_file(path) as stream:
            found = {algorithm: hash_of_open(stream, path, algorithm) for algorithm in promised}
    except DiskError:
        raise
    except OSError as error:
        raise disk_error(f"the weights file {str(path)!r} cannot be read", error) from error
    for algorithm, expected in promised.items():
        if found[algorithm] != expected:
            raise IntegrityError(
                f"the weights file {str(path)!r} is not the one that was meant",
                notes=[(f"{algorithm} expected", str(options[algorithm])), (f"{algorithm} found", found[algorithm])],
            )
    return path
