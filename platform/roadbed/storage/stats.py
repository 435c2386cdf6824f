"""What a store did so far, counted: for the loader's figures and the benchmarks. Nothing here is ever reset."""

from __future__ import annotations

import threading


class StoreStats:
    """Counters that all children of a store share, and all threads. Copies of a store that was pickled begin anew.

    `num_requests` counts every sending (a file that is opened, for folders), `num_retries` those of them that
    repeated one that failed, `bytes_read` the bodies that came whole.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.num_requests = 0
        self.num_retries = 0
        self.bytes_read = 0

    def __repr__(self) -> str:
        return f"StoreStats(requests={self.num_requests}, retries={self.num_retries}, bytes_read={self.bytes_read})"

    def count(self, *, requests: int = 0, retries: int = 0, bytes_read: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.num_requests += requests
            self.num_retries += retries
            self.bytes_read += bytes_read
