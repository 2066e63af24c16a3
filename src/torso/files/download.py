"""Downloads over HTTP: a file comes to its place whole and verified, or an error says why not.

Only ``https`` is spoken, and ``http`` with this machine itself. Every redirect is held to the same.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from torso.errors import DiskError, IntegrityError, Note, OptionError
from torso.files.atomic import remove_leftovers, staged_file
from torso.files.disk_errors import disk_error, require_space
from torso.files.hashing import hash_of
from torso.files.part_file import Part

if TYPE_CHECKING:
    from requests import Response

CONNECT_SECONDS = 15.0
"""How long a server may take to answer the call."""

READ_SECONDS = 30.0
"""How long it may then be silent."""

ATTEMPTS = 4
"""How many connections one download may take."""

PAUSE_SECONDS = 1.0
"""Before a second connection; twice that before a third."""

REDIRECTS: Final = 10
MOST_BYTES: Final = 2**36
"""64 GiB: forty times the greatest weights that Keras publishes."""

_CHUNK: Final = 1 << 16
_ADDRESS = re.compile(r"(?i:https?)://[\w.~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
_OFFLINE_FIX: Final[Note] = (
    "fix",
    "run `torso fetch` on a machine with a connection, or name a local file with weights: {file: PATH}",
)
_Listener = Callable[[str], None]
_listener: ContextVar[_Listener] = ContextVar("_listener", default=lambda text: None)


class _BrokenOff(Exception):
    """A connection ended before its time; another one can go on."""


def is_offline() -> bool:
    """Whether the user forbids to connect: ``TORSO_OFFLINE`` is set, and not to 0."""
    return os.environ.get("TORSO_OFFLINE", "") not in ("", "0")


@contextmanager
def progress_to(listener: _Listener) -> Iterator[None]:
    """Have downloads tell how far they are, a few words at a time."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def check_address(address: str) -> None:
    """Accept ``https://…``, and ``http://…`` of this machine.

    Raises:
        OptionError: It is anything else, or it holds a password.
    """
    fault = _fault(address)
    if fault is not None:
        raise OptionError(f"{address!r} is no address of a download: {fault}", notes=[_KNOWN])


def refuse_offline(address: str, place: Path) -> None:
    """Refuse to connect where the user forbids it.

    Raises:
        DiskError: ``TORSO_OFFLINE`` is set.
    """
    if is_offline():
        raise DiskError(
            f"{address!r} is not in the cache, and TORSO_OFFLINE forbids to download it",
            notes=[("cause", f"there is no {str(place)!r}"), _OFFLINE_FIX],
        )


def download(address: str, place: Path, *, promised: Mapping[str, str]) -> None:
    """Bring a file to its place, in a folder that is there.

    It is whole before it stands at its place: as long as the server said, and of the hashes that were promised. What a
    broken download brought is kept in ``NAME.partial`` for the next one where a hash can tell whether it is right.

    Args:
        address: Where it is published.
        place: Where it goes; a file there is replaced.
        promised: Hashes in hex by algorithm; empty where none is known.

    Raises:
        OptionError: This is no address that may be asked.
        DiskError: It could not be downloaded or written.
        IntegrityError: The bytes that came are not the ones that were promised.
    """
    check_address(address)
    refuse_offline(address, place)
    remove_leftovers(place)
    if promised and _download_on(address, place, promised):
        return
    with staged_file(place, force=True) as stage:
        with Part(stage, keep=False) as part:
            _fill(part, address, any_length=bool(promised), copies=1)
        _require(address, promised, {name: hash_of(stage, name) for name in promised})


def _download_on(address: str, place: Path, promised: Mapping[str, str]) -> bool:
    """Go on from what an earlier run kept; False where that led to wrong bytes, and may itself be at fault."""
    with Part(place.with_name(place.name + ".partial"), keep=True) as part:
        kept = part.size > 0 and part.note.get("address") == address
        _fill(part, address, any_length=True, copies=2)
        try:
            with staged_file(place, force=True) as stage:  # a copy: others may have the part open, and this is published
                _require(address, promised, part.copy(stage, promised))
        except IntegrityError:
            part.discard()
            if kept:
                return False
            raise
        part.discard()
        return True


def _require(address: str, promised: Mapping[str, str], found: Mapping[str, str]) -> None:
    wrong = [name for name in promised if found[name] != promised[name].lower()]
    if wrong:
        notes = [
            (f"{name} {word}", says[name]) for name in wrong for word, says in (("expected", promised), ("found", found))
        ]
        raise IntegrityError(
            f"the download of {address!r} is not the published file",
            notes=[*notes, ("fix", "correct the hash if the file was meant to change; nothing was kept of it")],
        )


def _fill(part: Part, address: str, *, any_length: bool, copies: int) -> None:
    """Bring the whole of the file into the part, over several connections where they break off.

    Args:
        part: What is there of it; what is the front of something else is begun again.
        address: Where it is published.
        any_length: Whether a server may leave open how long it is.
        copies: How many times its size the disk must have room for.
    """
    import requests
    from urllib3.exceptions import HTTPError, TimeoutError as Silence

    if part.note.get("address") != address or not isinstance(part.note.get("total"), int | None):
        part.restart({})
    for attempt in range(1, ATTEMPTS + 1):
        if part.size and part.size == part.note.get("total"):
            return
        try:
            with _answer(part, address) as response:
                _check_answer(part, address, response, any_length=any_length, copies=copies)
                _take(part, address, response)
                return
        except (requests.Timeout, Silence) as error:
            seconds = CONNECT_SECONDS if isinstance(error, requests.ConnectTimeout) else READ_SECONDS
            raise _failed(part, address, f"the server was silent for {seconds:g} seconds") from error
        except (_BrokenOff, requests.RequestException, HTTPError) as error:
            if attempt == ATTEMPTS or not part.note:  # nobody has answered yet
                raise _failed(part, address, _first_line(error)) from error
        time.sleep(PAUSE_SECONDS * attempt)


