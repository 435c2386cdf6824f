"""The live side of a run: what one attempt may write, and how it learns that it was replaced."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from roadbed.errors import ConflictError, FencedError, StoreError
from roadbed.runs.state import HEARTBEAT_S, POINTER_KEY, STATUS_KEY, Pointer, RunStatus, read_pointer, read_status

if TYPE_CHECKING:
    from roadbed.runs.run import Run

_MOVE_ATTEMPTS = 10


class Attempt:
    """One attempt of a run, made by `Run.claim`. Threads may share it.

    Every method that writes raises FencedError, and writes nothing, once a newer attempt began or the driver declared
    this one failed.
    """

    def __init__(self, run: Run, number: int, *, status: RunStatus, status_etag: str, pointer_etag: str) -> None:
        self.run = run
        self.number = number
        self.folder = f"attempts/{number:04d}"
        self.asked_to_stop = threading.Event()
        """Set once a heartbeat has found that somebody wants the attempt to save what it did and to end."""
        self._status = status
        self._status_etag = status_etag
        self._status_lock = threading.Lock()
        self._pointer_etag = pointer_etag
        self._pointer_lock = threading.Lock()
        self._lines: dict[str, list[bytes]] = {}
        self._num_segments: dict[str, int] = {}
        self._lines_lock = threading.Lock()
        self._flush_lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        """Write an object; `key` is relative to the run and lies in this attempt's folder."""
        self._check_key(key)
        self.check_fence()
        self.run.store.put(key, data)

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        """Write an object from a file; `key` as in `put`."""
        self._check_key(key)
        self.check_fence()
        self.run.store.upload(path, key, sha256=sha256)

    def check_fence(self) -> None:
        """Raises FencedError if this attempt is no longer the one that status.json names as running."""
        status, _ = read_status(self.run.store)
        if status is None or status.attempt != self.number or status.state not in {"running", self._status.state}:
            raise self._fenced(status)

    def beat(self, step: int, progress: Mapping[str, Any]) -> None:
        """Tell that the attempt lives and where it is. Does nothing after `finish`."""
        self._move_status(state="running", reason=None, step=step, progress=progress)

    def move_pointer(self, pointer: Pointer) -> None:
        """Make `pointer` the run's latest.json (its `attempt` becomes this one's number).

        Buffered lines are written first, so that the lines up to a checkpoint are there whenever the checkpoint is.
        """
        self.flush()
        self.check_fence()
        data = replace(pointer, attempt=self.number).to_bytes()
        with self._pointer_lock:
            for _ in range(_MOVE_ATTEMPTS):
                try:
                    self._pointer_etag = self.run.store.put_if(POINTER_KEY, data, etag=self._pointer_etag)
                except ConflictError:
                    self._pointer_etag = self._own_pointer_etag()
                else:
                    return
        raise self._contended(POINTER_KEY)

    def finish(
        self,
        state: Literal["finished", "failed", "stopped"],
        *,
        reason: str | None = None,
        step: int,
        progress: Mapping[str, Any],
    ) -> None:
        """End the attempt: buffered lines, then the last status."""
        self.flush()
        self._move_status(state=state, reason=reason, step=step, progress=progress)

    def append(self, kind: str, line: Mapping[str, Any]) -> None:
        """Buffer one JSON line; `flush` writes it. Lines that belong to a step carry it as "step"."""
        text = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        with self._lines_lock:
            self._lines.setdefault(kind, []).append(text)

    def flush(self) -> None:
        """Write the buffered lines, a new immutable segment per kind. What could not be written stays buffered."""
        with self._flush_lock:
            for kind in [*self._lines]:
                with self._lines_lock:
                    pending = [*self._lines[kind]]
                if not pending:
                    continue
                segment = self._num_segments.get(kind, 0) + 1
                self.put(f"{self.folder}/{kind}/{segment:06d}.jsonl", b"".join(pending))
                self._num_segments[kind] = segment
                with self._lines_lock:
                    del self._lines[kind][: len(pending)]

    def _move_status(self, **changes: Any) -> None:
        with self._status_lock:
            if self._status.state != "running":
                return
            now, beats = self.run.clock(), self._status.beats + 1
            status = replace(self._status, heartbeat_at=now, beats=beats, **changes)
            for _ in range(_MOVE_ATTEMPTS):
                try:
                    self._status_etag = self.run.store.put_if(STATUS_KEY, status.to_bytes(), etag=self._status_etag)
                except ConflictError:
                    self._status_etag = self._own_status_etag()
                else:
                    self._status = status
                    return
        raise self._contended(STATUS_KEY)

    def _own_status_etag(self) -> str:
        """The etag after a lost move that was no other attempt's.

        An answer of the store got lost on its way, or somebody asked the attempt to stop.
        """
        status, etag = read_status(self.run.store)
        if status is None or etag is None or status.attempt != self.number or status.state != "running":
            raise self._fenced(status)
        if status.is_asked_to_stop:
            self.asked_to_stop.set()
        return etag

    def _own_pointer_etag(self) -> str:
        pointer, etag = read_pointer(self.run.store)
        if etag is None or pointer.attempt != self.number:
            status, _ = read_status(self.run.store)
            raise self._fenced(status)
        return etag

    def _check_key(self, key: str) -> None:
        if not key.startswith(f"{self.folder}/"):
            raise ValueError(f"{key!r} lies outside {self.folder}/, the folder of this attempt")

    def _fenced(self, status: RunStatus | None) -> FencedError:
        me = f"run {self.run.name}: attempt {self.number}"
        if status is None:
            return FencedError(f"{me}: the run was deleted; this attempt ends and writes nothing more")
        if status.attempt != self.number:
            return FencedError(f"{me} was replaced by attempt {status.attempt}; it ends and writes nothing more")
        why = f"{status.state}: {status.reason}" if status.reason else status.state
        return FencedError(f"{me} was ended from outside ({why}); it writes nothing more")

    def _contended(self, key: str) -> StoreError:
        return StoreError(
            f"{self.run.uri}/{key}: {_MOVE_ATTEMPTS} moves in a row were refused though nobody else moves it; "
            "the store does not keep If-Match, use another one"
        )


class Heartbeat:
    """Beats for an attempt every `interval_s` seconds while its `with` block runs.

    `get_progress` gives the step and the progress to tell; it is called in the heartbeat's own thread. An unreachable
    store is tried again at the next beat. A replaced attempt sets `fenced` and beats no more.
    """

    def __init__(
        self,
        attempt: Attempt,
        get_progress: Callable[[], tuple[int, Mapping[str, Any]]],
        *,
        interval_s: float = HEARTBEAT_S,
    ) -> None:
        self.fenced = threading.Event()
        self._attempt = attempt
        self._get_progress = get_progress
        self._interval_s = interval_s
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name=f"heartbeat-{attempt.number}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def _beat_on(self) -> None:
        while not self._leaving.wait(self._interval_s):
            try:
                self._attempt.beat(*self._get_progress())
            except FencedError:
                self.fenced.set()
                return
            except StoreError:
                continue
