"""Where Prometheus asks: /metrics; and /healthz, which says that the process lives, and reads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.registry import Collector


@contextmanager
def listen(collector: Collector, *, host: str, port: int) -> Iterator[str]:
    """Answer for the time of the block, with nothing but what `collector` tells; the address. Port 0: any free one.

    Raises OSError where it cannot listen there.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server = ThreadingHTTPServer((host, port), _handler(registry))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="exporter", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(registry: CollectorRegistry) -> Any:
    class Handler(MetricsHandler.factory(registry)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802  (http.server's name)
            path = self.path.partition("?")[0]
            if path == "/metrics":
                super().do_GET()
            elif path == "/healthz":
                self._answer(200, b"ok\n")
            else:
                self._answer(404, b"metrics are at /metrics\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
