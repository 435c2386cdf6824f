"""The encoded bytes of samples, fetched ahead: from memory, from this machine's cache, or by ranges.

Shards come whole, in background threads, into the cache that all ranks of a machine share, and stay in memory up to a
budget: the whole split if it fits, else what was read last. From a folder on this machine, where a rank needs few
samples of each shard, and where neither memory nor cache holds the shards that are read at the same time, the samples'
own ranges are read. Whatever way they came, bytes are checked in this process before they are handed out: a shard when
it comes into memory, else each sample.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from roadbed.data.cache import ShardCache
from roadbed.data.dataset import SampleBytes, Split
from roadbed.data.memory import ShardMemory
from roadbed.errors import DamagedError

log = logging.getLogger(__name__)

FETCH_THREADS = 4
_CACHE_TRIES = 3
_IN_CACHE: Future[bytes | None] = Future()
_IN_CACHE.set_result(None)


@dataclass
class ReadingStats:
    """What a reader did so far."""

    shards_fetched: int = 0
    bytes_fetched: int = 0
    shards_from_cache: int = 0
    samples_by_range: int = 0
    damaged_in_cache: int = 0


class SampleReader:
    """Bytes of the samples of a split. Safe to use from several threads; close it, for it owns some.

    `memory` may be that of other splits' readers too.
    """

    def __init__(
        self,
        split: Split,
        *,
        cache: ShardCache | None,
        memory: ShardMemory,
        by_ranges: bool = False,
        skips_damaged: bool = False,
    ) -> None:
        self.stats = ReadingStats()
        self.outstanding_bytes = 0
        self._split = split
        self._cache = cache
        self.memory = memory
        self._num_bytes = sum(shard.num_bytes for shard in split.shards)
        self._by_ranges = by_ranges
        self._skips_damaged = skips_damaged
        self._pool = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="roadbed-shards")
        self._shards: dict[int, Future[bytes | None]] = {}
        """Fetches under way, those that failed, and what the cache was found to have in this epoch."""
        self._needed_bytes = 0
        self._asked: set[int] = set()
        self._unread: set[int] = set()
        self._unread_bytes = 0
        self._is_room_told = False
        self._lock = Lock()

    def may_read_ahead(self, shards: Iterable[int]) -> bool:
        """Whether `shards` may be asked for though nobody waits for them.

        What was asked for and is not read yet takes at most half of the room, and leaves what the epoch needs.
        """
        if self._reads_ranges() or self._num_bytes <= self._room_bytes:
            return True
        new_bytes = sum(self._split.shards[shard].num_bytes for shard in shards if shard not in self._asked)
        free_bytes = min(self._room_bytes // 2, self._room_bytes - self._needed_bytes)
        return self._unread_bytes + new_bytes <= free_bytes

    def begin_epoch(self, *, needed_bytes: int) -> None:
        """Forget what the cache had: the first use of a shard in each epoch is told to it, so that it stays there.

        `needed_bytes` of shards must find room in memory or cache, or they would be fetched again and again: where
        they do not, samples are read by their ranges.
        """
        self.memory.begin_epoch()
        self._needed_bytes = needed_bytes
        with self._lock:
            self._shards = {shard: future for shard, future in self._shards.items() if future is not _IN_CACHE}
            self._asked.clear()
            self._unread.clear()
            self._unread_bytes = 0

    def request(self, shard: int) -> None:
        """Have a shard fetched soon, for samples of it that will be read."""
        if self._reads_ranges() or (self._cache is None and self.memory.holds(self._split.shards[shard].sha256)):
            return
        with self._lock:
            if shard not in self._asked:
                self._asked.add(shard)
                self._unread.add(shard)
                self._unread_bytes += self._split.shards[shard].num_bytes
        self._future(shard)

    def read(self, sample: int) -> SampleBytes:
        """The frame and mask of `sample`, encoded, one after the other as `Split.decode` takes them.

        Raises DamagedError if the store's bytes are not those of the index, StoreError if they cannot be had.
        """
        if self._reads_ranges():
            return self._read_range(sample)
        shard = self._split.index.shard_of(sample)
        if shard in self._unread:
            self._count_read(shard)
        name = self._split.shards[shard].sha256
        start, num_bytes = self._split.range_of(sample)
        for _ in range(_CACHE_TRIES):
            data = self.memory.read(name)
            if data is not None:
                return memoryview(data)[start : start + num_bytes]
            future = self._future(shard)
            try:
                data = future.result()
            except DamagedError:
                if self._skips_damaged:
                    return self._read_range(sample)  # the other samples of that shard may be whole
                raise
            if data is not None:
                self.memory.read(name)
                return memoryview(data)[start : start + num_bytes]
            assert self._cache is not None  # without one there is no None
            found = self._cache.read(name, start, num_bytes)
            if found is not None and self._split.is_intact(sample, found):
                return found
            self.stats.damaged_in_cache += found is not None
            self._forget(shard, future, is_damaged=found is not None)
        return self._read_range(sample)

    def close(self) -> None:
        """Stop fetching; what was asked for and not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._shards.clear()

    @property
    def _cache_bytes(self) -> int:
        return 0 if self._cache is None else self._cache.lasting_bytes

    @property
    def _room_bytes(self) -> int:
        return max(self.memory.max_bytes, self._cache_bytes)

    def _reads_ranges(self) -> bool:
        if self._by_ranges or self._needed_bytes <= self._room_bytes:
            return self._by_ranges
        if not self._is_room_told:
            self._is_room_told = True
            log.warning(
                "samples are read one by one, which is slower, for the shards that are open at the same time find no "
                "room: split=%s open_mb=%.1f memory_mb=%.1f cache_mb=%.1f; raise data.memory_mb or data.cache_mb to "
                "open_mb, or lower data.window_shards",
                self._split.name, self._needed_bytes / 1e6, self.memory.max_bytes / 1e6, self._cache_bytes / 1e6,
            )  # fmt: skip
        return True

    def _count_read(self, shard: int) -> None:
        with self._lock:
            if shard in self._unread:
                self._unread.remove(shard)
                self._unread_bytes -= self._split.shards[shard].num_bytes

    def _future(self, shard: int) -> Future[bytes | None]:
        """The shard's bytes, or None where the cache has them, now or soon. A failed fetch is tried anew."""
        with self._lock:
            known = self._shards.get(shard)
            if known is not None and self._is_worth_keeping(known):
                return known
            self.outstanding_bytes += self._split.shards[shard].num_bytes
            future = self._shards[shard] = self._pool.submit(self._fetch, shard)
        future.add_done_callback(lambda _: self._account(shard))
        return future

    def _is_worth_keeping(self, known: Future[bytes | None]) -> bool:
        if not known.done():
            return True
        error = known.exception()
        return error is None or (self._skips_damaged and isinstance(error, DamagedError))

    def _fetch(self, shard: int) -> bytes | None:
        """The shard's bytes, checked, and kept in memory; None where the cache has them and memory is not to."""
        name = self._split.shards[shard].sha256
        is_cached = self._cache is not None and self._cache.holds(name)  # asked in any case: that is its use
        data = self.memory.read(name)
        if data is None:
            data = self._load_cached(shard) if is_cached else self._load(shard)
            if data is not None:
                self.memory.keep(name, data)
        with self._lock:
            if self._cache is None:
                del self._shards[shard]
            else:
                self._shards[shard] = _IN_CACHE
        return data

    def _load_cached(self, shard: int) -> bytes | None:
        """A shard that the cache has: None where it is not to come into memory, or is not what it should be."""
        assert self._cache is not None
        info = self._split.shards[shard]
        self.stats.shards_from_cache += 1
        if self._num_bytes > self.memory.max_bytes:
            return None
        data = self._cache.read(info.sha256, 0, info.num_bytes)
        if data is None or hashlib.sha256(data).hexdigest() == info.sha256:
            return data
        self.stats.damaged_in_cache += 1
        return None

    def _load(self, shard: int) -> bytes | None:
        """A shard from the store, left in the cache too; None where another process has put it there meanwhile."""
        info = self._split.shards[shard]
        if self._cache is None:
            return self._read_shard(shard)
        try:
            data = self._cache.fill(info.sha256, info.num_bytes, lambda: self._read_shard(shard))
        except OSError as error:  # its folder was removed, or its disk fails: go on without
            self._cache.tell_failure(error)
            return self._read_shard(shard)
        return self._load_cached(shard) if data is None else data

    def _read_shard(self, shard: int) -> bytes:
        data = self._split.read_shard(shard)
        with self._lock:
            self.stats.shards_fetched += 1
            self.stats.bytes_fetched += len(data)
        return data

    def _account(self, shard: int) -> None:
        with self._lock:
            self.outstanding_bytes -= self._split.shards[shard].num_bytes

    def _forget(self, shard: int, future: Future[bytes | None], *, is_damaged: bool) -> None:
        """A cached shard that is gone, or not as it was: the next request fetches it anew."""
        with self._lock:
            if self._shards.get(shard) not in (future, _IN_CACHE):
                return
            del self._shards[shard]
        if is_damaged and self._cache is not None:
            self._cache.remove(self._split.shards[shard].sha256)

    def _read_range(self, sample: int) -> bytes:
        data = self._split.read_range(sample)
        with self._lock:
            self.stats.samples_by_range += 1
            self.stats.bytes_fetched += len(data)
        return data
