"""A proxy between boto3 and a real S3 server that breaks answers on order, or at random, and counts requests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from faults import PASSING, Answer, Fault, any_of, send_head, status_of

Rule = Callable[[str, Mapping[str, str]], Fault | None]
"""Told method and headers of a request; the fault to answer it with, None to let it be."""

_UNAVAILABLE = Answer(503, {}, b"")
_SIGNATURE = {"authorization", "x-amz-date", "x-amz-security-token"}


class Proxy:
    """`url` leads to the server. Queued faults come first, then the rule, then those at random."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rule: Rule | None = None
        self.num_spoilt = 0
        self.num_cuts_left = 0
        """Uploads that are still to be cut half-way: the server never learns of them."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """How often what was asked: (method, key), with the bucket's name before the key and no query."""
        self._queued: list[tuple[str, Fault]] = []
        self._shares: dict[str, tuple[float, Random, Fault]] = {}
        self._lock = threading.Lock()

    def spoil(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """Let `fault` answer the next `times` requests of a method."""
        self._queued += [(method, fault)] * times

    def spoil_share(self, method: str, share: float, *, seed: int = 0, faults: tuple[Fault, ...] = PASSING) -> None:
        """From now on let a random share (0..1) of the requests of a method fail, each in one of several ways."""
        rng = Random(seed)
        self._shares[method] = (share, rng, any_of(faults, rng))

    def takes_cut(self, method: str) -> bool:
        """Whether a request that came in is one of the uploads to be cut."""
        with self._lock:
            is_cut = method == "PUT" and self.num_cuts_left > 0
            self.num_cuts_left -= is_cut
            self.num_spoilt += is_cut
            return is_cut

    def heal(self) -> None:
        """No more faults."""
        self.num_cuts_left = 0
        self._queued.clear()
        self._shares.clear()
        self.rule = None

    def num_requests(self, method: str, key_end: str = "") -> int:
        """Requests of a method for all keys that end like this."""
        return sum(count for (asked, key), count in self.counts.items() if asked == method and key.endswith(key_end))

    def take(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        """The fault for a request that came in, if there is one for it."""
        with self._lock:
            self.counts[method, unquote(urlsplit(path).path).lstrip("/")] += 1
            fault = self._choose(method, headers)
            self.num_spoilt += fault is not None
            return fault

    def _choose(self, method: str, headers: Mapping[str, str]) -> Fault | None:
        for entry in self._queued:
            if entry[0] == method:
                self._queued.remove(entry)
                return entry[1]
        if self.rule is not None and (fault := self.rule(method, headers)) is not None:
            return fault
        share, rng, fault = self._shares.get(method, (0.0, Random(0), status_of(500, "InternalError")))
        return fault if rng.random() < share else None


@contextmanager
def proxied(endpoint: str, *, keys: tuple[str, str] | None = None) -> Iterator[Proxy]:
    """A proxy before `endpoint`, on a free port of loopback.

    With `keys`, access and secret key of the server, it signs all requests itself, whoever sent them. A server that is
    not there is answered for by 503, so that one may be restarted behind the proxy.
    """
    upstream = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        upstream: HTTPConnection | None = None

        def forward(self) -> None:
            if proxy.takes_cut(self.command):
                self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
                self.close_connection = True
                return
            fault = proxy.take(self.command, self.path, self.headers)
            answer = self.ask()
            if answer is _UNAVAILABLE:
                fault = fault or status_of(503, "ServiceUnavailable")
            if fault is not None:
                fault(self, answer)
                return
            send_head(self, answer)
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

        def ask(self) -> Answer:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            if keys is not None:
                headers = _signed(self.command, f"http://{upstream}{self.path}", data, headers, keys)
            if self.upstream is None:
                self.upstream = HTTPConnection(upstream, timeout=30)
            try:
                self.upstream.request(self.command, self.path, body=data, headers=headers)
                answer = self.upstream.getresponse()
                return Answer(answer.status, dict(answer.getheaders()), answer.read())
            except (OSError, HTTPException):
                self.upstream.close()
                self.upstream = None
                return _UNAVAILABLE

        def finish(self) -> None:
            super().finish()
            if self.upstream is not None:
                self.upstream.close()

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


def _signed(method: str, url: str, data: bytes, headers: dict[str, str], keys: tuple[str, str]) -> dict[str, str]:
    """The headers of a request with another signature."""
    unsigned = {
        name: value for name, value in headers.items() if name.lower() not in _SIGNATURE and name.lower() != "host"
    }
    request = AWSRequest(method=method, url=url, data=data, headers=unsigned)
    S3SigV4Auth(Credentials(*keys), "s3", "us-east-1").add_auth(request)
    return dict(request.headers.items())
