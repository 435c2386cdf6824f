"""One attempt of a run on one group of workers: claim it, go on from the newest whole checkpoint, train, end it.

Called by every worker of the group, inside Ray or without it. An error that a user can meet is an outcome here, not an
exception; anything else is raised. Whoever started the group judges either, and may start it again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from roadbed import errors
from roadbed.data.cache import node_cache
from roadbed.data.dataset import Dataset
from roadbed.errors import FencedError, RoadbedError, StoppedError
from roadbed.runs import Attempt, Heartbeat, Run
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.telemetry import MetricSink
from roadbed.training.checkpoint import Checkpoint, newest_whole_checkpoint
from roadbed.training.group import Group, public_name
from roadbed.training.loop import Training
from roadbed.training.notices import Ask
from roadbed.training.traffic import Traffic
from roadbed.training.watchdog import Watchdog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `error` is the name of a RoadbedError, `reason` its text."""

    state: Literal["finished", "failed", "fenced", "stopped"]
    error: str | None = None
    reason: str | None = None


def run_attempt(
    job: TrainJob,
    group: Group,
    *,
    start_id: str = "",
    passing: tuple[type[RoadbedError], ...] = (),
    sink: MetricSink | None = None,
    num_threads: int = 1,
    on_epoch: Callable[[dict[str, Any]], None] = lambda _: None,
    notice: Ask | None = None,
) -> Outcome:
    """Train `job` from where its run stands. The same outcome on every worker of the group.

    Every worker tells `sink` what it reads, the first one how the training goes.

    `start_id` is the same for all attempts that one start of the run makes, and another for every start. After an error
    of a class in `passing` the run's status is left to the caller, who may try again. `notice` tells of nodes that are
    about to go, where somebody knows of them.
    """
    attempt: Attempt | None = None
    training: Training | None = None
    with ExitStack() as stack:
        keep_in = stack.enter_context(_kept_log())
        try:
            places = group.gather(_place())
            attempt, number, start, num_lost = _begin(job, group, start_id, places)
            keep_in(attempt)
            step = start.step if start else 0
            log.info("attempt begins: workers=%d step=%d lost_steps=%d", group.num_workers, step, num_lost)
            is_fenced = stack.enter_context(_beating(attempt, lambda: training))
            stack.enter_context(_watchdog(job, group, number, places, lambda: training))
            told = sink if group.is_first else None
            settings = {"sink": told, "num_threads": num_threads, "on_epoch": on_epoch, "is_fenced": is_fenced}
            training = _prepare(job, group, attempt, start, **settings, notice=notice)
            if start is not None:
                training.journal.resumed()
            training.journal.lost(num_lost)
            if sink is not None:
                stack.enter_context(_traffic(sink, training, attempt))
            training.run()
            outcome = Outcome("finished")
        except FencedError as error:
            return Outcome("fenced", public_name(error), str(error))
        except StoppedError as error:
            outcome = Outcome("stopped", public_name(error), str(error))
        except RoadbedError as error:
            outcome = Outcome("failed", public_name(error), str(error))
        except Exception:
            log.exception("ended by a defect or a lost worker")
            _flush(attempt)
            raise
        log.info("%s: reason=%s", outcome.state, outcome.reason)
        if outcome.error is not None and issubclass(getattr(errors, outcome.error), passing):
            _flush(attempt)
            return outcome
        return _finish(attempt, training, group, outcome)


def _finish(attempt: Attempt | None, training: Training | None, group: Group, outcome: Outcome) -> Outcome:
    """Write the last status. What comes of it, the same on every worker."""
    try:
        with group.together():
            if attempt is not None and outcome.state != "fenced":
                step, progress = _where(training)
                attempt.finish(outcome.state, reason=outcome.reason, step=step, progress=progress)
    except FencedError as error:
        return Outcome("fenced", public_name(error), str(error))
    except RoadbedError as error:
        return Outcome("failed", public_name(error), str(error))
    return outcome


