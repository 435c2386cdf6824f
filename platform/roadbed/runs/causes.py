"""The words for what ends a run, and what to do about each. They stand in an attempt's end.json. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Cause = Literal["usage", "data", "diverged", "memory", "lost_worker", "store", "hang", "preemption", "defect", "fenced"]

ADVICE: Mapping[Cause, str] = {
    "usage": "correct the job spec and start it again",
    "data": "look at it with `roadbed data verify`, whose --repair mends what another copy has",
    "diverged": "lower train.learning_rate or set train.clip_norm, under another name",
    "memory": "lower data.memory_mb, data.prefetch_batches or the workers per machine, or give them more memory; "
    "a smaller train.micro_batch needs a run of another name",
    "lost_worker": "look whether its machine ended it (memory, spot, a drained node); the run goes on from its last "
    "checkpoint when it is started again",
    "store": "look into the store's log and the network to it; the run goes on when it is started again",
    "hang": "what each worker did lies in the attempt's folder stalls/, its stack included; look at the machine "
    "that is named, or raise workers.stall_timeout_s if the work only took long",
    "preemption": "the machine was taken away; the run goes on when it is started again",
    "defect": "the program broke: its log has the traceback; report it if it is not your own code",
    "fenced": "another start has taken the run; wait for it, or give this one another name",
}
