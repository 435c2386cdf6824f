"""Which steps of which attempts belong to a run as it stands. Pure functions over what claim.json files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadbed.errors import DamagedError


def surviving_steps(claims: Mapping[int, Mapping[str, Any]], newest: int) -> dict[int, float]:
    """For each attempt that attempt `newest` descends from, itself included: its last step that counts.

    A claim's "resumed_step" and "resumed_attempt" name the checkpoint that the attempt went on from, 0 and 0 the start.
    What came after that checkpoint in the older attempt was done again and does not count. `newest` counts whole
    (infinity). Attempts that nobody resumed from are left out.

    Raises DamagedError if an attempt says it resumed from one that is not older.
    """
    survivors: dict[int, float] = {}
    attempt, last_step = newest, float("inf")
    while attempt in claims:
        survivors[attempt] = last_step
        older = int(claims[attempt].get("resumed_attempt", 0))
        if older >= attempt:
            raise DamagedError(f"attempts/{attempt:04d}/claim.json: says it resumed from attempt {older}, a later one")
        last_step = min(last_step, float(claims[attempt].get("resumed_step", 0)))
        attempt = older
    return survivors


def counts(line: Mapping[str, Any], attempt: int, survivors: Mapping[int, float]) -> bool:
    """Whether a logged line belongs to the run: it has no step, or a step that survives."""
    return "step" not in line or line["step"] <= survivors.get(attempt, -1)
