"""A real HTTP server on loopback: files of a folder with range requests, and failures on demand."""

import contextlib
import os
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

Failure = str  # "500", "429", "404", ... or "cut", "short", "ignore", "shifted", "slow", "corrupt"


class Loopback(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        url: of the folder.
        requests: (method, name, Range or "") of all that came.
        failures: what happens to the next GET requests, one each; None for nothing.
        always: by name of a file, what happens to every GET of it.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str, str]] = []
        self.failures: deque[Failure | None] = deque()
        self.always: dict[str, Failure] = {}
        self.decide: Callable[[str, str], Failure | None] = lambda name, wanted: None
        self.lock = threading.Lock()

    def failure(self, name: str, wanted: str) -> Failure | None:
        """What the next GET has to suffer."""
        with self.lock:
            if name in self.always:
                return self.always[name]
            return self.failures.popleft() if self.failures else self.decide(name, wanted)

    def gets(self) -> Counter[tuple[str, str]]:
        """How often each range of each file was asked for."""
        return Counter((name, wanted) for method, name, wanted in self.requests if method == "GET")

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"", None, head=True)

    def do_GET(self) -> None:
        self._answer(b"", None, head=False)

    def _answer(self, body: bytes, failure: Failure | None, head: bool) -> None:
        name = unquote(self.path).lstrip("/")
        wanted = self.headers.get("Range", "")
        with self.server.lock:
            self.server.requests.append((self.command, name, wanted))
        failure = None if head else self.server.failure(name, wanted)
        path = self.server.folder / name
        if failure is not None and failure.isdigit():
            return self._send(int(failure), b"injected", {}, head)
        if not path.is_file():
            return self._send(404, b"none", {}, head)
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if asked is None or failure == "ignore":
            return self._send(200, data, {}, head, failure)
        start, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        if start >= len(data):
            return self._send(416, b"", {}, head)
        if failure == "shifted":
            start, last = start + 1, last + 1
        part = data[start : last + 1]
        return self._send(206, part, {"Content-Range": f"bytes {start}-{last}/{len(data)}"}, head, failure)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], head: bool, failure: Failure | None = None
    ) -> None:
        if failure == "slow":
            time.sleep(1.5)
        if failure == "corrupt":
            body = bytes(byte ^ 255 for byte in body)
        if failure == "short":
            body = body[: len(body) // 2]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body[: len(body) // 2] if failure == "cut" else body)
        if failure == "cut":
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing on the screen."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Loopback]:
    """Serve a folder until the end of the block."""
    direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    with mock.patch.dict(os.environ, direct), Loopback(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
