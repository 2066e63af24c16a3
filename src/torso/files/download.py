"""Download a file over HTTPS: it comes to its place whole and verified, or an error says why not.

Plain ``http`` is allowed to this machine only, and redirects are held to the same.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from torso.errors import DiskError, IntegrityError, Note, OptionError
from torso.files.atomic import staged_file
from torso.files.disk_errors import require_space
from torso.files.hashing import hash_of

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_SECONDS = 15.0
READ_SECONDS = 30.0  # how long a server may be silent
ATTEMPTS = 4  # connections for one download
PAUSE_SECONDS = 1.0  # before the second connection; twice that before the third

_CHUNK: Final = 1 << 16
_PART: Final = ".part"  # after the name of a file of which the rest is to come
_ADDRESS: Final = r"(https://[a-z0-9_.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?([/?][!-~]*)?"
_Listener = Callable[[str], None]
_listener: ContextVar[_Listener] = ContextVar("_listener", default=lambda text: None)


def is_offline() -> bool:
    """Whether ``TORSO_OFFLINE`` forbids connections: it is set, and not to 0."""
    return os.environ.get("TORSO_OFFLINE", "") not in ("", "0")


@contextmanager
def progress_to(listener: _Listener) -> Iterator[None]:
    """Send the progress of downloads to a listener, as short texts."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def locked(place: Path) -> Iterator[bool]:
    """Wait for the lock beside a place, and hold it; yields False where the disk has no locks."""
    from filelock import FileLock

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    with suppress(OSError, NotImplementedError):  # a lock saves work; without it, each process downloads for itself
        lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def check_address(address: str) -> None:
    """Accept ``https://…``, and ``http://…`` to this machine; an OptionError for anything else."""
    if re.fullmatch(_ADDRESS, address, re.IGNORECASE) is None:
        notes = [("known", "https://…, and http://… to this machine; a user name and password go into ~/.netrc")]
        raise OptionError(f"{address!r} cannot be downloaded", notes=notes)


def refuse_offline(address: str, place: Path) -> None:
    """Raise a DiskError if ``TORSO_OFFLINE`` forbids the download."""
    if is_offline():
        fact = f"{address!r} is not in the cache, and TORSO_OFFLINE forbids to download it"
        fix = "run `torso fetch` on a machine with a connection, or name a local file with weights: {file: PATH}"
        raise DiskError(fact, notes=[("cause", f"there is no {str(place)!r}"), ("fix", fix)])


def download(address: str, place: Path, *, promised: Mapping[str, str], resume: bool = True) -> None:
    """Download a file to its place, in an existing folder, from a checked address; a file there is replaced.

    ``promised`` holds its hashes in hex by algorithm, as far as they are known. With ``resume``, what came is kept as
    ``NAME.part`` for the next run, if there is a hash to tell whether it is right. Hold :func:`locked` then.
    """
    with staged_file(place, force=True) as stage:
        part = place.with_name(place.name + _PART) if resume and promised else stage
        if _fill(part, address, hashed=bool(promised)) and mismatches(part, promised):
            part.unlink()  # what was continued may be of another file: begin anew
            _fill(part, address, hashed=True)
        if wrong := mismatches(part, promised):
            part.unlink()
            fix = "correct the hash if the file was meant to change; the download was deleted"
            fact = f"the download of {address!r} is not the published file"
            raise IntegrityError(fact, notes=[*wrong, ("fix", fix)])
        os.replace(part, stage)


def mismatches(path: Path, promised: Mapping[str, str]) -> list[Note]:
    """Notes on the promised hashes that a file does not have."""
    found = {name: hash_of(path, name) for name in promised}
    wrong = [name for name in promised if found[name] != promised[name].lower()]
    return [(f"{name} {word}", of[name]) for name in wrong for word, of in (("expected", promised), ("found", found))]


def _fill(part: Path, address: str, *, hashed: bool) -> bool:
    """Download into a file, over several connections where they break off; returns whether it continued older bytes."""
    from urllib3.exceptions import HTTPError

    cause, continued = "", False
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_SECONDS * attempt)
        have = part.stat().st_size if hashed and part.exists() else 0
        with _session(address) as session, _answer(session, address, part, have) as response:
            status, length = response.status_code, response.headers.get("Content-Length", "")
            if have and status == 416:  # there is no more: the hash tells whether it is whole
                return True
            if status != 206:
                have = 0  # the server sends the whole file, which replaces what is there
            if status != (206 if have else 200):
                raise _failed(address, f"the server answered {status} {response.reason}".rstrip(), part)
            total = have + int(length) if length.isdecimal() else None
            if total is None and response.headers.get("Transfer-Encoding", "").lower() != "chunked" and not hashed:
                raise _failed(address, "the server does not say how long the file is, and no hash of it is known", part)
            require_space(part.parent, (total or 0) - have)
            continued = continued or have > 0
            try:
                _write(part, address, response, have, total)
            except HTTPError as error:
                cause = _cause(error)
            else:
                if total in (None, part.stat().st_size):
                    return continued
                cause = "the connection broke off"
    raise _failed(address, cause, part)


def _session(address: str) -> Session:
    """A session that follows redirects to https, and on this machine."""
    import requests

    session = requests.Session()
    del session.adapters["http://"]
    if urlsplit(address).scheme == "http":
        session.mount(f"http://{urlsplit(address).netloc}/", requests.adapters.HTTPAdapter())
        session.trust_env = False  # no proxy for this machine itself
    return session


def _answer(session: Session, address: str, part: Path, have: int) -> Response:
    """What the server answers if it is asked for all that comes after the first bytes; a DiskError if it does not."""
    import requests

    headers = {"Accept-Encoding": "identity", "User-Agent": "torso"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return session.get(address, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS))
    except requests.exceptions.InvalidSchema as error:  # the session has no adapter for it
        target = str(error).removeprefix("No connection adapters were found for ")
        raise _failed(address, f"it redirects to {target}, and torso follows https only", part) from error
    except requests.RequestException as error:
        raise _failed(address, _cause(error), part) from error


def _write(part: Path, address: str, response: Response, have: int, total: int | None) -> None:
    """Write the body to the file, after the bytes that are there."""
    name = urlsplit(address).path.rsplit("/", 1)[-1]
    of, tenth = f" of {total / 1e6:.1f}" if total else "", None
    with part.open("ab" if have else "wb") as file:
        # Not iter_content(): it drops the last bytes before a connection breaks off.
        for chunk in iter(lambda: response.raw.read(_CHUNK, decode_content=False), b""):
            file.write(chunk)
            file.flush()  # a run that is killed here is continued here
            have += len(chunk)
            if tenth != (tenth := 10 * have // (total or 10**8)):
                _listener.get()(f"downloading {name}: {have / 1e6:.1f}{of} MB")


def _failed(address: str, cause: str, part: Path) -> DiskError:
    size = part.stat().st_size if part.exists() else 0
    notes: list[Note] = [("cause", cause), *([("received", f"{size:,} bytes")] if size else [])]
    again = "try again, which continues from there" if size and part.suffix == _PART else "try again"
    notes.append(("fix", f"{again}; or name a local file with weights: {{file: PATH}}, or write weights: none"))
    return DiskError(f"{address!r} could not be downloaded", notes=notes)


def _cause(error: Exception) -> str:
    """What urllib3 says at the root of an error, which requests wraps twice."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).split("\n")[0] or type(error).__name__
