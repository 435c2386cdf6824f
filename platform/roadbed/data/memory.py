"""Whole shards in a worker's memory, up to one bound for all splits that it reads. Knows bytes and names alone.

What was read longest ago makes room. What was asked for and nobody has read yet stays: it would be fetched twice.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock


class ShardMemory:
    """Shards by their sha256. Safe to use from several threads, and by the readers of several splits."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._unread: OrderedDict[str, bytes] = OrderedDict()
        self._read: OrderedDict[str, bytes] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of all shards that are kept; never more than the bound."""
        return self._held_bytes

    def holds(self, name: str) -> bool:
        """Whether the shard is here; that is no use of it."""
        with self._lock:
            return name in self._read or name in self._unread

    def read(self, name: str) -> bytes | None:
        """The shard, None if it is not here; it was used last of all now."""
        with self._lock:
            data = self._unread.pop(name, None) or self._read.get(name)
            if data is not None:
                self._read[name] = data
                self._read.move_to_end(name)
            return data

    def keep(self, name: str, data: bytes) -> None:
        """Keep a shard, unless it has no room beside those that nobody has read yet."""
        with self._lock:
            is_here = name in self._read or name in self._unread
            if is_here or sum(map(len, self._unread.values())) + len(data) > self.max_bytes:
                return
            while self._held_bytes + len(data) > self.max_bytes:
                self._held_bytes -= len(self._read.popitem(last=False)[1])
            self._unread[name] = data
            self._held_bytes += len(data)

    def begin_epoch(self) -> None:
        """Whatever an epoch that was broken off asked for and did not read is the first to make room."""
        with self._lock:
            self._read = OrderedDict([*self._unread.items(), *self._read.items()])
            self._unread.clear()
