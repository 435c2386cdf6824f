"""Work in parallel: results in order, the first error ends it, and a counter that tells how far it is.

A `Mapper` says where: in threads of this process (here), or as Ray tasks (runtime/map.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

Progress = Callable[[int, int], None]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Mapper(Protocol):
    """Works on many items at once."""

    def map(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, count: Callable[[ItemT], Any]
    ) -> list[ResultT]:
        """`function` of every item, results in the order of `items`.

        Function and items must pickle. `count` is called in this process, from any thread, with each item that is
        done. After the first error no other item is begun, and the error is raised as it is.
        """


class Threads:
    """A Mapper that works in `num_threads` threads of this process."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads

    def map(
        self, function: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, count: Callable[[ItemT], Any]
    ) -> list[ResultT]:
        """See Mapper."""

        def work(item: ItemT) -> ResultT:
            result = function(item)
            count(item)
            return result

        return in_threads(work, items, self._num_threads)


def in_threads(function: Callable[[ItemT], ResultT], items: Sequence[ItemT], num_threads: int) -> list[ResultT]:
    """`function` of every item, results in the order of `items`.

    At most `num_threads` items are being worked on. After the first error (or Ctrl-C) no other item is begun, and the
    error is raised when the running ones have ended.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in futures if future in done and future.exception()), None)
            return [failed.result()] if failed else [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


class ProgressCounter:
    """Counts from any thread and calls `progress(done, total)`, one call at a time.

    With `rounds` of work upon each of `total` items, an item is done after as many counts.
    """

    def __init__(self, total: int, progress: Progress | None, *, rounds: int = 1) -> None:
        self._total = total
        self._progress = progress
        self._rounds = rounds
        self._counts = 0
        self._lock = threading.Lock()

    def count(self, num_items: int = 1) -> None:
        """One more round of that many items is done."""
        with self._lock:
            self._counts += num_items
            if self._progress is not None:
                self._progress(self._counts // self._rounds, self._total)
