"""What ended a worker group, sorted by cause, and what to do about each. Starts nothing and retries nothing.

The causes come from three sides: errors of roadbed that workers agreed on (an outcome), what Ray raises when workers
were lost or broke, and the verdict of a watchdog in the store, which outweighs what Ray saw of the same end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from roadbed import errors
from roadbed.errors import (
    DamagedError,
    DataError,
    DivergedError,
    FencedError,
    NotFoundError,
    RoadbedError,
    StoreError,
    TrainingError,
)
from roadbed.runs.causes import ADVICE, Cause
from roadbed.runtime.session import last_line
from roadbed.training.watchdog import Verdict

PASSING: tuple[type[RoadbedError], ...] = (StoreError,)
"""Errors of roadbed that may not meet the same start again."""

# What a worker is told when another one goes: gloo, NCCL, torch's store. It is never the cause itself.
_COLLATERAL = re.compile(
    r"closed by peer|reset by peer|broken pipe|socket (is )?closed|connection (was )?(closed|refused)|"
    r"timed out waiting|connection timed out|no route to host|connectFullMesh failed|client socket has timed out|"
    r"remote process exited|nccl communicator was aborted|failed to recv|unhandled system error",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(
    r"running low on memory|can't allocate memory|cannot allocate memory|out of memory|std::bad_alloc|exit code 137",
    re.IGNORECASE,
)
# Ray then lists guesses, the kernel's memory killer first, whatever happened.
_EXIT_DETAIL = re.compile(
    r"Worker exit detail: (.*?)(?: (?:Some common|There are some potential root) causes|$)", re.DOTALL
)
_PLACE = re.compile(r"\tpid: (?P<pid>\d+)\n(?:.*\n)*?\tip: (?P<ip>\S+)")

_LIKELIEST_FIRST: tuple[Cause, ...] = (
    "fenced", "usage", "data", "diverged", "memory", "store", "preemption", "lost_worker", "hang", "defect"
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """Why a worker group ended.

    `reason` is a sentence, `text` all that was said, `error` what to raise for it, from `origin` if Ray raised that.
    """

    cause: Cause
    reason: str
    text: str
    error: type[RoadbedError] = TrainingError
    origin: BaseException | None = None

    @property
    def advice(self) -> str:
        """What to do; nothing where the reason, an error of roadbed's own, says it."""
        return ADVICE[self.cause] if self.error is TrainingError and self.cause != "usage" else ""


def sort_outcome(outcome: Mapping[str, Any]) -> Failure:
    """The failure of an attempt that ended by an error of roadbed (its Outcome as plain data)."""
    kind: type[RoadbedError] = getattr(errors, outcome["error"])
    return Failure(_cause_of_class(kind), outcome["reason"], outcome["reason"], kind)


def sort_exception(error: BaseException, *, verdict: Verdict | None = None) -> Failure:
    """The failure behind what `fit` raised: an error of the workers, of Ray's controller, or of Ray itself.

    Where workers say different things the likeliest origin counts: the others are mostly told that a connection broke.
    """
    found = _origins(error)
    text = "\n".join([str(error), *map(str, found.values())])
    if verdict is not None:
        return Failure("hang", verdict.text, f"{verdict.text}\n{text}", origin=error)
    causes = {rank: _cause_of(one) for rank, one in found.items()}
    for cause in _LIKELIEST_FIRST:
        for rank, one in sorted(found.items()):
            if causes[rank] == cause:
                kind = type(one) if isinstance(one, RoadbedError) else TrainingError
                return Failure(cause, f"{_who(rank)} {_said(one)}", text, kind, error)
    told = next(iter(found.values()), error)
    reason = f"a worker was lost; what another one was told: {last_line(told)}"
    return Failure("lost_worker", reason, text, origin=error)


def _origins(error: BaseException) -> dict[int, BaseException]:
    """What each worker met, by rank, without Ray's wrappings; under -1 what was no worker's."""
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    if isinstance(error, WorkerGroupError):
        return {rank: _unwrapped(one) for rank, one in error.worker_failures.items()}
    return {-1: _unwrapped(error.controller_failure if isinstance(error, ControllerError) else error)}


def _unwrapped(error: BaseException) -> BaseException:
    from ray.exceptions import RayTaskError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    if isinstance(error, WorkerHealthCheckFailedError):
        return _unwrapped(error.health_check_failure)
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return _unwrapped(error.cause)
    return error


def _cause_of(error: BaseException) -> Cause | None:
    """The cause of what one worker met; None for the news that another one is gone."""
    from ray import exceptions as ray_errors
    from ray.train.v2._internal.exceptions import RayTrainError, WorkerHealthCheckTimeoutError
    from ray.train.v2.api.exceptions import PreemptionError

    if isinstance(error, RoadbedError):
        return _cause_of_class(type(error))
    if isinstance(error, MemoryError | ray_errors.OutOfMemoryError) or _NO_MEMORY.search(str(error)):
        return "memory"
    if isinstance(error, PreemptionError) or (isinstance(error, ray_errors.RayActorError) and error.preempted):
        return "preemption"
    if isinstance(error, WorkerHealthCheckTimeoutError):
        return "hang"
    if isinstance(error, ray_errors.RayError | RayTrainError):
        return "lost_worker"
    return None if _COLLATERAL.search(str(error)) else "defect"


def _cause_of_class(kind: type[RoadbedError]) -> Cause:
    if issubclass(kind, FencedError):
        return "fenced"
    if issubclass(kind, DivergedError):
        return "diverged"
    if issubclass(kind, DamagedError | DataError | NotFoundError):
        return "data"
    return "store" if issubclass(kind, StoreError) else "usage"


def _who(rank: int) -> str:
    return f"worker {rank}" if rank >= 0 else "Ray"


def _said(error: BaseException) -> str:
    """What happened to a worker, or what it said, in a line."""
    from ray.train.v2._internal.exceptions import WorkerHealthCheckTimeoutError

    if isinstance(error, WorkerHealthCheckTimeoutError):
        return "does not answer Ray any more: a frozen process or a lost machine"
    detail = _EXIT_DETAIL.search(str(error))
    if detail is not None:
        place = _PLACE.search(str(error))
        where = f" ({place['ip']}, pid {place['pid']})" if place else ""
        return f"was lost{where}: {shorten(detail[1], 200, placeholder=' ...')}"
    return f"ended by {type(error).__name__}: {last_line(error)}"
