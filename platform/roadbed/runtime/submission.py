"""The driver of a job that a cluster starts again by itself: a failure that would come again ends every later start.

What may pass by itself (lost machines, a store that was away, a stop) is left to the cluster's retries, each of which
goes on from the newest checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from roadbed.errors import (
    DamagedError,
    DataError,
    DivergedError,
    FencedError,
    NotFoundError,
    RoadbedError,
    StoreError,
    TrainingError,
    UsageError,
)
from roadbed.runs import Run
from roadbed.runs.submission import read_verdict, write_verdict

# The driver has tried again what a budget was for; these would meet any other cluster too.
FINAL_CAUSES = ("usage", "data", "diverged", "memory", "defect", "fenced")
_FINAL_ERRORS = (UsageError, DataError, DamagedError, DivergedError, FencedError, NotFoundError)


@contextmanager
def submitted(run: Run, submission: str | None) -> Iterator[None]:
    """One start of a submission, None for a start that nobody will repeat.

    Raises RoadbedError at once if an earlier start of the same submission failed for good.
    """
    if submission is None:
        yield
        return
    verdict = read_verdict(run, submission)
    if verdict is not None:
        raise RoadbedError(
            f"run {run.name}: this submission has failed for good and is not tried again: {verdict.reason}\n"
            "correct it, then submit the job anew"
        )
    try:
        yield
    except RoadbedError as error:
        if is_final(error, run):
            with suppress(StoreError):
                write_verdict(run, submission, str(error))
        raise


def is_final(error: RoadbedError, run: Run) -> bool:
    """Whether another start would end by the same error: by its class, else by what the run's status says of its end.

    A store that does not answer says nothing final.
    """
    if isinstance(error, _FINAL_ERRORS):
        return True
    if isinstance(error, StoreError):
        return False
    try:
        status = run.status()
        if status is None:
            return False
        if status.state == "finished":  # All was done, and what follows failed.
            return not isinstance(error, TrainingError)
        end = run.end_of(status.attempt) if status.state == "failed" else None
    except StoreError:
        return False
    return end is not None and (end["cause"] in FINAL_CAUSES or "no_retry_pattern" in end["verdict"])