def _answer(part: Part, address: str) -> Response:
    """The server's answer, after all redirects; each is checked before it is followed."""
    import requests

    headers = {"Accept-Encoding": "identity", "User-Agent": "torso"}
    if part.size and part.note.get("validator"):
        headers |= {"Range": f"bytes={part.size}-", "If-Range": str(part.note["validator"])}
    hop = address
    for _ in range(REDIRECTS):
        with requests.Session() as session:  # one for each hop: a connection that is kept may be closed already
            session.trust_env = hop.lower().startswith("https:")  # a proxy is not this machine itself
            seconds = (CONNECT_SECONDS, READ_SECONDS)
            response = session.get(hop, headers=headers, stream=True, allow_redirects=False, timeout=seconds)
        if not response.is_redirect:
            return response
        response.close()
        target = urljoin(hop, response.headers["Location"])
        fault = _fault(target)
        if fault is None and hop.lower().startswith("https:") and not target.lower().startswith("https:"):
            fault = "it leaves https"
        if fault is not None:
            fact = f"{address!r} sends on to {target!r}, which is not followed: {fault}"
            raise DiskError(fact, notes=[_KNOWN])
        hop = target
    raise DiskError(
        f"{address!r} sends on and on", notes=[("cause", f"more than {REDIRECTS} redirects, at last to {hop!r}")]
    )


def _check_answer(part: Part, address: str, response: Response, *, any_length: bool, copies: int) -> None:
    """Make sure that what comes is the rest of the part, or begin the part again for what comes."""
    headers, status = response.headers, response.status_code
    if status not in (200, 206, 416):
        raise _failed(part, address, f"the server says {status} {response.reason}".rstrip())
    if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise _failed(part, address, f"the server sends it as {headers['Content-Encoding']!r}, and was asked not to")
    if status != 200 and not (status == 206 and _goes_on(part, response)):
        part.restart({"address": address})
        raise _BrokenOff("the server sends another part than it was asked for")
    if status == 200:
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        ends_by_itself = total is not None or headers.get("Transfer-Encoding", "").lower() == "chunked"
        if not (ends_by_itself or any_length):
            raise _failed(part, address, "the server does not say how long it is, and no hash of it is known")
        part.restart({"address": address, "validator": _validator(headers), "total": total})
    if (part.note.get("total") or 0) > MOST_BYTES:
        raise _failed(part, address, f"it is {part.note['total']:,} bytes, and {MOST_BYTES:,} are the most")
    require_space(part.path.parent, (part.note.get("total") or 0) * copies - part.size)


def _goes_on(part: Part, response: Response) -> bool:
    """Whether an answer is exactly the rest of the part."""
    said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    if said is None or not part.size:
        return False
    first, last, total = map(int, said.groups())
    same = _validator(response.headers) in (None, part.note.get("validator"))
    return same and first == part.size and last == total - 1 and total == (part.note.get("total") or total)


def _validator(headers: Mapping[str, str]) -> str | None:
    """What tells this state of the file from a later one, fit for ``If-Range``: a strong ETag, or else its date."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _take(part: Part, address: str, response: Response) -> None:
    """Write the body to the part, to its very end."""
    total = part.note.get("total")
    tenth = None
    for chunk in iter(lambda: response.raw.read(_CHUNK, decode_content=False), b""):
        part.write(chunk)
        if part.size > (total or MOST_BYTES):
            size = part.size
            part.restart({"address": address})
            raise _BrokenOff(f"the server said {total or MOST_BYTES:,} bytes, and sends {size:,} or more")
        if tenth != (tenth := 10 * part.size // (total or 10**8)):
            of = f" of {total / 1e6:.1f}" if total else ""
            _listener.get()(f"downloading {urlsplit(address).path.rsplit('/', 1)[-1]}: {part.size / 1e6:.1f}{of} MB")
    if total is not None and part.size < total:
        raise _BrokenOff("the connection broke off")


def _failed(part: Part, address: str, cause: str) -> DiskError:
    total = part.note.get("total")
    notes: list[Note] = [("cause", cause)]
    if part.size:
        notes.append(("came", f"{part.size:,} of {total:,} bytes" if total else f"{part.size:,} bytes"))
    again = "try again, which goes on from there" if part.size and part.kept and part.note.get("validator") else "try again"
    notes.append(("fix", f"{again}; or name a local file with weights: {{file: PATH}}, or write weights: none"))
    return DiskError(f"{address!r} could not be downloaded", notes=notes)


def _first_line(error: Exception) -> str:
    """What urllib3 says at the root of an error, which requests wraps twice."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", inner)
    return str(reason).split("\n")[0] or type(error).__name__


_KNOWN: Final[Note] = ("known", "https://…, and http://… of this machine")


def _fault(address: str) -> str | None:
    """Why an address is not asked, or None."""
    if not _ADDRESS.fullmatch(address):
        return "it is not of https"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port  # which is checked only when it is read
    except ValueError as error:
        return str(error)
    if not host:
        return "it names no host"
    if parts.username is not None:
        return "it holds a user's name; ~/.netrc is the place for that"
    if parts.scheme == "http" and not _is_loopback(host):
        return "anybody on the way could change what http carries"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock beside a place; wait for it as long as another process does.

    Raises:
        DiskError: The folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise disk_error(f"{str(place.parent)!r} cannot be written", error) from error
    try:
        yield
    finally:
        lock.release()
