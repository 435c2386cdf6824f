"""CPU seconds and memory of a process with all its descendants, from /proc (Linux)."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SAMPLE_EVERY_S = 0.25


def tree_of(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, coming = [], [pid]
    while coming:
        found.append(coming.pop())
        coming += parents.get(found[-1], [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, children that have ended and were waited for included."""
    ticks = 0
    for member in tree_of(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(fields[place]) for place in (11, 12, 13, 14))
    return ticks / _TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Memory of the tree, what is shared counted once (proportional set size), in MB (10^6 bytes)."""
    kilobytes = 0
    for member in tree_of(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


class PeakMemory:
    """Watches a tree from a thread; `peak_mb` is the most that was seen."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The peak, after the last look."""
        self._is_over.set()
        self._thread.join()
        return self.peak_mb

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_EVERY_S):
            self.peak_mb = max(self.peak_mb, memory_mb(self._pid))
