"""What one worker has moved between store, cache and training, told to the metrics now and then.

In a thread of its own: while a store does not answer, the training stands still, and that is when its figures matter.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from roadbed.data.loader import Loader
from roadbed.storage import StoreStats
from roadbed.telemetry import MetricSink

INTERVAL_S = 5.0


class Traffic:
    """Tells `sink` what came of the stores, by place, and of the loaders since the last telling, while it is open."""

    def __init__(self, sink: MetricSink, stores: Mapping[str, StoreStats], loaders: Sequence[Loader]) -> None:
        self._sink, self._stores, self._loaders = sink, stores, loaders
        self._told: dict[tuple[str, ...], float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="roadbed-traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.tell()

    def tell(self) -> None:
        """Tell what is new."""
        for place, stats in self._stores.items():
            self._add("roadbed_store_requests", stats.num_requests, place)
            self._add("roadbed_store_retries", stats.num_retries, place)
            self._add("roadbed_store_failures", stats.num_failures, place)
            self._add("roadbed_store_read_bytes", stats.bytes_read, place)
            self._add("roadbed_store_written_bytes", stats.bytes_written, place)
            self._sink.observe("roadbed_store_request_seconds", stats.take_seconds(), place)
        readers = [loader.reader.stats for loader in self._loaders]
        num_damaged = self._stores["dataset"].num_damaged if "dataset" in self._stores else 0
        self._add("roadbed_data_shards", sum(one.shards_fetched for one in readers), "store")
        self._add("roadbed_data_shards", sum(one.shards_from_cache for one in readers), "cache")
        self._add("roadbed_data_ranges", sum(one.samples_by_range for one in readers))
        self._add("roadbed_data_checksum_failures", num_damaged, "store")
        self._add("roadbed_data_checksum_failures", sum(one.damaged_in_cache for one in readers), "cache")
        self._sink.set("roadbed_data_prefetched_batches", sum(loader.num_ready for loader in self._loaders))

    def _add(self, name: str, total: float, *labels: str) -> None:
        key = (name, *labels)
        self._sink.add(name, total - self._told.get(key, 0.0), *labels)
        self._told[key] = total

    def _follow(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self.tell()
