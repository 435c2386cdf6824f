"""Runs: a prefix in the store each, resumed by name, written by one live attempt at a time.

    ROOT/runs/NAME/spec.yaml                     written once
                   attempts/0001/claim.json      created with If-None-Match: who holds the number holds the attempt
                   attempts/0001/end.json        by the driver: why it ended, if not by finishing
                   attempts/0001/stalls/...      by watchdogs: what workers do that do not move, and who hangs
                   attempts/0001/...             what the attempt writes: checkpoints, metrics/000001.jsonl, ...
                   submissions/ID.json           why starts of that id are not tried again (runs/submission)
                   status.json                   moved by If-Match: state, attempt, step, heartbeat
                   latest.json                   moved by If-Match: the newest whole checkpoints

A new attempt moves both pointers to its number before it does anything else. That fences off the one before: its next
move loses, whenever it wakes up. What is inside a checkpoint is for training/checkpoint.
"""

from __future__ import annotations

from roadbed.runs.attempt import Attempt, Heartbeat
from roadbed.runs.figures import RunFigures
from roadbed.runs.run import Run, list_runs
from roadbed.runs.state import HEARTBEAT_S, LIVE, LOST_AFTER_S, CheckpointRef, Pointer, RunStatus
from roadbed.runs.statuses import Statuses

__all__ = [
    "HEARTBEAT_S",
    "LIVE",
    "LOST_AFTER_S",
    "Attempt",
    "CheckpointRef",
    "Heartbeat",
    "Pointer",
    "Run",
    "RunFigures",
    "RunStatus",
    "Statuses",
    "list_runs",
]
