"""The watchdog of a worker: notices that training stands still, says what this worker does, and names who hangs.

A thread beside the training. As long as the workers meet every few seconds it costs nothing but its looks at a counter.
A worker that has not met the others for a while, or does not move, tells so in a small object of the attempt:

    attempts/0002/stalls/0001.json       what worker 1 does: phase, step, whether it moves, host, pid, stack
                         verdict.json    who hangs, written once, by the first worker that came to a verdict

Who does not move for `stall_timeout_s` reads what the others tell. When nobody moves any more, those that are silent
(a frozen process, a lost machine) or stuck in work of their own are named, those that wait for others are not; then the
process ends itself, so that whoever started the group learns of it. A process that was frozen as a whole and wakes up
has not watched meanwhile and does not count that time.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from roadbed.errors import ConflictError, RoadbedError
from roadbed.runs import Run
from roadbed.storage import get_json, json_bytes
from roadbed.training.watch import WAITING, Phase, Watch

HANG_STATUS = 75
"""The exit status of a process that ends itself after a verdict."""

PATIENCE: Mapping[Phase, float] = {"starting": 3.0, "saving": float("inf")}
"""How many timeouts a phase has, if not one: first steps compile, and writing ends by the store's own budget."""
_TICKS = 10
"""Looks per timeout."""
_ALONE_TICKS = 2
"""After so many looks without having met the others a worker tells what it does, at every look."""
_GRACE_TICKS = 5
"""So many looks after it stopped moving a worker judges: by then all that live have told, and told again."""
_STACK_FRAMES = 12
_LEAVE_S = 5.0
"""So long an end waits for a look under way, which a store that is away may hold up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What one worker tells. `told` grows with every telling, so that a report that stays the same is an old one."""

    rank: int
    phase: Phase
    step: int
    is_stalled: bool
    idle_s: float
    told: int
    host: str
    pid: int
    stack: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Which workers hang, as far as can be told: none of them if all wait for each other."""

    ranks: tuple[int, ...]
    text: str


def judge(reports: Mapping[int, Report], silent: Mapping[int, str], *, num_workers: int) -> Verdict | None:
    """Who keeps the others waiting, or None while somebody still moves.

    `reports` are of the workers that live, `silent` says of the others where they ran. Who is silent is guilty before
    those that tell; of those, who is stuck in work of its own before those that compute or start, for these may wait
    for the gradients of others.
    """
    if not all(report.is_stalled for report in reports.values()):
        return None
    if silent:
        said = "; ".join(f"worker {rank} of {num_workers} ({where})" for rank, where in sorted(silent.items()))
        return Verdict(tuple(sorted(silent)), f"{said} gives no sign: a frozen process or a lost machine")
    own_work: tuple[Phase, ...] = ("loading data", "evaluating", "saving")
    for phases in (own_work, ("computing", "starting")):
        stuck = [report for _, report in sorted(reports.items()) if report.phase in phases]
        if stuck:
            ranks = tuple(report.rank for report in stuck)
            return Verdict(ranks, "; ".join(_describe(report, num_workers) for report in stuck))
    return Verdict((), f"all {num_workers} workers wait for each other: the network between them does not carry")


class Watchdog:
    """Watches this worker while its `with` block runs; entered and left in the thread that trains.

    `places` says of every rank where it runs. `get_traffic` grows whenever something came from the dataset's store:
    that counts as movement. `end` ends the process; it is called after the verdict was written.
    """

    def __init__(
        self,
        watch: Watch,
        run: Run,
        attempt: int,
        *,
        rank: int,
        places: list[str],
        timeout_s: float,
        get_traffic: Callable[[], int] = lambda: 0,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._watch, self._run = watch, run
        self._folder = f"attempts/{attempt:04d}/stalls"
        self._rank, self._places = rank, places
        self._timeout_s = timeout_s
        self._get_traffic = get_traffic
        self._end = end
        self._interval_s = timeout_s / _TICKS
        self._seen = (-1, -1, -1)
        self._idle_s = self._alone_s = 0.0
        self._num_stalled = 0
        self._told = 0
        self._others: dict[int, tuple[Report, int]] = {}
        self._trained_by = threading.get_ident()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch_on, name="roadbed-watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self._timeout_s:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._timeout_s:
            self._thread.join(timeout=_LEAVE_S)

    def _watch_on(self) -> None:
        looked_at = time.monotonic()
        while not self._leaving.wait(self._interval_s):
            now = time.monotonic()
            try:
                verdict = self.look(min(now - looked_at, 2 * self._interval_s))
                if verdict is not None and not self._leaving.is_set():
                    self._carry_out(verdict)
                    return
            except RoadbedError as error:
                log.warning("watchdog: cannot tell or read what workers do, tries again: %s", error)
            looked_at = now

    def look(self, passed_s: float) -> Verdict | None:
        """One look, `passed_s` after the one before. Who hangs, once that is certain.

        Raises StoreError where the store cannot be written or read.
        """
        is_stalled = self._has_stalled(passed_s)
        self._num_stalled = self._num_stalled + 1 if is_stalled else 0
        is_alone = len(self._places) > 1 and self._alone_s >= _ALONE_TICKS * self._interval_s
        if is_stalled or is_alone:
            self._tell(is_stalled=is_stalled)
        if not is_stalled:
            self._others.clear()
            return None
        reports, silent = self._read_others()
        if self._num_stalled <= _GRACE_TICKS:
            return None
        return judge(reports, silent, num_workers=len(self._places))

    def _has_stalled(self, passed_s: float) -> bool:
        """Whether nothing moved for longer than the phase may last."""
        moves, meetings, traffic = self._watch.num_moves, self._watch.num_meetings, self._get_traffic()
        has_moved = moves != self._seen[0] or (traffic != self._seen[2] and self._watch.phase != WAITING)
        self._idle_s = 0.0 if has_moved else self._idle_s + passed_s
        self._alone_s = 0.0 if meetings != self._seen[1] else self._alone_s + passed_s
        self._seen = (moves, meetings, traffic)
        return self._idle_s >= self._timeout_s * PATIENCE.get(self._watch.phase, 1.0)

    def _tell(self, *, is_stalled: bool) -> None:
        self._told += 1
        report = self._report(is_stalled=is_stalled)
        if is_stalled and self._num_stalled == 1:
            log.warning("worker %d stands still: phase=%s step=%d", report.rank, report.phase, report.step)
        self._run.store.put(f"{self._folder}/{self._rank:04d}.json", json_bytes(asdict(report)))

    def _report(self, *, is_stalled: bool) -> Report:
        frame = sys._current_frames().get(self._trained_by)
        stack = traceback.format_stack(frame)[-_STACK_FRAMES:] if frame is not None else []
        return Report(
            rank=self._rank,
            phase=self._watch.phase,
            step=self._watch.step,
            is_stalled=is_stalled,
            idle_s=round(self._idle_s, 1),
            told=self._told,
            host=socket.gethostname(),
            pid=os.getpid(),
            stack=tuple(line.rstrip() for line in stack),
        )

    def _read_others(self) -> tuple[dict[int, Report], dict[int, str]]:
        """What the workers that live tell, this one included, and where the silent ones ran."""
        reports, silent = {self._rank: self._report(is_stalled=True)}, {}
        there = {info.key for info in self._run.store.list(f"{self._folder}/")}
        for rank, place in enumerate(self._places):
            key = f"{self._folder}/{rank:04d}.json"
            if rank == self._rank:
                continue
            if key not in there:
                silent[rank] = place
                continue
            report = read_report(get_json(self._run.store, key))
            before, num_same = self._others.get(rank, (report, 0))
            num_same = num_same + 1 if report.told == before.told else 0
            self._others[rank] = (report, num_same)
            if num_same >= _GRACE_TICKS - 1:
                silent[rank] = place
            else:
                reports[rank] = report
        return reports, silent

    def _carry_out(self, verdict: Verdict) -> None:
        """Write the verdict, unless another worker was first, and end this process."""
        log.error("hang: %s", verdict.text)
        try:
            self._run.store.put_if(f"{self._folder}/verdict.json", json_bytes(asdict(verdict)), etag=None)
        except ConflictError:
            log.info("another worker has named who hangs before")
        self._end(HANG_STATUS)


def read_verdict(run: Run, attempt: int) -> Verdict | None:
    """Who hung in an attempt, None where nobody did."""
    key = f"attempts/{attempt:04d}/stalls/verdict.json"
    if not run.store.exists(key):
        return None
    found = get_json(run.store, key)
    return Verdict(tuple(found["ranks"]), found["text"])


def read_report(found: dict[str, Any]) -> Report:
    """A report as it lies in the store."""
    return Report(**{**found, "stack": tuple(found["stack"])})


def _describe(report: Report, num_workers: int) -> str:
    at = report.stack[-1].strip().replace("\n", ": ") if report.stack else "unknown"
    return (
        f"worker {report.rank} of {num_workers} ({report.host}, pid {report.pid}) has been {report.phase} at step "
        f"{report.step} for {report.idle_s:.0f} s, in {' '.join(at.split())}"
    )
