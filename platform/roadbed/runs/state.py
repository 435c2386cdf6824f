"""What status.json and latest.json hold, as values. Reads and writes nothing by itself but those two objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from roadbed.errors import DamagedError, NotFoundError
from roadbed.storage import Store, get_json_with_etag, json_bytes

HEARTBEAT_S = 2.0
LOST_AFTER_S = 60.0

STATUS_KEY = "status.json"
POINTER_KEY = "latest.json"

State = Literal["running", "retrying", "finished", "failed", "lost", "stopped"]
LIVE: tuple[State, ...] = ("running", "retrying")
"""States of a run that somebody brings to its end."""


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands. `heartbeat_at` is in unix seconds, `beats` counts the heartbeats of the attempt.

    "retrying": the attempt failed, and the start that it belongs to begins another, at `heartbeat_at` or soon after.
    `is_asked_to_stop` is for the attempt to find at its next heartbeat.
    """

    name: str
    state: State
    attempt: int
    step: int
    reason: str | None
    heartbeat_at: float
    beats: int
    progress: dict[str, Any] = field(default_factory=dict)
    is_asked_to_stop: bool = False

    def seen_at(self, now: float) -> RunStatus:
        """What a reader should believe: running or retrying without a heartbeat for LOST_AFTER_S is lost."""
        age_s = now - self.heartbeat_at
        if self.state not in LIVE or age_s <= LOST_AFTER_S:
            return self
        return replace(self, state="lost", reason=f"no heartbeat for {age_s:.0f} s")

    def to_bytes(self) -> bytes:
        """The content of status.json."""
        return json_bytes(asdict(self))


@dataclass(frozen=True)
class CheckpointRef:
    """One whole checkpoint: `key` is its folder, relative to the run ("attempts/0002/checkpoints/00000120")."""

    key: str
    attempt: int
    step: int
    score: float | None = None


@dataclass(frozen=True)
class Pointer:
    """latest.json: the checkpoints to keep, newest first, the best one, and the attempt that owns the pointer."""

    attempt: int = 0
    checkpoints: tuple[CheckpointRef, ...] = ()
    best: CheckpointRef | None = None

    @property
    def latest(self) -> CheckpointRef | None:
        """The checkpoint to resume from."""
        return self.checkpoints[0] if self.checkpoints else None

    def to_bytes(self) -> bytes:
        """The content of latest.json."""
        return json_bytes(asdict(self))


def read_status(store: Store) -> tuple[RunStatus, str] | tuple[None, None]:
    """status.json of the run at `store` as it is written, and its etag; None twice if there is none."""
    try:
        document, etag = get_json_with_etag(store, STATUS_KEY)
    except NotFoundError:
        return None, None
    try:
        return RunStatus(**document), etag
    except TypeError as error:
        raise _damaged(store, STATUS_KEY, error) from None


def read_pointer(store: Store) -> tuple[Pointer, str | None]:
    """latest.json of the run at `store` and its etag; an empty pointer and None if there is none."""
    try:
        document, etag = get_json_with_etag(store, POINTER_KEY)
    except NotFoundError:
        return Pointer(), None
    try:
        best = document["best"]
        pointer = Pointer(
            attempt=document["attempt"],
            checkpoints=tuple(CheckpointRef(**ref) for ref in document["checkpoints"]),
            best=None if best is None else CheckpointRef(**best),
        )
    except (KeyError, TypeError) as error:
        raise _damaged(store, POINTER_KEY, error) from None
    return pointer, etag


def _damaged(store: Store, key: str, error: Exception) -> DamagedError:
    return DamagedError(
        f"{store.uri}/{key}: lacks or has other fields than expected ({error}); delete it or start anew"
    )
