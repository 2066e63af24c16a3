"""The weight sources that come with torso: a local file, a file inside a package, and a download."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from torso.errors import DiskError, IntegrityError, OptionError
from torso.files import hash_of
from torso.hookspecs import hookimpl
from torso.spec.options import Option, Options
from torso.weights import WeightSource

SHA256 = Option(name="sha256", type=str, default=None, doc="The file's SHA-256 in hex; checked before it is read.")
MD5 = Option(name="md5", type=str, default=None, doc="The file's MD5 in hex, where its publisher gives no better hash.")


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
        name="cached_as", type=str, default=None, doc="What it is called in the cache; the address' last part."
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
    """The file in Keras' own cache, downloaded where it is not there yet, once its hash is right."""
    import keras

    url = str(options["url"])
    try:
        path = Path(
            keras.utils.get_file(
                fname=options["cached_as"],
                origin=url,
                cache_subdir="models",
                file_hash=str(options["sha256"] or options["md5"] or "").lower() or None,
            )
        )
    except ValueError as error:
        raise IntegrityError(f"the download of {url!r} is not the published file", notes=[("cause", str(error))]) from error
    except Exception as error:  # urllib, ssl and http raise errors without a common base
        raise DiskError(
            f"{url!r} could not be downloaded",
            notes=[
                ("cause", f"{error}".split("\n")[0]),
                ("fix", "connect, or name a local file with weights: {file: PATH}, or write weights: none"),
            ],
        ) from error
    return _verified(path, options)


def check_download(options: Options) -> None:
    _check_hashes(options)
    if not str(options["url"]).startswith(("https://", "http://")):
        raise OptionError(f"{options['url']!r} is no address of a download", notes=[("known", "https://…, http://…")])


def _check_hashes(options: Options) -> None:
    for name, length in (("sha256", 64), ("md5", 32)):
        value = options.get(name)
        if value is not None and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", str(value)):
            raise OptionError(f"{name} cannot be {value!r}", notes=[("known", f"{length} hexadecimal digits")])


def _verified(path: Path, options: Options) -> Path:
    """The path, once it is a readable regular file with the hash that was promised."""
    _check_hashes(options)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise OptionError(f"the weights file {str(path)!r} is not there", notes=[("cause", error.strerror or "")]) from error
    if not stat.S_ISREG(mode):
        raise OptionError(f"the weights file {str(path)!r} is a directory or a device, not a file")
    for algorithm in ("sha256", "md5"):
        promised = options.get(algorithm)
        if promised is None:
            continue
        actual = hash_of(path, algorithm)
        if actual != str(promised).lower():
            raise IntegrityError(
                f"the weights file {str(path)!r} is not the one that was meant",
                notes=[(f"{algorithm} expected", str(promised)), (f"{algorithm} found", actual)],
            )
    return path
