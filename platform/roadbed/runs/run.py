"""A run as anybody sees it: its spec, its state, its attempts, what they logged; and how to begin a new attempt."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from roadbed.errors import ConflictError, DamagedError, FencedError, NotFoundError, RoadbedError, UsageError
from roadbed.runs.attempt import Attempt
from roadbed.runs.lineage import counts, surviving_steps
from roadbed.runs.state import (
    HEARTBEAT_S,
    LIVE,
    POINTER_KEY,
    STATUS_KEY,
    Pointer,
    RunStatus,
    read_pointer,
    read_status,
)
from roadbed.storage import Store, get_json, json_bytes

SPEC_KEY = "spec.yaml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MAX_CLAIMS = 1000


def list_runs(root: Store) -> list[str]:
    """Names of the runs under `root`, sorted."""
    return root.list_folders("runs")


class Run:
    """The run `name` under the root store `root`. Nothing is read or written until asked for.

    `folder` is where it lies: a sweep is kept as a run is, below "sweeps".
    """

    def __init__(self, root: Store, name: str, *, folder: str = "runs", clock: Callable[[], float] = time.time) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name for a run; use letters, digits and dashes, as in camvid-quick")
        self.name = name
        self.clock = clock
        self.store = root.child(f"{folder}/{name}")
        self.uri = self.store.uri

    def begin(self, spec_text: str) -> str:
        """Write spec.yaml if there is none yet; the text that is there now."""
        try:
            self.store.put_if(SPEC_KEY, spec_text.encode(), etag=None)
        except ConflictError:
            return self.store.get(SPEC_KEY).decode()
        return spec_text

    def spec(self) -> str | None:
        """The text of spec.yaml, None before the run was begun."""
        try:
            return self.store.get(SPEC_KEY).decode()
        except NotFoundError:
            return None

    def replace_spec(self, spec_text: str) -> None:
        """Write another spec.yaml: for a run that has no checkpoint yet."""
        self.store.put(SPEC_KEY, spec_text.encode())

    def status(self) -> RunStatus | None:
        """Where the run stands, None before its first attempt. A heartbeat that stopped reads as "lost"."""
        status, _ = read_status(self.store)
        return None if status is None else status.seen_at(self.clock())

    def pointer(self) -> Pointer:
        """The newest whole checkpoints; an empty pointer if there are none."""
        pointer, _ = read_pointer(self.store)
        return pointer

    def attempts(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and claim.json of every attempt, in order."""
        numbers = sorted(int(folder) for folder in self.store.list_folders("attempts") if folder.isdigit())
        return [(number, get_json(self.store, f"attempts/{number:04d}/claim.json")) for number in numbers]

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """The JSON lines of one kind ("metrics", "samples", "log") along the surviving lineage, in order.

        A step that was done again after a resume appears once, as the attempt logged it that the run descends from.
        Lines without a step are all there, whatever became of their attempt.
        """
        return [line for _, lines in self.lines_of_attempts(kind) for line in lines]

    def lines_of_attempts(self, kind: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """What `lines` gives, by attempt: its claim.json and its lines. Attempts without a line are there too."""
        status, _ = read_status(self.store)
        claims = dict(self.attempts())
        survivors = surviving_steps(claims, status.attempt if status else 0)
        return [
            (
                claim | {"attempt": attempt},
                [
                    line
                    for line in _read_lines(self.store, f"attempts/{attempt:04d}/{kind}/")
                    if counts(line, attempt, survivors)
                ],
            )
            for attempt, claim in claims.items()
        ]

    def new_segments(self, kind: str, seen: set[str]) -> list[dict[str, Any]]:
        """The lines of all segments, of any attempt, whose keys are not `seen` yet; adds those keys."""
        lines = []
        for folder in sorted(self.store.list_folders("attempts")):
            for info in self.store.list(f"attempts/{folder}/{kind}/"):
                if info.key not in seen:
                    lines += _parse_lines(self.store, info.key)
                    seen.add(info.key)
        return lines

    def newest_lines(self, kind: str, seen: set[str], *, attempt: int, most: int) -> list[dict[str, Any]]:
        """As `new_segments`, of the last `most` segments up to those of `attempt`, a line with its "attempt".

        Older attempts are looked at where the newest has fewer segments, at most two of them.
        """
        keys: list[tuple[int, str]] = []
        for number in range(attempt, max(0, attempt - 3), -1):
            infos = self.store.list(f"attempts/{number:04d}/{kind}/")
            keys = [*((number, info.key) for info in infos), *keys]
            if len(keys) >= most:
                break
        new = [(number, key) for number, key in keys[-most:] if key not in seen]
        lines = [line | {"attempt": number} for number, key in new for line in _parse_lines(self.store, key)]
        seen |= {key for _, key in new}
        return lines

    def wait_until_free(
        self,
        *,
        wait_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Return once nobody trains this run: at once if it ended or is lost, else after a few silent heartbeats.

        Raises RoadbedError if its heart still beats after `wait_s`.
        """
        deadline = self.clock() + wait_s
        while (holder := self._holder(sleep=sleep, notify=notify)) is not None:
            if self.clock() >= deadline:
                raise RoadbedError(
                    f"run {self.name}{holder}; wait until it ends, give this one another name, or pass --takeover to "
                    "replace it"
                )
            sleep(HEARTBEAT_S)

    def _holder(self, *, sleep: Callable[[float], None], notify: Callable[[str], None]) -> str | None:
        """Who trains this run, in words; None if nobody does."""
        first = self.status()
        if first is not None and first.state == "retrying":
            return f": the start that trains it is about to try again ({first.reason})"
        if first is None or first.state != "running":
            return None
        age_s = max(0.0, self.clock() - first.heartbeat_at)
        notify(f"run {self.name}: attempt {first.attempt} gave a heartbeat {age_s:.0f} s ago; looking whether it lives")
        for _ in range(4):
            sleep(HEARTBEAT_S)
            now = self.status()
            if now is None or now.state != "running":
                return None
            if (now.attempt, now.beats) != (first.attempt, first.beats):
                return f" is being trained (attempt {now.attempt}, step {now.step})"
        return None

    def claim(self, *, details: Mapping[str, Any]) -> Attempt:
        """Begin a new attempt and fence off the one before.

        `details` go into claim.json. Two of them are the lineage: "resumed_step" and "resumed_attempt", those of the
        CheckpointRef that the attempt goes on from; absent (0) from the start.

        Raises FencedError if a newer attempt began meanwhile, ValueError if a resumed checkpoint's attempt is unknown.
        """
        details = _with_lineage(details, self.pointer())
        number = self._claim_number(details)
        status, status_etag = self._take_status(number, step=details["resumed_step"])
        pointer_etag = self._take_pointer(number)
        return Attempt(self, number, status=status, status_etag=status_etag, pointer_etag=pointer_etag)

    def fail(
        self,
        reason: str,
        *,
        attempt: int | None = None,
        state: Literal["failed", "stopped", "retrying"] = "failed",
        again_in_s: float = 0.0,
    ) -> None:
        """What the driver does when its workers died or were stopped: a status that still says running becomes `state`.

        With `attempt`, only if it is that attempt's. Retrying begins in `again_in_s` seconds. A status that moves
        meanwhile is left alone.
        """
        status, etag = read_status(self.store)
        if status is None or status.state not in LIVE or attempt not in {None, status.attempt}:
            return
        heartbeat_at = self.clock() + again_in_s
        failed = replace(status, state=state, reason=reason, heartbeat_at=heartbeat_at, beats=status.beats + 1)
        try:
            self.store.put_if(STATUS_KEY, failed.to_bytes(), etag=etag)
        except ConflictError:
            return

    def close_attempt(self, number: int, *, cause: str, reason: str, verdict: str) -> None:
        """What the driver says of an attempt that ended, for `end_of` and, as a line, in its log.

        `cause` is a word, `reason` says what happened, `verdict` what follows from it.
        """
        end = {"attempt": number, "cause": cause, "reason": reason, "verdict": verdict, "ended_at": self.clock()}
        line = {"at": round(self.clock(), 3), "level": "ERROR", "text": f"ended: {cause}: {reason}; {verdict}"}
        self.store.put(f"attempts/{number:04d}/log/driver.jsonl", json.dumps(line).encode() + b"\n")
        self.store.put(f"attempts/{number:04d}/end.json", json_bytes(end))

    def end_of(self, attempt: int) -> dict[str, Any] | None:
        """What `close_attempt` said of an attempt, None where it said nothing: it finished, or nobody saw it end."""
        try:
            return get_json(self.store, f"attempts/{attempt:04d}/end.json")
        except NotFoundError:
            return None

    def log_of(self, attempt: int) -> list[str]:
        """The texts of one attempt's log, in order."""
        return [line["text"] for line in _read_lines(self.store, f"attempts/{attempt:04d}/log/")]

    def ask_to_stop(self, *, attempt: int) -> bool:
        """Ask an attempt to save what it did and to end; whether it runs, and so will find it at its next heartbeat."""
        for _ in range(_MAX_CLAIMS):
            status, etag = read_status(self.store)
            if status is None or status.state != "running" or status.attempt != attempt:
                return False
            try:
                self.store.put_if(STATUS_KEY, replace(status, is_asked_to_stop=True).to_bytes(), etag=etag)
            except ConflictError:
                continue
            return True
        return False

    def _claim_number(self, details: Mapping[str, Any]) -> int:
        numbers = [int(folder) for folder in self.store.list_folders("attempts") if folder.isdigit()]
        first = max(numbers, default=0) + 1
        for number in range(first, first + _MAX_CLAIMS):
            claim = {**details, "attempt": number, "claimed_at": self.clock(), "nonce": secrets.token_hex(16)}
            try:
                self.store.put_if(f"attempts/{number:04d}/claim.json", json_bytes(claim), etag=None)
            except ConflictError:
                continue
            return number
        raise ConflictError(f"{self.uri}: {_MAX_CLAIMS} others claimed attempts at this moment; try again later")

    def _take_status(self, number: int, *, step: int) -> tuple[RunStatus, str]:
        for _ in range(_MAX_CLAIMS):
            found, etag = read_status(self.store)
            if found is not None and found.attempt > number:
                raise _overtaken(self.name, number, found.attempt)
            status = RunStatus(
                self.name, "running", number, step, reason=None, heartbeat_at=self.clock(), beats=0, progress={}
            )
            try:
                return status, self.store.put_if(STATUS_KEY, status.to_bytes(), etag=etag)
            except ConflictError:
                continue
        raise ConflictError(f"{self.uri}/{STATUS_KEY}: is moved by others without end; see who trains this run")

    def _take_pointer(self, number: int) -> str:
        for _ in range(_MAX_CLAIMS):
            found, etag = read_pointer(self.store)
            if found.attempt > number:
                raise _overtaken(self.name, number, found.attempt)
            try:
                return self.store.put_if(POINTER_KEY, replace(found, attempt=number).to_bytes(), etag=etag)
            except ConflictError:
                continue
        raise ConflictError(f"{self.uri}/{POINTER_KEY}: is moved by others without end; see who trains this run")


def _overtaken(name: str, number: int, newer: int) -> FencedError:
    return FencedError(f"run {name}: attempt {newer} began while attempt {number} was starting; this one ends")


def _with_lineage(details: Mapping[str, Any], pointer: Pointer) -> dict[str, Any]:
    """`details` with both halves of the lineage; the attempt of a resumed step is looked up if it is missing."""
    step = int(details.get("resumed_step", 0))
    attempt = details.get("resumed_attempt")
    if attempt is None:
        known = {ref.step: ref.attempt for ref in (*pointer.checkpoints, *([pointer.best] if pointer.best else []))}
        attempt = 0 if step == 0 else known.get(step)
    if attempt is None:
        raise ValueError(f"resumed_step={step}, but latest.json names no checkpoint of it; pass resumed_attempt too")
    return {**details, "resumed_step": step, "resumed_attempt": int(attempt)}


def _read_lines(store: Store, prefix: str) -> list[dict[str, Any]]:
    return [line for info in store.list(prefix) for line in _parse_lines(store, info.key)]


def _parse_lines(store: Store, key: str) -> list[dict[str, Any]]:
    lines = []
    for number, text in enumerate(store.get(key).splitlines(), start=1):
        try:
            lines.append(json.loads(text))
        except ValueError:
            raise DamagedError(
                f"{store.uri}/{key}: line {number} is not JSON; delete this log segment to go on without it"
            ) from None
    return lines
