"""Why the run of a job failed, or is silent: from its status.json, its attempt's end.json, and its last words. Pure."""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts
from roadbed.kube.reason import Kind, Reason
from roadbed.runs.causes import ADVICE, Cause
from roadbed.words import duration

LONG_START_S = 300.0
"""A run whose pods are ready gives its first heartbeat sooner than this."""

_FENCED = re.compile(
    r"(was replaced by attempt \d+|attempt \d+ began while attempt \d+ was starting|is being trained \(attempt \d+)"
)
_AGAIN = re.compile(r"^run \S+: this submission has failed for good and is not tried again: ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SAYINGS: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    ("fenced", _FENCED),
    ("diverged", re.compile(r"no number|is nan\b|not finite|exploded|DivergedError", re.IGNORECASE)),
    ("memory", re.compile(r"out of memory|MemoryError|cannot allocate memory|running low on memory", re.IGNORECASE)),
    ("hang", re.compile(r"does not move|hangs|does not answer Ray any more", re.IGNORECASE)),
    ("data", re.compile(r"sha256|damaged|no such dataset|shard|labelled pixel|dataset\.json", re.IGNORECASE)),
    ("store", re.compile(r"endpoint|credentials|AccessDenied|bucket|store", re.IGNORECASE)),
    ("lost_worker", re.compile(r"worker (\d+ )?was lost|was lost")),
)
_OWN_WORDS: frozenset[Cause] = frozenset({"usage", "data", "diverged", "store"})
"""Causes behind which nothing on the cluster hides; for the others pods may know more."""


def why_run_failed(facts: JobFacts) -> list[Reason]:
    """The run's own reason, where it failed or was replaced."""
    status = facts.own_run_status
    said = last_error(facts.message)
    if _FENCED.search(facts.message):
        return [_fenced(facts, said)]
    end = facts.run_end or {}
    if status is not None and status.state == "failed":
        reason = str(end.get("reason") or status.reason or said)
        return [_of_cause(facts, end.get("cause") or cause_of(reason), reason)]
    if facts.deployment == "Failed" and facts.status.get("jobStatus") == "FAILED" and said:
        return [_of_cause(facts, cause_of(said), said)]
    return []


def why_run_is_silent(facts: JobFacts) -> list[Reason]:
    """What a job that runs by KubeRay's word does, as long as its run is not running."""
    if facts.deployment != "Running" or facts.store_error:
        return []
    status = facts.own_run_status
    if status is None:
        return [_no_heartbeat(facts)] if facts.status.get("jobStatus") == "RUNNING" else []
    if status.state == "lost":
        return [
            Reason(
                "silent",
                f"the run gives no sign of life ({status.reason}), though its job runs: the driver is gone, hangs, or "
                "cannot reach the store",
                f"read `roadbed jobs logs {facts.name}`; `jobs stop` and `jobs resume` start it anew where it was",
            )
        ]
    if status.state == "retrying":
        return [Reason("retrying", f"the run tries again: {status.reason}", "nothing, if it goes on; else see its log")]
    return []


def cause_of(text: str) -> Cause:
    """The cause that a sentence speaks of, where no end.json names it."""
    return next((cause for cause, pattern in _SAYINGS if pattern.search(text)), "defect")


def last_error(message: str) -> str:
    """The error that roadbed's command ended with, from the tail of a log; the last line if there is none."""
    lines = [_COLOUR.sub("", line).strip() for line in message.splitlines()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return _AGAIN.sub("", (errors or [line for line in lines if line] or [""])[-1])


def _fenced(facts: JobFacts, said: str) -> Reason:
    return Reason(
        "fenced",
        f"another start has taken the run: {said}",
        f"see who trains it with `roadbed runs show {facts.name}`; to train beside it give the job another name",
    )


def _of_cause(facts: JobFacts, cause: Cause, reason: str) -> Reason:
    if cause == "fenced":
        return _fenced(facts, reason)
    kind: Kind = "run_final" if cause in _OWN_WORDS else "run"
    advice = f"{ADVICE[cause]}. Its log: `roadbed jobs logs {facts.name}`"
    return Reason(kind, f"the run failed ({cause}): {reason}", advice)


def _no_heartbeat(facts: JobFacts) -> Reason:
    if facts.running_s < LONG_START_S:
        return Reason(
            "heartbeat",
            "its program has begun; the workers' first heartbeat is awaited (Ray starts them in some 30 s)",
            "wait a moment",
        )
    return Reason(
        "heartbeat",
        f"its program has begun, but after {duration(facts.running_s)} the store holds no heartbeat of the run: its "
        "workers find no place, or the store is another one than here",
        f"read `roadbed jobs logs {facts.name}`, and compare output.store with --store",
    )
