"""What a store did so far, counted: for figures, metrics and the benchmarks. Nothing here is ever reset."""

from __future__ import annotations

import threading
from collections import deque

_SECONDS_KEPT = 1024


class StoreStats:
    """Counters that all children of a store share, and all threads. Copies of a store that was pickled begin anew.

    `num_requests` counts every sending (a file that is opened, for folders), `num_retries` those of them that
    repeated one that failed, `num_failures` requests that were given up, `bytes_read` the bodies that came whole,
    `num_damaged` those that were not what they should be.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: deque[float] = deque(maxlen=_SECONDS_KEPT)
        self.num_requests = 0
        self.num_retries = 0
        self.num_failures = 0
        self.num_damaged = 0
        self.bytes_read = 0
        self.bytes_written = 0

    def __repr__(self) -> str:
        return f"StoreStats(requests={self.num_requests}, retries={self.num_retries}, bytes_read={self.bytes_read})"

    def count(
        self,
        *,
        requests: int = 0,
        retries: int = 0,
        failures: int = 0,
        damaged: int = 0,
        bytes_read: int = 0,
        bytes_written: int = 0,
    ) -> None:
        """Add to the counters."""
        with self._lock:
            self.num_requests += requests
            self.num_retries += retries
            self.num_failures += failures
            self.num_damaged += damaged
            self.bytes_read += bytes_read
            self.bytes_written += bytes_written

    def took(self, seconds: float) -> None:
        """An answer came whole, so long after its request was sent."""
        self._seconds.append(seconds)

    def take_seconds(self) -> list[float]:
        """How long the newest answers took that nobody has taken yet; what is more than 1,024 is forgotten."""
        taken = []
        while self._seconds:
            taken.append(self._seconds.popleft())
        return taken
