"""The encoded bytes of samples, fetched ahead: from memory, from this machine's cache, or by ranges.

Shards come whole, in background threads, into the cache that all ranks of a machine share, and stay in memory up to a
budget: the whole split if it fits, else what came last. From a folder on this machine, and where a rank needs few
samples of each shard, the samples' own ranges are read. Whatever way they came, bytes are checked in this process
before they are handed out: a shard when it comes into memory, else each sample.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from roadbed.data.cache import ShardCache
from roadbed.data.dataset import SampleBytes, Split
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


class SampleReader:
    """Bytes of the samples of a split. Safe to use from several threads; close it, for it owns some.

    `memory_bytes` bounds the shards that are kept in memory.
    """

    def __init__(
        self,
        split: Split,
        *,
        cache: ShardCache | None,
        memory_bytes: int,
        by_ranges: bool = False,
        skips_damaged: bool = False,
    ) -> None:
        self.stats = ReadingStats()
        self.outstanding_bytes = 0
        self._split = split
        self._cache = cache
        self._memory_bytes = memory_bytes
        self._is_held_whole = sum(shard.num_bytes for shard in split.shards) <= memory_bytes
        self._by_ranges = by_ranges
        self._skips_damaged = skips_damaged
        self._pool = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="roadbed-shards")
        self._shards: OrderedDict[int, Future[bytes | None]] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def begin_epoch(self) -> None:
        """Tell the cache that all of this is in use still: what is used in each epoch stays in it."""
        if self._cache is None:
            return
        with self._lock:
            known = list(self._shards)
        for shard in known:
            self._cache.holds(self._split.shards[shard].sha256)

    def request(self, shard: int) -> None:
        """Have a shard fetched soon, for samples of it that will be read."""
        if not self._by_ranges:
            self._future(shard)

    def read(self, sample: int) -> SampleBytes:
        """The frame and mask of `sample`, encoded, one after the other as `Split.decode` takes them.

        Raises DamagedError if the store's bytes are not those of the index, StoreError if they cannot be had.
        """
        shard = self._split.index.shard_of(sample)
        if self._by_ranges:
            return self._read_range(sample)
        start, num_bytes = self._split.range_of(sample)
        for _ in range(_CACHE_TRIES):
            future = self._future(shard)
            try:
                data = future.result()
            except DamagedError:
                if self._skips_damaged:
                    return self._read_range(sample)  # the other samples of that shard may be whole
                raise
            if data is not None:
                return memoryview(data)[start : start + num_bytes]
            assert self._cache is not None  # without one there is no None
            found = self._cache.read(self._split.shards[shard].sha256, start, num_bytes)
            if found is not None and self._split.is_intact(sample, found):
                return found
            self._forget(shard, future, is_damaged=found is not None)
        return self._read_range(sample)

    def close(self) -> None:
        """Stop fetching; what was asked for and not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._shards.clear()

    def _future(self, shard: int) -> Future[bytes | None]:
        """The shard's bytes, or None where the cache has them, now or soon. A failed fetch is tried anew."""
        with self._lock:
            known = self._shards.get(shard)
            if known is not None and self._is_worth_keeping(known):
                self._shards.move_to_end(shard)
                return known
            num_bytes = self._split.shards[shard].num_bytes
            self.outstanding_bytes += num_bytes
            future = self._shards[shard] = self._pool.submit(self._fetch, shard)
        future.add_done_callback(lambda done: self._account(shard, done))
        return future

    def _is_worth_keeping(self, known: Future[bytes | None]) -> bool:
        if not known.done():
            return True
        error = known.exception()
        return error is None or (self._skips_damaged and isinstance(error, DamagedError))

    def _fetch(self, shard: int) -> bytes | None:
        """The shard's bytes, checked; None where the cache has them and memory is not to."""
        info = self._split.shards[shard]
        if self._cache is None:
            return self._read_shard(shard)
        if not self._cache.holds(info.sha256):
            try:
                data = self._cache.fill(info.sha256, info.num_bytes, lambda: self._read_shard(shard))
            except OSError as error:  # its folder was removed, or its disk fails: go on without
                log.warning("shard not cached: folder=%s error=%s", self._cache.folder, error)
                data = self._read_shard(shard)
            if data is not None:
                return data
        self.stats.shards_from_cache += 1
        if not self._is_held_whole:
            return None
        data = self._cache.read(info.sha256, 0, info.num_bytes)
        is_whole = data is not None and hashlib.sha256(data).hexdigest() == info.sha256
        return data if is_whole else None

    def _read_shard(self, shard: int) -> bytes:
        data = self._split.read_shard(shard)
        with self._lock:
            self.stats.shards_fetched += 1
            self.stats.bytes_fetched += len(data)
        return data

    def _account(self, shard: int, done: Future[bytes | None]) -> None:
        """A fetch has ended: what is in memory now counts, and the least recently used makes room."""
        with self._lock:
            self.outstanding_bytes -= self._split.shards[shard].num_bytes
            if done.cancelled() or done.exception() or done.result() is None:
                return
            self._held_bytes += self._split.shards[shard].num_bytes
            for oldest in list(self._shards):
                if self._held_bytes <= self._memory_bytes:
                    return
                future = self._shards[oldest]
                if oldest != shard and future.done() and not future.exception() and future.result() is not None:
                    if self._cache is None:
                        del self._shards[oldest]
                    else:
                        self._shards[oldest] = _IN_CACHE
                    self._held_bytes -= self._split.shards[oldest].num_bytes

    def _forget(self, shard: int, future: Future[bytes | None], *, is_damaged: bool) -> None:
        """A cached shard that is gone, or not as it was: the next request fetches it anew."""
        with self._lock:
            if self._shards.get(shard) is not future:
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
