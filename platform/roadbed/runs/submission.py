"""What became of a submission: a job that a cluster starts again by itself should not repeat what would come again.

A submission is one `roadbed submit`; all its retries have its id. Its failure for good lies in the run's folder, for a
start that fails early may have made no attempt that could tell it.
"""

from __future__ import annotations

from dataclasses import dataclass

from roadbed.errors import NotFoundError
from roadbed.runs.run import Run
from roadbed.storage import get_json, put_json


@dataclass(frozen=True)
class Verdict:
    """Why a submission is not tried again: the text of the error that ended it. `at` is in unix seconds."""

    reason: str
    at: float


def read_verdict(run: Run, submission: str) -> Verdict | None:
    """Why this submission of a run has failed for good, None where it has not."""
    try:
        document = get_json(run.store, _key(submission))
    except NotFoundError:
        return None
    return Verdict(reason=str(document["reason"]), at=float(document["at"]))


def write_verdict(run: Run, submission: str, reason: str) -> None:
    """Keep that it has failed for good."""
    put_json(run.store, _key(submission), {"reason": reason, "at": run.clock()})


def _key(submission: str) -> str:
    return f"submissions/{submission}.json"
