"""Work in threads: results in order, the first error ends it, and a counter that tells how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

Progress = Callable[[int, int], None]
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


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

    def count(self) -> None:
        """One more round of one item is done."""
        with self._lock:
            self._counts += 1
            if self._progress is not None:
                self._progress(self._counts // self._rounds, self._total)
