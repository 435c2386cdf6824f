"""A proxy between boto3 and a real S3 server that breaks answers on order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[[BaseHTTPRequestHandler, int, bytes], bool]
"""Told the request, and the server's status and body after it did its work; whether the answer is dealt with."""


class Proxy:
    """`url` leads to the server through the faults that are queued in `faults`, one for each request that matches."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: list[tuple[str, Fault]] = []
        self.num_spoilt = 0
        self._lock = threading.Lock()

    def spoil(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Let `fault` answer the next `times` requests of a method."""
        self.faults += [(method, fault)] * times

    def take(self, method: str) -> Fault | None:
        """The fault for a request that came in, if one is queued for its method."""
        with self._lock:
            for entry in self.faults:
                if entry[0] == method:
                    self.faults.remove(entry)
                    self.num_spoilt += 1
                    return entry[1]
        return None


def answer_lost(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> bool:
    """The server did its work, and the connection breaks before a byte of the answer."""
    handler.close_connection = True
    return True


def body_cut(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> bool:
    """The answer breaks off in the middle of its body."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", '"cut"')
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True
    return True


def status_of(code: int, name: str) -> Fault:
    """An error answer of the server's own making."""

    def fault(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> bool:
        text = f"<Error><Code>{name}</Code><Message>on order</Message></Error>".encode()
        handler.send_response(code)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)
        return True

    return fault


@contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """A proxy before `endpoint`, on a free port of loopback."""
    upstream = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection = HTTPConnection(upstream, timeout=30)
            connection.request(self.command, self.path, body=data, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            fault = proxy.take(self.command)
            if fault is not None and fault(self, answer.status, body):
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
