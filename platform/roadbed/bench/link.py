"""A store as it is behind a network link of so many bytes per second, shared by all threads that read.

The kernel's own shaping needs rights that a laptop does not give away, so readers wait in this process: what they read
takes its turn on the link, one read after the other, and a read that took longer anyhow does not wait at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

from roadbed.storage import Store

BITS_PER_BYTE = 8


class Link:
    """Bytes of all readers one after the other at `bits_per_s`. `clock` and `sleep` are those of the time module."""

    def __init__(
        self,
        bits_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._bytes_per_s = bits_per_s / BITS_PER_BYTE
        self._clock, self._sleep = clock, sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    def now(self) -> float:
        """The time by the link's clock, seconds."""
        return self._clock()

    def carry(self, num_bytes: int, *, since: float) -> None:
        """Wait until the link has brought `num_bytes` that were asked for at the time `since`."""
        with self._lock:
            self._free_at = max(self._free_at, since) + num_bytes / self._bytes_per_s
            arrives_at = self._free_at
        wait_s = arrives_at - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)


def behind(link: Link | None, store: Store) -> Store:
    """`store` with its reads carried by `link`; None stands for a link that never makes anyone wait."""
    return store if link is None else cast(Store, _LinkedStore(store, link))


class _LinkedStore:
    """Whole and ranged reads wait for the link; all else is the store's own."""

    def __init__(self, store: Store, link: Link) -> None:
        self._store, self._link = store, link

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        return self._carried(lambda: self._store.get(key, sha256=sha256))

    def get_range(self, key: str, start: int, num_bytes: int) -> bytes:
        return self._carried(lambda: self._store.get_range(key, start, num_bytes))

    def _carried(self, read: Callable[[], bytes]) -> bytes:
        since = self._link.now()
        data = read()
        self._link.carry(len(data), since=since)
        return data
