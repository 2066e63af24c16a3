"""A real HTTP server on this machine that can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, with the means to answer it well or badly."""

    server: Loopback
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.one_at_a_time:
            self.server.asked.append((self.path, dict(self.headers.items())))
            answer = self.server.script.pop(0) if self.server.script else Request.well
        self.close_connection = True
        answer(self)

    def head(self, status: int = 200, **headers: object) -> None:
        """Status and headers; ``Content_Length=3`` for ``Content-Length: 3``."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    @property
    def start(self) -> int | None:
        """Where the part begins that is asked for, if it is one."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(wanted[1]) if wanted else None

    def well(self) -> None:
        """Answer as a good server does."""
        data, start = self.server.files.get(self.path), self.start
        if data is None:
            self.head(404, Content_Length=0)
        elif start is None:
            self.head(200, Content_Length=len(data))
            self.body(data)
        else:
            whole = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.head(206, Content_Length=len(data) - start, Content_Range=whole)
            self.body(data[start:])

    def log_message(self, *words: object) -> None:
        """Nothing on stderr."""


class Loopback(ThreadingHTTPServer):
    """Serves ``files`` by path; the first answers are those of ``script``; ``asked`` has path and headers of requests."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.files: dict[str, bytes] = {}
        self.script: list[Answer] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.one_at_a_time = threading.Lock()
        self.let_go = threading.Event()  # set when the test is over, for answers that hang

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no matter here."""


@contextmanager
def serving() -> Iterator[Loopback]:
    server = Loopback()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()


def breaking_off(after: int) -> Answer:
    """Promise all that is asked for, and close after so many bytes."""

    def answer(request: Request) -> None:
        data, start = request.server.files[request.path], request.start or 0
        request.head(206 if start else 200, Content_Length=len(data) - start)
        request.body(data[start : start + after])

    return answer


def stalling(after: int) -> Answer:
    """Fall silent after so many bytes."""

    def answer(request: Request) -> None:
        breaking_off(after)(request)
        request.server.let_go.wait(60)

    return answer


def sending_on(target: str, status: int = 302) -> Answer:
    return lambda request: request.head(status, Location=target, Content_Length=0)
