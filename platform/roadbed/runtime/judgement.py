"""One start of a run: what became of its attempts, and what follows from each failure. Told to the run in the store.

Needs no Ray. A store that does not answer keeps nobody from judging: what it would have said is then not known.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from roadbed.errors import RoadbedError
from roadbed.runs import Run
from roadbed.runtime.failures import Failure
from roadbed.runtime.retries import Decision, Retries
from roadbed.spec import TrainJob
from roadbed.training.watchdog import Verdict, read_verdict

STOP_GRACE_S = 20.0  # Of the 30 s that Kubernetes gives a pod.
STOP_POLL_S = 0.25

T = TypeVar("T")

log = logging.getLogger(__name__)


class Start:
    """One start of `run`: all attempts whose claim has its `start_id`."""

    def __init__(self, job: TrainJob, run: Run, *, start_id: str) -> None:
        self.start_id = start_id
        self._run = run
        self._retries = Retries(job.workers, step=self._newest_step() or 0)
        self._needs_log = bool(job.workers.no_retry_pattern)
        self._judged = 0

    def judge(self, failure: Failure) -> Decision:
        """What follows from a failure: in the run's status, in the attempt's log and in its end.json too."""
        attempt = self._attempt()
        is_new = attempt is not None and attempt > self._judged
        log_lines = self._known(lambda: self._run.log_of(attempt or 0)) if is_new and self._needs_log else []
        decision = self._retries.decide(failure, step=self._newest_step(), log=log_lines or [])
        if attempt is not None and failure.cause != "fenced":
            self._known(lambda: self._tell(failure, decision, attempt, is_new=is_new))
            self._judged = attempt
        return decision

    def stop(self, *, may_save: bool) -> None:
        """End it because its user wants so; with `may_save` the workers save what they did and end by themselves.

        They have as long as a pod has after its SIGTERM, and some seconds less.
        """
        if may_save:
            self._let_save()
        attempt = self._attempt()
        if attempt is not None:
            self._known(lambda: self._run.fail("stopped by its user", attempt=attempt, state="stopped"))

    def _let_save(self) -> None:
        """Ask the newest attempt to stop, and the one that follows if Ray is just replacing the group."""
        asked: int | None = None
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline:
            attempt, status = self._attempt(), self._known(self._run.status)
            if attempt is None or (status is not None and status.attempt == attempt and status.state != "running"):
                return
            if attempt != asked and self._known(lambda number=attempt: self._run.ask_to_stop(attempt=number)):  # type: ignore[misc]
                asked = attempt
            time.sleep(STOP_POLL_S)

    def verdict(self) -> Verdict | None:
        """What a watchdog found in the newest attempt, if that one was not judged before."""
        attempt = self._attempt()
        if attempt is None or attempt <= self._judged:
            return None
        return self._known(lambda: read_verdict(self._run, attempt))

    def _tell(self, failure: Failure, decision: Decision, attempt: int, *, is_new: bool) -> None:
        """Several attempts of Ray's making may precede this one: its machine was drained, and nobody failed."""
        state: Literal["failed", "retrying"] = "failed" if decision.pause_s is None else "retrying"
        follows = failure.advice if decision.pause_s is None else decision.verdict
        reason = f"{failure.reason}; {follows}" if follows else failure.reason
        self._run.fail(reason, attempt=attempt, state=state, again_in_s=decision.pause_s or 0.0)
        if is_new:
            self._run.close_attempt(attempt, cause=failure.cause, reason=failure.reason, verdict=decision.verdict)

    def _attempt(self) -> int | None:
        """The newest attempt, if it is of this start."""
        attempts = self._known(self._run.attempts)
        return attempts[-1][0] if attempts and attempts[-1][1].get("start_id") == self.start_id else None

    def _newest_step(self) -> int | None:
        """The step of the newest checkpoint, 0 without one; None if the store does not say."""
        pointer = self._known(self._run.pointer)
        if pointer is None:
            return None
        return pointer.latest.step if pointer.latest else 0

    def _known(self, ask: Callable[[], T]) -> T | None:
        """What the store answers, None where it does not."""
        try:
            return ask()
        except RoadbedError as error:
            log.warning("judging without the store: %s", error)
            return None


def last_words(job: TrainJob, failure: Failure, decision: Decision) -> str:
    """The text of the error that ends a start."""
    if not failure.advice:
        return f"{failure.reason} ({decision.verdict})" if failure.cause == "store" else failure.reason
    what = f"run {job.name}: {failure.reason} ({decision.verdict}); {failure.advice}"
    return f"{what}. Its log: `roadbed runs logs {job.name}`"