def _begin(
    job: TrainJob, group: Group, start_id: str, places: list[str]
) -> tuple[Attempt | None, int, Checkpoint | None, int]:
    """The first worker claims the attempt and chooses the checkpoint to go on from; the others are given both.

    With them comes, for the first worker, how many steps of the attempt before are lost, as far as its heart told
    before it stopped. A group that is started again ends here if the run was taken by another start meanwhile.
    """
    attempt: Attempt | None = None
    start: Checkpoint | None = None
    num_lost = 0
    with group.together():
        if group.is_first:
            run = Run(open_store(job.output.store), job.name)
            starts = [claim.get("start_id") for _, claim in run.attempts()]
            if start_id in starts and starts[-1] != start_id:
                raise FencedError(f"run {job.name} was taken by a newer start; this one ends")
            found, before = newest_whole_checkpoint(run), run.status()
            lineage = {"resumed_attempt": found[0].attempt, "resumed_step": found[0].step} if found else {}
            num_lost = max(0, (before.step if before else 0) - (found[0].step if found else 0))
            where = {"device": str(group.device), "host": socket.gethostname(), "workers": places}
            told = {"num_workers": group.num_workers, "start_id": start_id, "lost_steps": num_lost}
            attempt = run.claim(details=lineage | where | told)
            start = found[1] if found else None
    number = group.from_first(attempt.number if attempt else 0)
    return attempt, number, group.from_first(start), num_lost


def _place() -> str:
    """Where this worker runs."""
    return f"{socket.gethostname()}, pid {os.getpid()}"


def _watchdog(
    job: TrainJob, group: Group, attempt: int, places: list[str], training: Callable[[], Training | None]
) -> Watchdog:
    """The watchdog of this worker, with a store of its own: what it does stands still for nothing else."""

    def get_traffic() -> int:
        made = training()
        return made.num_fetched if made is not None else 0

    return Watchdog(
        group.watch,
        Run(open_store(job.output.store), job.name),
        attempt,
        rank=group.rank,
        places=places,
        timeout_s=job.workers.stall_timeout_s,
        get_traffic=get_traffic,
    )


def _prepare(
    job: TrainJob, group: Group, attempt: Attempt | None, start: Checkpoint | None, **settings: Any
) -> Training:
    """This worker's part, once every worker has got its own ready."""
    with group.together():
        dataset = Dataset.open(job.data.uri)
        cache = node_cache(dataset.uri, max_bytes=job.data.cache_mb * 1_000_000)
        training = Training(job, dataset, group, attempt=attempt, start=start, cache=cache, **settings)
    return training


@contextmanager
def _beating(attempt: Attempt | None, training: Callable[[], Training | None]) -> Iterator[Callable[[], bool]]:
    """Heartbeats of the first worker; yields what tells whether a newer attempt has taken the run."""
    if attempt is None:
        yield lambda: False
        return
    with Heartbeat(attempt, lambda: _where(training())) as heartbeat:
        yield heartbeat.fenced.is_set


def _where(training: Training | None) -> tuple[int, dict[str, Any]]:
    """The step and the progress to tell."""
    return (training.position.step, dict(training.journal.progress)) if training else (0, {})


def _traffic(sink: MetricSink, training: Training, attempt: Attempt | None) -> Traffic:
    """What tells the metrics of this worker's reading, and of the first one's writing."""
    stores = {"dataset": training.dataset.stats}
    if attempt is not None:
        stores["run"] = attempt.run.store.stats
    return Traffic(sink, stores, [training.train_loader, training.eval_loader])


def _flush(attempt: Attempt | None) -> None:
    """Write what was logged last, if the store and the fence still let us."""
    try:
        if attempt is not None:
            attempt.flush()
    except RoadbedError as error:
        log.warning("log not kept: %s", error)


class _AttemptLog(logging.Handler):
    """Keeps the package's log in the attempt's "log" lines."""

    attempt: Attempt | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.attempt is not None:
            line = {"at": round(record.created, 3), "level": record.levelname, "text": self.format(record)}
            self.attempt.append("log", line)


@contextmanager
def _kept_log() -> Iterator[Callable[[Attempt | None], None]]:
    """While open, what roadbed logs goes to the attempt that the yielded function is given."""
    logger = logging.getLogger("roadbed")
    handler, level = _AttemptLog(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def keep_in(attempt: Attempt | None) -> None:
        handler.attempt = attempt

    try:
        yield keep_in
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
