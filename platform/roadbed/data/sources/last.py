"""A memory of one value per thread, for samples that share a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LastValue(threading.local, Generic[T]):
    """The value that was made last in this thread. It stays behind when its owner is pickled."""

    def __init__(self) -> None:
        self._made: tuple[Hashable, T] | None = None

    def __reduce__(self) -> tuple[type[LastValue[T]], tuple[()]]:
        return LastValue, ()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made anew unless it was asked for last."""
        if self._made is None or self._made[0] != key:
            self._made = None
            self._made = key, make()
        return self._made[1]
