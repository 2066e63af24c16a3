"""The weight sources of torso: a local file, a file inside a package, and a download."""

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import torso.files.download as downloads
from torso.contracts.hookspecs import hookimpl
from torso.contracts.weights import WeightSource
from torso.errors import DiskError, IntegrityError, OptionError
from torso.files.atomic import make_folder, move_aside
from torso.files.hashing import open_file
from torso.files.other_formats import refuse_other_format
from torso.specs.options import Option, Options

FILE = Option(name="file", type=Path, doc="Path of the file, relative to the spec that names it.")
RESOURCE = Option(name="resource", type=str, doc="package:path/inside of a file that comes with a package.")
URL = Option(name="url", type=str, doc="Where the file is downloaded from.")
CACHED_AS = Option(name="cached_as", type=str, default=None, doc="File name in the cache; made from the address by default.")
SHA256 = Option(name="sha256", type=str, default=None, doc="The file's SHA-256 in hex; checked before it is read.")
MD5 = Option(name="md5", type=str, default=None, doc="The file's MD5 in hex, where its publisher gives no better hash.")

# Keras caches what it publishes under its bare name.
KERAS: Final = ("https://storage.googleapis.com/tensorflow/", "https://storage.googleapis.com/keras-applications/")


@hookimpl
def torso_weight_sources() -> Iterable[WeightSource]:
    doc = "A weights file on this machine."
    yield WeightSource(name="file", doc=doc, options=(FILE, SHA256), fetch=local_file, check=local_file)
    doc = "A weights file that comes with an installed package."
    yield WeightSource(name="resource", doc=doc, options=(RESOURCE, SHA256, MD5), fetch=packaged_file, check=packaged_file)
    doc = "A download, kept in the folder that Keras itself uses."
    yield WeightSource(name="url", doc=doc, options=(URL, SHA256, MD5, CACHED_AS), fetch=download, check=check_download)


def local_file(options: Options) -> Path:
    path = Path(str(options["file"])).expanduser()
    if not path.is_file():
        refuse_other_format(path)
    refuse_other_format(_verified(path, options))
    return path


def packaged_file(options: Options) -> Path:
    package, _, inside = str(options["resource"]).partition(":")
    top, *below = package.split(".")
    found = find_spec(top) if top else None  # for a name with dots, find_spec would import the outer package
    roots = list(found.submodule_search_locations or ()) if found else []
    if not roots:
        raise OptionError(f"the weights come with the package {package!r}, which is not installed")
    return _verified(Path(roots[0], *below, inside), options)


def download(options: Options) -> Path:
    """The file in Keras' own cache, downloaded if needed; a file there with another hash becomes ``NAME.rejected``."""
    check_download(options)
    address, place = str(options["url"]), place_in_cache(options)
    if _is_right(place, options):  # before the lock: a cache that has the file may be read-only
        return place
    try:
        make_folder(place.parent)
        with downloads.locked(place) as exclusive:
            if not _is_right(place, options):  # another process may have downloaded it meanwhile
                if os.path.lexists(place):
                    move_aside(place)
                downloads.download(address, place, promised=_promised(options), resume=exclusive)
    except DiskError as error:
        if not os.access(place.parent, os.W_OK | os.X_OK):
            other = [note for note in error.notes if note[0] != "fix"]
            error.notes = (*other, ("fix", "set KERAS_HOME to a folder that can be written"))
        raise
    return place


def check_download(options: Options) -> None:
    """What can be known without a connection and without reading the file."""
    _promised(options)
    address, place = str(options["url"]), place_in_cache(options)
    downloads.check_address(address)
    if not place.exists():
        downloads.refuse_offline(address, place)


def cache_folder() -> Path:
    """The folder in which Keras keeps weights."""
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or os.path.join("~", ".keras"))
    if home.startswith("~"):
        raise DiskError(f"there is no folder {home!r}", notes=[("fix", "set KERAS_HOME to a folder that can be written")])
    return Path(home, "models")


def place_in_cache(options: Options) -> Path:
    """Where Keras caches its own files; files of other addresses get names that differ by address."""
    folder = cache_folder()
    address, given = str(options["url"]), options["cached_as"]
    name = str(given) if given is not None else urlsplit(address).path.rsplit("/", 1)[-1]
    if given is None and not address.startswith(KERAS):
        import hashlib  # loads OpenSSL, which `torso list` does not need

        name = f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{name or 'weights'}"
    if not re.fullmatch(r"[^/\\\0]{1,200}", name) or name in (".", ".."):
        raise OptionError(f"a file in the cache cannot be called {name!r}")
    return folder / name


def _promised(options: Options) -> dict[str, str]:
    """The hashes that the file must have, by algorithm."""
    given = {name: str(options[name]).lower() for name in ("sha256", "md5") if options.get(name) is not None}
    for name, length in ("sha256", 64), ("md5", 32):
        if name in given and not re.fullmatch(f"[0-9a-f]{{{length}}}", given[name]):
            raise OptionError(f"{name} cannot be {options[name]!r}", notes=[("known", f"{length} hexadecimal digits")])
    return given


def _is_right(place: Path, options: Options) -> bool:
    """Whether the cache has the right file; an error if it has a wrong one that must not be replaced."""
    try:
        return os.path.exists(place) and bool(_verified(place, options))
    except (IntegrityError, OptionError) as error:
        if downloads.is_offline():
            fix = "put the right file there, or name a local one with weights: {file: PATH}"
            raise IntegrityError(error.fact, notes=[*error.notes, ("fix", fix)]) from error
        return False


def _verified(path: Path, options: Options) -> Path:
    """The path, once it is a readable regular file with the promised hashes."""
    promised = _promised(options)
    try:
        open_file(path).close()
    except OSError as error:
        kind = DiskError if isinstance(error, PermissionError) else OptionError
        raise kind(f"the weights file {str(path)!r} cannot be read", notes=[("cause", error.strerror or "")]) from error
    if wrong := downloads.mismatches(path, promised):
        raise IntegrityError(f"the weights file {str(path)!r} does not have the expected hash", notes=wrong)
    return path
