"""Downloads from a real server on this machine, which breaks off, stalls, lies and sends on."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, Request, breaking_off, sending_on, serving, stalling

from torso.errors import DiskError, IntegrityError, OptionError
from torso.files import download as downloads
from torso.files.download import check_address, download, progress_to, refuse_offline

DATA = bytes(range(256)) * 2000
SHA256 = {"sha256": hashlib.sha256(DATA).hexdigest()}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0)
    monkeypatch.delenv("TORSO_OFFLINE", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # a proxy is never asked for what is on this machine
    with serving() as server:
        server.files["/w.h5"] = DATA
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def get(server: Loopback, place: Path, promised: dict[str, str] = SHA256) -> None:
    """Download the file, which is then whole, with nothing beside it."""
    download(server.url("/w.h5"), place, promised=promised)
    assert place.read_bytes() == DATA
    assert names(place.parent) == [place.name]


def refusal(error: type[Exception], server: Loopback, place: Path, promised: dict[str, str] = SHA256) -> str:
    with pytest.raises(error) as caught:
        download(server.url("/w.h5"), place, promised=promised)
    assert not place.exists()
    return str(caught.value).replace(server.url("/w.h5"), "URL")


@pytest.mark.parametrize("promised", [SHA256, {}, {"md5": hashlib.md5(DATA).hexdigest().upper()}])
def test_a_file_comes_whole_and_alone_and_the_progress_is_told(server, tmp_path, promised):
    told: list[str] = []
    with progress_to(told.append):
        get(server, tmp_path / "w.h5", promised)
    assert (told[-1], len(told) <= 11) == ("downloading w.h5: 0.5 of 0.5 MB", True)
    ((_, headers),) = server.asked
    assert headers["Accept-Encoding"] == "identity"
    assert "Range" not in headers


def test_a_broken_download_continues_where_it_was(server, tmp_path):
    server.script = [breaking_off(after=100_000), breaking_off(after=500)]
    get(server, tmp_path / "w.h5")
    assert [headers.get("Range") for _, headers in server.asked] == [None, "bytes=100000-", "bytes=100500-"]


def test_what_always_breaks_off_is_kept_for_the_next_run(server, tmp_path):
    server.script = [breaking_off(after=1000)] * downloads.ATTEMPTS
    text = refusal(DiskError, server, tmp_path / "w.h5")
    assert "'URL' could not be downloaded\n  cause: " in text
    assert "\n  received: 4,000 bytes\n  fix: try again, which continues from there; or name a local file" in text
    assert names(tmp_path) == ["w.h5.part"]
    get(server, tmp_path / "w.h5")
    assert server.asked[-1][1]["Range"] == "bytes=4000-"


@pytest.mark.parametrize(("promised", "resume"), [({}, True), (SHA256, False)])
def test_without_a_hash_or_a_lock_no_other_part_is_continued(server, tmp_path, promised, resume):
    (tmp_path / "w.h5.part").write_bytes(b"another's")
    server.script = [breaking_off(after=1000)] * downloads.ATTEMPTS
    with pytest.raises(DiskError, match="\n  fix: try again; or"):
        download(server.url("/w.h5"), tmp_path / "w.h5", promised=promised, resume=resume)
    server.script = [breaking_off(after=1000)]
    download(server.url("/w.h5"), tmp_path / "w.h5", promised=promised, resume=resume)
    ranges = [headers.get("Range") for _, headers in server.asked]
    assert ranges.count(None) == (2 if promised else 6)  # continued within a run, where a hash will tell
    assert (tmp_path / "w.h5").read_bytes() == DATA
    assert names(tmp_path) == ["w.h5", "w.h5.part"]


@pytest.mark.parametrize("part", [DATA, b"x" * 1000, b"x" * len(DATA), b"x" * 2 * len(DATA)])
def test_a_part_of_another_file_is_found_and_begun_anew(server, tmp_path, part):
    (tmp_path / "w.h5.part").write_bytes(part)
    get(server, tmp_path / "w.h5")
    anew = [] if part == DATA else [None]
    assert [headers.get("Range") for _, headers in server.asked] == [f"bytes={len(part)}-", *anew]


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.2)
    server.script = [lambda request: request.server.let_go.wait(60) and None]
    assert "Read timed out. (read timeout=0.2)\n  fix: try again; or" in refusal(DiskError, server, tmp_path / "w.h5")
    server.script = [stalling(after=100_000)] * downloads.ATTEMPTS
    text = refusal(DiskError, server, tmp_path / "w.h5")
    assert re.search("Read timed out.\n  received: [0-9,]+ bytes\n  fix: try again, which continues from there; or", text)
    get(server, tmp_path / "w.h5")
    assert int(server.asked[-1][1]["Range"][6:-1]) >= 131_072


def test_wrong_bytes_are_refused_and_not_kept(server, tmp_path):
    server.files["/w.h5"] = b"other" * 1000
    found = hashlib.sha256(b"other" * 1000).hexdigest()
    assert refusal(IntegrityError, server, tmp_path / "w.h5") == (
        "the download of 'URL' is not the published file\n"
        f"  sha256 expected: {SHA256['sha256']}\n"
        f"  sha256 found: {found}\n"
        "  fix: correct the hash if the file was meant to change; the download was deleted"
    )
    assert names(tmp_path) == []
    assert len(server.asked) == 1


def test_a_length_that_is_not_given_takes_a_hash_or_chunks(server, tmp_path):
    server.script = [lambda request: (request.head(200), request.body(DATA))]
    get(server, tmp_path / "w.h5")

    def chunked(data: bytes, end: bytes) -> Any:
        def answer(request: Request) -> None:
            request.head(200, Transfer_Encoding="chunked")
            request.body(f"{len(data):x}\r\n".encode() + data + b"\r\n" + end)

        return answer

    server.script = [chunked(DATA[:1000], b""), chunked(DATA, b"0\r\n\r\n")]
    get(server, tmp_path / "w.h5", {})


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        (206, {"Content_Range": "bytes 0-0/1"}, "the server answered 206 Partial Content"),
        (404, {"Content_Length": 0}, "the server answered 404 Not Found"),
        (204, {"Content_Length": 0}, "the server answered 204 No Content"),
        (200, {}, "the server does not say how long the file is, and no hash of it is known"),
    ],
)
def test_an_answer_that_is_not_the_file_is_an_error_at_once(server, tmp_path, status, headers, cause):
    server.script = [lambda request: request.head(status, **headers)]
    assert f"\n  cause: {cause}\n" in refusal(DiskError, server, tmp_path / "w.h5", {})
    assert len(server.asked) == 1


def test_nobody_who_listens_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: seconds and pytest.fail("it waits for another try"))
    with serving() as server:
        pass
    text = refusal(DiskError, server, tmp_path / "w.h5")
    assert "Connection refused" in text
    assert "\n  fix: try again; or name a local file with weights: {file: PATH}, or write weights: none" in text


def test_redirects_on_this_machine_are_followed(server, tmp_path):
    server.script = [sending_on("/one", 301), sending_on(server.url("/two"), 307), sending_on("w.h5", 308)]
    get(server, tmp_path / "w.h5")
    assert server.paths == ["/w.h5", "/one", "/two", "/w.h5"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://example.com/w.h5", "http://127.0.0.1:1@example.com/w.h5"])
def test_a_redirect_elsewhere_is_refused_with_both_addresses(server, tmp_path, target):
    server.script = [sending_on(target)]
    assert refusal(DiskError, server, tmp_path / "w.h5").startswith(
        f"'URL' could not be downloaded\n  cause: it redirects to {target!r}, and torso follows https only\n"
    )
    assert len(server.asked) == 1


def test_https_is_not_left_for_http(server, tmp_path, monkeypatch):
    import requests

    def answer(adapter: object, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        response = requests.Response()
        response.raw, response.request, response.url = io.BytesIO(), request, str(request.url)
        response.status_code, response.headers["Location"] = 302, server.url("/w.h5")
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    with pytest.raises(DiskError, match="and torso follows https only"):
        download("https://example.com/w.h5", tmp_path / "w.h5", promised=SHA256)
    assert server.asked == []


@pytest.mark.parametrize(
    ("good", "addresses"),
    [
        (True, ["https://example.com/w.h5", "https://a_b.org?x=1", "http://localhost:80/w", "http://[::1]/w", "HTTP://127.0.0.1/w"]),
        (False, ["", "w.h5", "/w.h5", "file:///w.h5", "ftp://localhost/w", "http://10.0.0.1/w", "http://localhost.example.com/w",
                 "http://127.0.0.1@example.com/w", "https://", "https:///w.h5", "https://[::1/w", "https://x/a b",
                 "https://x/\nw", "http://127.1/w", "https://user@example.com/w"]),
    ],
)  # fmt: skip
def test_addresses_of_downloads(good, addresses):
    for address in addresses:
        with nullcontext() if good else pytest.raises(OptionError, match="cannot be downloaded"):
            check_address(address)


@pytest.mark.parametrize(("value", "forbids"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_offline_nobody_is_asked(tmp_path, monkeypatch, value, forbids):
    monkeypatch.setenv("TORSO_OFFLINE", value)
    with pytest.raises(DiskError, match="TORSO_OFFLINE forbids") if forbids else nullcontext():
        refuse_offline("https://example.com/w.h5", tmp_path / "w.h5")


def test_more_than_the_disk_can_hold_is_refused_before_it_comes(server, tmp_path, monkeypatch):
    server.script = [lambda request: request.head(200, Content_Length=20 * 10**9)]
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 15 * 10**9, "total": 16 * 10**9}))
    assert "needs 20000.0 MB, and its disk has 15000.0 MB left" in refusal(DiskError, server, tmp_path / "w.h5")


RUN = "import sys; from pathlib import Path; from torso.files.download import download; import torso.files.download as d\n"


def test_a_killed_download_goes_on_in_the_next_run(server, tmp_path):
    server.script = [stalling(after=400_000)]
    code = f"{RUN}download({server.url('/w.h5')!r}, Path('w.h5'), promised={SHA256!r})"
    running = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    partial = tmp_path / "w.h5.part"
    while running.poll() is None and not (partial.exists() and partial.stat().st_size >= 300_000):
        server.let_go.wait(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (tmp_path / "w.h5").exists()
    kept = partial.stat().st_size
    download(server.url("/w.h5"), tmp_path / "w.h5", promised=SHA256)
    assert (tmp_path / "w.h5").read_bytes() == DATA
    assert server.asked[-1][1]["Range"] == f"bytes={kept}-"
    assert not partial.exists()


@pytest.mark.parametrize(("limit", "before", "promised"), [(0, None, SHA256), (300_000, b"old", {})])
def test_a_full_disk_leaves_the_old_or_nothing(server, tmp_path, limit, promised, before):
    place = tmp_path / "w.h5"
    if before:
        place.write_bytes(before)
    code = (
        f"{RUN}import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"try: download({server.url('/w.h5')!r}, Path({str(place)!r}), promised={promised!r})\n"
        "except d.DiskError as error: sys.exit('raise the limit on the size of files' not in str(error))\n"
        "else: sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-B", "-c", code], check=False).returncode == 0
    assert (place.read_bytes() if place.exists() else None) == before
    get(server, place, promised)


MANY = """
import os, sys
from contextlib import nullcontext
from torso.builtins import weight_sources as sources
url, sha256, locks = sys.argv[1:]
if not locks:
    sources.downloads.locked = lambda place: nullcontext(False)
children = []
for _ in range(8):
    children.append(os.fork())
    if not children[-1]:
        place = sources.download({"url": url, "sha256": sha256 or None, "md5": None, "cached_as": "w.h5"})
        os._exit(place.read_bytes() != bytes(range(256)) * 2000)
print([os.waitpid(child, 0)[1] for child in children])
"""


def slowly(request: Request) -> None:
    """Well, after a while."""
    request.server.let_go.wait(0.05)
    request.well()


@pytest.mark.parametrize(("sha256", "locks"), [(SHA256["sha256"], "yes"), (SHA256["sha256"], ""), ("", "")])
def test_eight_processes_at_once_get_the_right_file(server, tmp_path, locks, sha256):
    server.script = [slowly] * 1000
    command = [sys.executable, "-c", MANY, server.url("/w.h5"), sha256, locks]
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{[0] * 8}\n", "")
    assert (tmp_path / "models" / "w.h5").read_bytes() == DATA
    assert names(tmp_path / "models") == ([".w.h5.lock"] if locks else []) + ["w.h5"]
    assert server.paths == ["/w.h5"] or not locks
