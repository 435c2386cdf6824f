"""Reading the body of an answer: to the very length that was promised, and against the clock.

A body is read in one piece, by far the cheapest way (pieces that are joined cost half as much again). What a timeout of
the socket cannot see, a body that trickles for ever, is ended from outside: a thread closes the reading side.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class WrongLengthError(Exception):
    """A body that is shorter or longer than it must be, though the object is not: worth another request."""


class TooSlowError(Exception):
    """A body that trickles so slowly that its time is over."""


@dataclass
class Reading:
    """One body on its way: when its time is over, on the monotonic clock, and how it is ended then."""

    ends_at: float
    end: Callable[[], None]
    is_over: bool = False


class Watchdog:
    """Ends readings whose time is over, by one thread that lives as long as there are any."""

    def __init__(self, *, tick_s: float = 0.25) -> None:
        self._tick_s = tick_s
        self.forget()

    def forget(self) -> None:
        """Begin anew. A forked child shares its parent's sockets, must not end what is read from them, and has its own
        copy of a lock that a thread of the parent may have held.
        """
        self._readings: dict[int, Reading] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watched(self, reading: Reading) -> Iterator[None]:
        """Watch a reading during the block."""
        with self._lock:
            self._readings[id(reading)] = reading
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="roadbed-s3-watchdog", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._readings.pop(id(reading), None)

    def _watch(self) -> None:
        while True:
            time.sleep(self._tick_s)
            with self._lock:
                if not self._readings:
                    self._thread = None
                    return
                for reading in self._readings.values():
                    if not reading.is_over and time.monotonic() > reading.ends_at:
                        reading.is_over = True
                        with suppress(OSError, ValueError):  # It ended by itself at this moment.
                            reading.end()


_watchdog = Watchdog()
os.register_at_fork(after_in_child=_watchdog.forget)


def read_body(answer: Any, *, ends_at: float) -> bytes:
    """The body of a GetObject answer, exactly as long as its Content-Length.

    Raises TooSlowError if it is not there when the monotonic clock says `ends_at`, WrongLengthError, and what botocore
    and urllib3 raise for a connection that breaks off or is silent for longer than the socket's timeout.
    """
    body, num_bytes = answer["Body"], answer["ContentLength"]
    with body as stream:
        reading = Reading(ends_at, stream.shutdown)
        try:
            with _watchdog.watched(reading):
                data: bytes = body.read(num_bytes)
                body.read(1)  # At the end botocore checks sum and length.
        except Exception as error:
            if reading.is_over:
                raise TooSlowError(f"not {num_bytes} bytes in time") from error
            raise
    if len(data) != num_bytes:
        raise WrongLengthError(f"{len(data)} bytes of {num_bytes}")
    return data


def is_cut_short(answer: Any) -> bool:
    """Whether the answer to a ranged read is whole and ends where the object itself ends."""
    match = _CONTENT_RANGE.match(answer.get("ContentRange", ""))
    if match is None:
        return False
    first, last, size = map(int, match.groups())
    return last + 1 == size and answer["ContentLength"] == size - first
